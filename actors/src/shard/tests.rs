//! Whose patients are scored, and when.

use std::sync::Mutex;

use clinical::{
    Code, CodeSystem, Encounter, EncounterChange, EventKind, Observation, ObservationStatus, PatientId,
    Precision, Value,
};
use ml_scoring::{AlertPolicy, Scorer, WardBudgets};

use super::*;
use crate::metrics::Metrics;

/// LOINC code, unit, a value that alarms and one that does not.
const VITAL_SIGNS: [(&str, &str, f64, f64); 5] = [
    ("9279-1", "/min", 30.0, 14.0),
    ("2708-6", "%", 85.0, 98.0),
    ("8480-6", "mm[Hg]", 80.0, 120.0),
    ("8867-4", "/min", 140.0, 70.0),
    ("8310-5", "Cel", 35.0, 37.0),
];

fn work(patient: &str, index: u64, site: &str, is_sick: bool) -> Work {
    let at = Time(i64::try_from(index).unwrap() * 60_000);
    let event = |value, code: &str| Event {
        patient: PatientId { authority: "H".into(), id: patient.into() },
        visit: None,
        at,
        precision: Precision::Second,
        kind: EventKind::Observed(Observation {
            code: Code { system: CodeSystem::Loinc, code: code.into(), display: String::new() },
            value,
            status: ObservationStatus::Final,
            source_id: format!("{code}/{index}"),
        }),
    };
    let sign = |(code, unit, sick, well): &(&str, &str, f64, f64)| {
        let number = if is_sick { *sick } else { *well };
        event(
            Value::Quantity { number, text: number.to_string(), unit: (*unit).into(), comparator: None },
            code,
        )
    };
    let mut events: Vec<Event> = VITAL_SIGNS.iter().map(sign).collect();
    events.push(event(Value::Text(if is_sick { "V" } else { "A" }.into()), "67775-7"));
    Work { key: patient.into(), index, site: site.into(), received_at: at, events, again: None }
}

fn shard() -> Addr<Shard> {
    let budgets: Arc<Mutex<WardBudgets>> = Arc::default();
    let scorers = Arc::new(vec![Scorer::news2()]);
    let assessor = Assessor::new(scorers, AlertPolicy::default(), budgets, Metrics::new().unwrap());
    Shard::new(assessor, "b".into()).start()
}

fn cover(sites: &[&str]) -> Cover {
    Cover { sites: sites.iter().map(|site| (*site).to_owned()).collect(), at: Time(1) }
}

/// Patient, trigger and on whose behalf.
fn alerts(done: &Done) -> Vec<(String, u64, Option<String>)> {
    let alert = |proposal: &Proposal| {
        let facts = &proposal.alert.facts;
        (facts.patient.id.clone(), proposal.trigger, facts.takeover_for.clone())
    };
    done.proposals.iter().map(alert).collect()
}

fn expected(alerts: &[(&str, u64, Option<&str>)]) -> Vec<(String, u64, Option<String>)> {
    let owned = |(patient, trigger, site): &(&str, u64, Option<&str>)| {
        ((*patient).to_owned(), *trigger, site.map(str::to_owned))
    };
    alerts.iter().map(owned).collect()
}

#[actix::test]
async fn patients_of_another_site_are_followed_and_scored_only_under_a_lease() {
    let shard = shard();
    let done = shard.send(Fold(vec![work("own", 1, "b", true), work("p", 2, "a", false)])).await.unwrap();
    assert_eq!(alerts(&done), expected(&[("own", 1, None)]));
    let origins: Vec<_> = done.rows.iter().map(|row| row.origin.as_deref()).collect();
    assert_eq!(origins, [None, Some("a")]);
    let done = shard.send(Fold(vec![work("p", 3, "a", true), work("q", 4, "c", true)])).await.unwrap();
    assert!(alerts(&done).is_empty());
    assert!(alerts(&shard.send(Close { index: 5, at: Time(360_000) }).await.unwrap()).is_empty());

    // What came in and nobody told of: under the index by which the site itself would have told of it.
    let done = shard.send(cover(&["a"])).await.unwrap();
    assert_eq!(alerts(&done), expected(&[("p", 3, Some("a"))]));
    assert!(alerts(&shard.send(cover(&["a"])).await.unwrap()).is_empty(), "once");
    let late = work("r", 6, "a", true);
    let done = shard.send(Fold(vec![late])).await.unwrap();
    assert_eq!(alerts(&done), expected(&[("r", 6, Some("a"))]), "a batch that was under way");

    shard.send(cover(&[])).await.unwrap();
    let done = shard.send(Fold(vec![work("s", 7, "a", true)])).await.unwrap();
    assert!(alerts(&done).is_empty());
}

#[actix::test]
async fn what_senders_bring_here_meanwhile_is_about_the_other_sites_patient() {
    let shard = shard();
    shard.send(Fold(vec![work("p", 1, "a", false), work("q", 2, "a", false)])).await.unwrap();
    shard.send(cover(&["a"])).await.unwrap();
    let done = shard.send(Fold(vec![work("p", 3, "b", true)])).await.unwrap();
    assert_eq!(alerts(&done), expected(&[("p", 3, Some("a"))]));
    assert_eq!(done.rows[0].origin.as_deref(), Some("a"));
    shard.send(cover(&[])).await.unwrap();
    // Without a lease whoever comes here belongs here.
    let done = shard.send(Fold(vec![work("q", 4, "b", true)])).await.unwrap();
    assert_eq!(alerts(&done), expected(&[("q", 4, None)]));
}

#[actix::test]
async fn who_lies_here_stays_here_when_another_sites_message_comes() {
    let shard = shard();
    shard.send(Fold(vec![work("p", 1, "b", false)])).await.unwrap();
    let done = shard.send(Fold(vec![work("p", 2, "a", true)])).await.unwrap();
    assert_eq!(done.rows[0].origin, None);
    let done = shard.send(Close { index: 3, at: Time(360_000) }).await.unwrap();
    assert_eq!(alerts(&done), expected(&[("p", 3, None)]));

    let mut discharge = work("p", 10, "b", false);
    let encounter = Encounter {
        change: EncounterChange::Discharged,
        class: None,
        location: None,
        admitted_at: None,
        discharged_at: None,
    };
    discharge.events[0].kind = EventKind::Encounter(encounter);
    shard.send(Fold(vec![discharge])).await.unwrap();
    let done = shard.send(Fold(vec![work("p", 11, "a", false)])).await.unwrap();
    assert_eq!(done.rows[0].origin.as_deref(), Some("a"), "it has left this house");
}

#[actix::test]
async fn what_another_site_shreds_goes_where_it_was_heard_of() {
    let shard = shard();
    shard.send(Fold(vec![work("p", 1, "a", false), work("q", 2, "b", false)])).await.unwrap();
    let forget = |site: &str| Forget { site: site.into(), is_meant: Arc::new(|_: &[u8]| true) };
    assert!(shard.send(forget("c")).await.unwrap().is_empty());
    assert_eq!(shard.send(forget("a")).await.unwrap(), ["p"]);
    assert_eq!(shard.send(forget("b")).await.unwrap(), ["q"]);
}
