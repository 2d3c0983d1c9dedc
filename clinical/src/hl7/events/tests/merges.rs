//! Merges: MRG and the PID before it.

use super::*;

#[test]
fn merges_name_the_survivor_and_the_prior_id() {
    check(
        "ADT^A40",
        "EVN||20240715110000\nPID|||1^^^H\nMRG|2^^^H\nPID|||3\nMRG|4~4^^^K\nMRG|3^^^HOSP\n",
        &[
            "H/1 - 2024-07-15T09:00Z Second merged H/2",
            "HOSP/3 - 2024-07-15T09:00Z Second merged K/4",
            "HOSP/3 - 2024-07-15T09:00Z Second merged HOSP/4",
            "Warning merge-into-itself MRG[3]-1",
        ],
    );
    check("ADT^A40", "PID|||1\n", &["Error merge-missing MRG"]);
    // Every prior id, but no account's or visit's; and the surviving one that their authority knows the patient by.
    check(
        "ADT^A40",
        "EVN||20240715110000\nPID|||9^^^EXT^MR~2^^^L~5^^^L^AN~6^^^Q\nMRG|1^^^L~8^^^EXT~1001^^^L^AN~7^^^OLD~9^^^EXT\n",
        &[
            "EXT/9 - 2024-07-15T09:00Z Second merged L/2",
            "EXT/9 - 2024-07-15T09:00Z Second merged L/1",
            "EXT/9 - 2024-07-15T09:00Z Second merged EXT/8",
            "EXT/9 - 2024-07-15T09:00Z Second merged OLD/7",
        ],
    );
    check("ADT^A40", "MRG|1\nPID|||2\n", &["Error merge-without-patient MRG-1"]);
}

#[test]
fn identities_change_and_circles_are_refused() {
    for trigger in ["A18", "A34", "A36", "A39", "A40", "A47"] {
        check(
            &format!("ADT^{trigger}"),
            "EVN||20240715110000\nPID|||2\nMRG|1\n",
            &["HOSP/2 - 2024-07-15T09:00Z Second merged HOSP/1"],
        );
    }
    check(
        "ADT^A40",
        "PID|||2\nMRG|1\nPID|||3\nMRG|2\nPID|||1\nMRG|3\n",
        &[
            "HOSP/2 - 2024-07-15T10:00Z Second merged HOSP/1",
            "HOSP/3 - 2024-07-15T10:00Z Second merged HOSP/2",
            "Error merge-cycle MRG[3]-1",
        ],
    );
}

/// What goes on as the patient's beside MRG-1 costs as much as what stands in it.
#[test]
fn every_id_that_goes_on_is_counted() {
    let ids = |name: &str, count: usize| {
        let ids: Vec<String> = (0..count).map(|n| format!("{name}{n}^^^L")).collect();
        ids.join("~")
    };
    let of = |beside: usize, prior: usize| {
        let message = format!(
            "MSH|^~\\&|||||2024||ADT^A40|1|P|2.5\nPID|||9^^^EXT^MR~{}\nMRG|{}\n",
            ids("A", beside),
            ids("B", prior)
        );
        let (events, issues) = read(&message, &feed());
        (events.len(), issues.iter().map(|issue| issue.code.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(of(400, 600), (1000, vec![]));
    assert_eq!(of(600, 600), (0, vec!["merges-too-many".to_owned()]));
}

#[test]
fn a_prior_id_without_an_authority_is_not_passed_over_untold() {
    let message = "MSH|^~\\&|||||2024||ADT^A40|1|P|2.5\nPID|||1^^^H\nMRG|2^^^H~3~4^^^^AN\n";
    let told = |feed: &Feed| {
        let (events, issues) = read(message, feed);
        let issues = issues.iter().map(|i| format!("{:?} {} {}", i.severity, i.code, i.location));
        let events = events.iter().map(|event| line(event).replace("2023-12-31T23:00Z Year ", ""));
        events.chain(issues).collect::<Vec<_>>()
    };
    let bare = Feed { authority: String::new(), ..feed() };
    assert_eq!(told(&bare), ["H/1 - merged H/2", "Warning authority-missing MRG-1.4"]);
    // The feed's stands in; an account's number is none of the patient's.
    assert_eq!(told(&feed()), ["H/1 - merged H/2", "H/1 - merged HOSP/3"]);
}
