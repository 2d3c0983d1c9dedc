use super::*;
use crate::fhir::read;
use crate::{CodeTable, EncounterChange, Observation, ObservationStatus, Value};

const NOW: Time = Time(1_800_000_000_000);

fn feed() -> Feed {
    let codes = "local_code,local_system,loinc,ucum,local_unit\nT,urn:lab,8310-5,Cel,degF\n";
    Feed {
        authority: "HOSP".into(),
        zone: "Europe/Zurich".into(),
        codes: CodeTable::parse(codes).unwrap(),
        icu_wards: vec!["ICU*".into()],
        ..Feed::default()
    }
}

#[track_caller]
fn events(json: &str) -> (Vec<Event>, Vec<Issue>) {
    to_events(&read(json.as_bytes()).unwrap(), &feed(), NOW)
}

fn observation(rest: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","status":"final","effectiveDateTime":"2026-01-02T03:04:05Z","subject":{{"reference":"Patient/7"}},{rest}}}"#
    )
}

#[track_caller]
fn observed(json: &str) -> Vec<Observation> {
    let (events, issues) = events(json);
    assert!(issues.iter().all(|i| i.severity != Severity::Error), "{issues:?}");
    events
        .into_iter()
        .filter_map(|e| match e.kind {
            EventKind::Observed(o) => Some(o),
            _ => None,
        })
        .collect()
}

fn id(authority: &str, id: &str) -> PatientId {
    PatientId { authority: authority.into(), id: id.into() }
}

/// Not `assert_eq!`: a `PatientId` hides itself in messages.
#[track_caller]
fn check_subject(subject: &str, expected: Option<PatientId>) {
    let json = format!(
        r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},"valueString":"y","subject":{subject}}}"#
    );
    let (events, issues) = events(&json);
    assert!(events.first().map(|e| e.patient.clone()) == expected, "{subject}");
    assert_eq!(issues.iter().any(|i| i.code == "patient-id-missing"), expected.is_none());
}

#[test]
fn what_scores_set_aside_or_guess_is_told_and_kept() {
    let quantity = |loinc: &str, quantity: &str| {
        observation(&format!(
            r#""code":{{"coding":[{{"system":"http://loinc.org","code":"{loinc}"}}]}},"valueQuantity":{quantity}"#
        ))
    };
    for (loinc, value, told) in [
        ("8867-4", r#"{"value":720,"unit":"/min"}"#, Some("value-implausible")),
        ("2160-0", r#"{"value":1,"unit":"furlong"}"#, Some("unit-not-convertible")),
        ("2345-7", r#"{"value":5.5}"#, Some("unit-missing")),
        ("2345-7", r#"{"value":5.5,"unit":"mmol/L"}"#, None),
        ("22664-7", r#"{"value":10,"unit":"mmol/L"}"#, None),
    ] {
        let (events, issues) = events(&quantity(loinc, value));
        let codes: Vec<_> = issues.iter().map(|i| (i.severity, &*i.code, i.location.as_str())).collect();
        let expected = told.map(|code| (Severity::Warning, code, "Observation.value[x]"));
        assert_eq!(codes, expected.into_iter().collect::<Vec<_>>(), "{loinc} {value}");
        assert_eq!(events.len(), 1, "{loinc} {value}: kept all the same");
    }
}

#[test]
fn a_subject_is_named_in_many_ways() {
    check_subject(r#"{"reference":"Patient/7"}"#, Some(id("fhir:HOSP", "7")));
    let elsewhere = id("fhir://ehr.example/fhir", "7");
    check_subject(
        r#"{"reference":"https://ehr.example/fhir/Patient/7/_history/2"}"#,
        Some(elsewhere.clone()),
    );
    check_subject(r#"{"reference":"http://ehr.example/fhir/Patient/7"}"#, Some(elsewhere));
    check_subject(
        r#"{"reference":"Patient/7","identifier":{"system":"urn:id:HOSP","value":"9"}}"#,
        Some(id("HOSP", "9")),
    );
    // An id that this site gave is this site's, by whatever address it was reached.
    let given = "0123456789abcdef0123456789abcdef";
    let here = format!(r#"{{"reference":"https://site.example/fhir/Patient/{given}"}}"#);
    check_subject(&here, Some(id("fhir:HOSP", given)));
    check_subject(r#"{"reference":"Group/7","identifier":{"value":"9"}}"#, None);
    check_subject(r#"{"identifier":{"system":"urn:oid:2.999.1","value":"9"}}"#, Some(id("2.999.1", "9")));
    check_subject(r#"{"identifier":{"value":"9"}}"#, Some(id("HOSP", "9")));
    check_subject(r#"{"reference":"Patient?identifier=urn:x%7C9"}"#, Some(id("urn:x", "9")));
    check_subject(r#"{"reference":"urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}"#, None);
    check_subject(r#"{"reference":"Group/7"}"#, None);
    check_subject(r#"{"display":"someone"}"#, None);
    check_subject(r#"{"reference":"Patient?identifier=%zz"}"#, None);
}

/// Its id is its own where it came alone or is put at it.
#[test]
fn a_resource_with_an_id_is_a_version() {
    let heart_rate = observation(r#""code":{"text":"x"},"valueString":"y""#);
    let named = heart_rate.replacen('{', r#"{"id":"o1","#, 1);
    let entry = |request: &str| {
        format!(
            r#"{{"resourceType":"Bundle","type":"transaction","entry":[{{"fullUrl":"urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0","resource":{named},"request":{{{request}}}}}]}}"#
        )
    };
    let is_version = |json: &str| observed(json).iter().map(|o| o.is_version).collect::<Vec<_>>();
    assert_eq!(is_version(&heart_rate), [false]);
    assert_eq!(is_version(&named), [true]);
    assert_eq!(is_version(&entry(r#""method":"POST","url":"Observation""#)), [false]);
    assert_eq!(is_version(&entry(r#""method":"PUT","url":"Observation/o1""#)), [true]);
}

#[test]
fn a_blank_name_is_none() {
    let name = |name: &str| {
        let patient = format!(
            r#"{{"resourceType":"Patient","identifier":[{{"value":"7"}}],"gender":"male","name":[{name}]}}"#
        );
        let (events, issues) = events(&patient);
        let person = events.into_iter().find_map(|e| match e.kind {
            EventKind::Person(person) => Some(person),
            _ => None,
        });
        (person.unwrap().name, issues.iter().any(|issue| issue.code == "fhir-empty"))
    };
    assert_eq!(name(r#"{"family":"  "}"#), (None, true));
    assert_eq!(name(r#"{"family":" Doe","given":[" ","Jo "]}"#), (Some("Doe, Jo".into()), true));
}

#[test]
fn a_logical_id_is_no_record_number() {
    let patient = r#"{"resourceType":"Patient","id":"4711","gender":"male"}"#;
    let (events, _) = events(patient);
    assert!(events.len() == 1 && events[0].patient == id("fhir:HOSP", "4711"));
}

/// By the ledger's merges, so whatever the order in which they came.
#[test]
fn a_patient_links_its_logical_id_to_its_number() {
    let patient = |entry: &str| {
        format!(
            r#"{{"resourceType":"Bundle","type":"transaction","entry":[{{{entry},"resource":
            {{"resourceType":"Patient","id":"4711","identifier":[{{"system":"urn:id:HOSP","value":"42"}}]}}}}]}}"#
        )
    };
    #[track_caller]
    fn check(json: &str, names: &[PatientId]) {
        let (events, issues) = events(json);
        assert_eq!(issues, []);
        assert!(events.iter().all(|event| event.patient == id("HOSP", "42")));
        let from: Vec<_> = events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::Merged { from } => Some(from.clone()),
                _ => None,
            })
            .collect();
        assert!(from == names, "{json}");
    }
    let alone =
        r#"{"resourceType":"Patient","id":"4711","identifier":[{"system":"urn:id:HOSP","value":"42"}]}"#;
    let (here, there) = (id("fhir:HOSP", "4711"), id("fhir://ehr.example/fhir", "4711"));
    check(alone, std::slice::from_ref(&here));
    let post = r#""request":{"method":"POST","url":"Patient"}"#;
    let put = r#""request":{"method":"PUT","url":"Patient/4711"}"#;
    let url = r#""fullUrl":"https://ehr.example/fhir/Patient/4711""#;
    let uuid = r#""fullUrl":"urn:uuid:22222222-2222-4222-8222-222222222222""#;
    check(&patient(post), std::slice::from_ref(&here));
    check(&patient(&format!("{put},{uuid}")), std::slice::from_ref(&here));
    check(&patient(&format!("{put},{url}")), &[here, there.clone()]);
    check(&patient(&format!("{post},{url}")), &[there]);
    // Made up for this Bundle.
    check(&patient(&format!("{post},{uuid}")), &[]);
}

#[test]
fn a_patient_is_known_by_the_id_that_its_sender_hears() {
    let given = "0123456789abcdef0123456789abcdef";
    let json = r#"{"resourceType":"Patient","identifier":[{"system":"urn:id:HOSP","value":"42"}]}"#;
    let taken = take(&read(json.as_bytes()).unwrap(), &feed(), NOW, Some(given));
    assert!(taken.events[1].kind == EventKind::Merged { from: id("fhir:HOSP", given) });
    let (events, issues) = events(&format!(
        r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},"valueString":"y","subject":{{"reference":"Patient/{given}-2"}}}}"#
    ));
    assert_eq!((events.len(), &*issues[0].code), (0, "fhir-reference-unresolved"));
}

/// `Patient/1` of one server is not that of another, and a contained one is nobody outside its owner.
#[test]
fn references_stay_at_their_server() {
    let entry = |server: &str, resource: &str, id: &str| {
        format!(
            r#"{{"fullUrl":"{server}/{resource}/1","resource":{{"resourceType":"{resource}","id":"1",{id}}}}}"#
        )
    };
    let observation = r#""status":"final","code":{"text":"x"},"valueString":"y","effectiveDateTime":"2026","subject":{"reference":"Patient/1"}"#;
    let number = |value: &str| format!(r#""identifier":[{{"system":"urn:id:HOSP","value":"{value}"}}]"#);
    let (a, b, c) = ("http://a.example/fhir", "http://b.example/fhir", "http://c.example/fhir");
    let bundle = format!(
        r#"{{"resourceType":"Bundle","type":"collection","entry":[{},{},{},{},{}]}}"#,
        entry(a, "Patient", &number("10")),
        entry(b, "Patient", &number("20")),
        entry(a, "Observation", observation),
        entry(b, "Observation", observation),
        entry(c, "Observation", observation),
    );
    let (events, issues) = events(&bundle);
    assert_eq!(issues, []);
    let observed = events.iter().filter(|event| matches!(event.kind, EventKind::Observed(_)));
    let patients: Vec<_> = observed.map(|event| event.patient.clone()).collect();
    assert!(patients == [id("HOSP", "10"), id("HOSP", "20"), id("fhir://c.example/fhir", "1")]);
    let contained = r##"{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueString":"y",
        "contained":[{"resourceType":"Patient","id":"p1"}],"subject":{"reference":"#p1"}}"##;
    assert_eq!(super::tests::events(contained).1[0].code, "patient-id-missing");
}

#[test]
fn a_transaction_is_what_its_entries_say() {
    let patient =
        |id: &str| format!(r#"{{"resourceType":"Patient","id":"{id}","identifier":[{{"value":"{id}"}}]}}"#);
    let check = |entries: &[String], code: &str, location: &str| {
        let json =
            format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#, entries.join(","));
        let (_, issues) = events(&json);
        let found: Vec<_> = issues.iter().map(|i| (&*i.code, i.location.as_str(), i.severity)).collect();
        assert_eq!(found, [(code, location, Severity::Error)], "{json}");
    };
    let entry = |request: &str, id: &str| {
        format!(r#"{{"fullUrl":"urn:x:{id}","request":{{{request}}},"resource":{}}}"#, patient(id))
    };
    let post = r#""method":"POST","url":"Patient""#;
    check(
        &[format!(r#"{{"resource":{}}}"#, patient("1"))],
        "fhir-element-missing",
        "Bundle.entry[0].request",
    );
    check(&[entry(post, "1"), entry(post, "1")], "fhir-bundle-full-url-repeated", "Bundle.entry[1].fullUrl");
    for request in [
        r#""method":"POST","url":"Observation""#,
        r#""method":"PUT","url":"Observation/1""#,
        r#""method":"PUT","url":"Patient/2""#,
        r#""method":"PUT","url":"Patient""#,
    ] {
        check(&[entry(request, "1")], "fhir-request-url-mismatch", "Bundle.entry[0].request.url");
    }
    let conditional = format!(r#"{post},"ifNoneExist":"identifier=a|b""#);
    check(&[entry(&conditional, "1")], "fhir-condition-unsupported", "Bundle.entry[0].request.ifNoneExist");
    check(&[format!(r#"{{"request":{{{post}}}}}"#)], "fhir-element-missing", "Bundle.entry[0].resource");

    let named = |url: &str, full_url: &str, id: &str| {
        entry(&format!(r#""method":"PUT","url":"{url}""#), id).replace("urn:x:", full_url)
    };
    let twice = [named("Patient/1", "urn:x:", "1"), named("/Patient/1?x=y", "urn:y:", "1")];
    check(&twice, "fhir-transaction-resource-repeated", "Bundle.entry[1].request.url");
    for (first, second) in [
        ("Patient?identifier=a|1", "Patient?identifier=a%7C1&active=true"),
        ("Patient?_id=1", "Patient/1"),
        ("Patient?identifier=|1", "Patient/1"),
        ("Patient/1", "Patient?identifier=|1"),
        ("Patient?birthdate=1951", "Patient?birthdate=1951"),
    ] {
        let overlap = [named(first, "urn:x:", "1"), named(second, "urn:y:", "1")];
        check(&overlap, "fhir-transaction-resource-repeated", "Bundle.entry[1].request.url");
    }
    for other in [r#""method":"DELETE","url":"Patient/1""#, r#""method":"PATCH","url":"Patient/1""#] {
        let entries = [named("Patient/1", "urn:x:", "1"), format!(r#"{{"request":{{{other}}}}}"#)];
        check(&entries, "fhir-method-unsupported", "Bundle.entry[1].request.method");
    }
    let once = [
        named("Patient/1", "urn:x:", "1"),
        named("Patient/2", "urn:x:", "2"),
        named("Patient?identifier=a|3", "urn:x:", "3"),
        named("Patient?identifier=a|4", "urn:x:", "4"),
        entry(post, "5")
            .replace(r#""id":"5","identifier":[{"value":"5"}]"#, r#""identifier":[{"value":"1"}]"#),
    ];
    let once = once.join(",");
    let bundle = |type_: &str, entries: &str| {
        format!(r#"{{"resourceType":"Bundle","type":"{type_}","entry":[{entries}]}}"#)
    };
    for json in [bundle("transaction", &once), bundle("batch", &twice.join(","))] {
        assert!(events(&json).1.iter().all(|i| i.severity != Severity::Error), "{json}");
    }
}

#[test]
fn conditions_are_one_identifier() {
    let ok = |system: &str, value: &str| Ok((system.to_owned(), value.to_owned()));
    let asked = |condition: &str| identifier_condition(condition).map_err(|issue| issue.code.into_owned());
    assert_eq!(asked("identifier=urn:x|9"), ok("urn:x", "9"));
    assert_eq!(asked("?identifier=http%3A%2F%2Fx%2Fy%7C9%2C1"), ok("http://x/y", "9,1"));
    for other in [
        "",
        "identifier=",
        "identifier=9",
        "identifier=|9",
        "identifier=urn:x|",
        "identifier=a|b,c|d",
        "identifier=a|b&name=x",
        "name=x",
        "identifier=%zz|1",
    ] {
        assert_eq!(asked(other), Err("fhir-condition-unsupported".to_owned()), "{other}");
    }
}

#[test]
fn a_transaction_resolves_its_own_references() {
    let json = r#"{"resourceType":"Bundle","type":"transaction","entry":[
      {"fullUrl":"urn:uuid:11111111-1111-4111-8111-111111111111","request":{"method":"POST","url":"Observation"},"resource":{
        "resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},
        "subject":{"reference":"urn:uuid:22222222-2222-4222-8222-222222222222"},
        "encounter":{"reference":"urn:uuid:33333333-3333-4333-8333-333333333333"},
        "effectiveDateTime":"2026-01-02","valueQuantity":{"value":80.0,"unit":"bpm"}}},
      {"fullUrl":"urn:uuid:22222222-2222-4222-8222-222222222222","request":{"method":"POST","url":"Patient"},"resource":{
        "resourceType":"Patient","id":"scratch","gender":"female","birthDate":"1951-04",
        "name":[{"use":"nickname","text":"Nan"},{"use":"official","family":"Muster","given":["Anna","M."]}],
        "identifier":[{"type":{"coding":[{"code":"SS"}]},"value":"756"},{"type":{"coding":[{"code":"MR"}]},"value":"42"}]}},
      {"fullUrl":"urn:uuid:33333333-3333-4333-8333-333333333333","request":{"method":"POST","url":"Encounter"},"resource":{
        "resourceType":"Encounter","status":"finished","class":{"code":"IMP"},"identifier":[{"value":"V1"}],
        "subject":{"reference":"urn:uuid:22222222-2222-4222-8222-222222222222"},
        "period":{"start":"2026-01-01T00:00:00Z","end":"2026-01-03T00:00:00Z"},
        "location":[{"location":{"display":"ICU 2"},"period":{"start":"2026-01-02T00:00:00Z"}},
                    {"location":{"display":"Ward 5"},"period":{"start":"2026-01-01T00:00:00Z"}}]}}]}"#;
    let (events, issues) = events(json);
    assert_eq!(issues, []);
    assert!(events.iter().all(|e| e.patient == id("HOSP", "42")));
    assert_eq!(events[0].visit.as_deref(), Some("V1"));
    assert_eq!((events[0].at, events[0].precision), (Time(1_767_308_400_000), Precision::Day));
    let EventKind::Observed(o) = &events[0].kind else { panic!() };
    assert!(
        o.value
            == Value::Quantity { number: 80.0, text: "80.0".into(), unit: "/min".into(), comparator: None }
    );
    let EventKind::Person(p) = &events[1].kind else { panic!() };
    assert_eq!((p.name.as_deref(), p.birth_date.as_deref()), (Some("Muster, Anna M."), Some("1951-04")));
    let moves: Vec<_> = events[2..]
        .iter()
        .map(|e| match &e.kind {
            EventKind::Encounter(e) => (e.change, e.location.as_ref().is_some_and(|l| l.icu)),
            _ => panic!("no other event"),
        })
        .collect();
    assert_eq!(
        moves,
        [
            (EncounterChange::Admitted, false),
            (EncounterChange::Transferred, true),
            (EncounterChange::Discharged, true)
        ]
    );
}

#[test]
fn components_are_results_of_their_own() {
    let all = observed(&observation(
        r#""identifier":[{"system":"urn:m","value":"1"}],"code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},"component":[
        {"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":120,"unit":"mmHg","system":"http://unitsofmeasure.org","code":"mm[Hg]"}},
        {"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":80,"unit":"mmHg"}}]"#,
    ));
    let codes: Vec<_> = all.iter().map(|o| (o.code.code.as_str(), o.source_id.as_str())).collect();
    assert_eq!(codes, [("8480-6", "urn:m|1#8480-6"), ("8462-4", "urn:m|1#8462-4")]);
    assert!(all.iter().all(|o| matches!(&o.value, Value::Quantity { unit, .. } if unit == "mm[Hg]")));
}

#[test]
fn local_codes_and_units_go_through_the_table() {
    let all = observed(&observation(
        r#""code":{"coding":[{"system":"urn:lab","code":"T","display":"Temp"}]},"valueQuantity":{"value":98.60,"comparator":"<"}"#,
    ));
    assert_eq!((all[0].code.system.clone(), all[0].code.code.as_str()), (crate::CodeSystem::Loinc, "8310-5"));
    let Value::Quantity { number, text, unit, comparator } = &all[0].value else { panic!() };
    assert!((number - 37.0).abs() < 1e-9 && text == "98.60" && unit == "Cel");
    assert_eq!(*comparator, Some(crate::Comparator::Less));
}

#[test]
fn amendments_keep_the_name_of_what_they_amend() {
    for (status, expected) in [
        ("preliminary", ObservationStatus::Preliminary),
        ("amended", ObservationStatus::Corrected),
        ("corrected", ObservationStatus::Corrected),
        ("entered-in-error", ObservationStatus::Deleted),
        ("cancelled", ObservationStatus::Cancelled),
    ] {
        let json = observation(r#""id":"o1","code":{"text":"x"},"valueInteger":3"#).replace("final", status);
        let all = observed(&json);
        assert_eq!((all[0].status, all[0].source_id.as_str()), (expected, "Observation/o1"));
    }
    let withdrawn =
        observed(&observation(r#""id":"o1","code":{"text":"x"}"#).replace("final", "entered-in-error"));
    assert!(withdrawn.len() == 1 && withdrawn[0].value == Value::Absent);
}

#[test]
fn nothing_is_dropped_silently() {
    let codes = |json: &str| events(json).1.into_iter().map(|i| i.code.into_owned()).collect::<Vec<_>>();
    assert_eq!(codes(r#"{"resourceType":"Medication"}"#), ["fhir-resource-not-mapped"]);
    assert_eq!(codes(&observation(r#""code":{"text":"x"}"#)), ["fhir-value-missing"]);
    assert_eq!(
        codes(&observation(r#""code":{"text":"x"},"valueRange":{"low":{"value":1}}"#)),
        ["fhir-value-unsupported", "fhir-value-missing"]
    );
    assert_eq!(
        codes(&observation(r#""focus":[{"display":"fetus"}],"code":{"text":"x"},"valueInteger":1"#)),
        ["fhir-focus-unsupported"]
    );
    assert_eq!(codes(r#"{"resourceType":"Bundle","type":"history"}"#), ["fhir-bundle-unsupported"]);
    assert_eq!(
        codes(
            r#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"Patient/1"}}]}"#
        ),
        ["fhir-method-unsupported"]
    );
    assert_eq!(
        codes(
            r#"{"resourceType":"Encounter","status":"in-progress","class":{"code":"IMP"},"id":"e","subject":{"reference":"Patient/7"}}"#
        ),
        ["fhir-time-missing"]
    );
}

#[test]
fn of_a_batch_the_good_entries_count() {
    let json = r#"{"resourceType":"Bundle","type":"batch","entry":[
        {"resource":{"resourceType":"Patient","id":"1","gender":"?"},"request":{"method":"PUT","url":"Patient/1"}},
        {"resource":{"resourceType":"Patient","id":"2"},"request":{"method":"PUT","url":"Patient/2"}}]}"#;
    let (events, issues) = events(json);
    assert!(events.len() == 1 && events[0].patient == id("fhir:HOSP", "2"));
    assert_eq!((issues.len(), issues[0].severity), (1, Severity::Warning));
    assert_eq!(issues[0].location, "Bundle.entry[0].resource.gender");
    let json = json.replace("}]}", r#"},{"request":{"method":"DELETE","url":"Patient/q"}}]}"#);
    let taken = take(&read(json.as_bytes()).unwrap(), &feed(), NOW, None);
    let refused: Vec<_> =
        taken.refused.iter().map(|(at, issues)| (*at, &*issues[0].code, issues[0].severity)).collect();
    assert_eq!(
        refused,
        [(0, "fhir-code-invalid", Severity::Error), (2, "fhir-method-unsupported", Severity::Error)]
    );
}

#[test]
fn a_link_merges_and_so_does_a_logical_id() {
    let json = r#"{"resourceType":"Patient","id":"7","identifier":[{"system":"urn:mrn","value":"42"}],
        "link":[{"other":{"identifier":{"system":"urn:mrn","value":"41"}},"type":"replaces"}]}"#;
    let (events, issues) = events(json);
    assert_eq!((events.len(), issues.len()), (3, 0));
    assert!(events.iter().all(|e| e.patient == id("urn:mrn", "42")));
    assert!(events[1].kind == EventKind::Merged { from: id("fhir:HOSP", "7") });
    assert!(events[2].kind == EventKind::Merged { from: id("urn:mrn", "41") });
}

#[test]
fn clocks_and_zones_that_cannot_be_are_told() {
    let json = observation(r#""code":{"text":"x"},"valueInteger":1"#).replace("2026", "2096");
    let resource = read(json.as_bytes()).unwrap();
    let told = |feed: &Feed| {
        to_events(&resource, feed, NOW).1.into_iter().map(|i| i.code.into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(&feed()), ["event-time-in-future"]);
    assert_eq!(
        told(&Feed { zone: "Europe/Nowhere".into(), ..feed() }),
        ["zone-unknown", "event-time-in-future"]
    );
}
