//! Whether a former reading has counted: then a replay cannot undo it. The state keeps what was said last of each place,
//! and not by whom: to take a value back could take another message's, which stands in its place by now.

use std::collections::BTreeSet;

use clinical::{Column, Encounter, Event, EventKind, PatientId, Time};

/// What the state knows at most one answer to.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place<'e> {
    Value(&'e PatientId, Column, &'e str, Time),
    Person(&'e PatientId),
    Movement(&'e PatientId, Option<&'e str>, u8, Time, Part),
    Merge(&'e PatientId, &'e PatientId),
}

/// What a movement may say or leave as it was said before.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Change,
    Class,
    Location,
    AdmittedAt,
    DischargedAt,
}

/// Whether something that was read before, and is no longer, would go on counting beside the new reading.
pub(super) fn would_stay(before: &[Event], after: &[Event]) -> bool {
    let told: BTreeSet<Place<'_>> = after.iter().flat_map(places).collect();
    before.iter().flat_map(places).any(|place| !told.contains(&place))
}

/// Empty: nothing is computed from it.
fn places(event: &Event) -> Vec<Place<'_>> {
    let patient = &event.patient;
    match &event.kind {
        EventKind::Observed(seen) => Column::from_code(&seen.code)
            .map(|column| Place::Value(patient, column, &seen.source_id, event.at))
            .into_iter()
            .collect(),
        EventKind::Person(_) => vec![Place::Person(patient)],
        EventKind::Encounter(encounter) => {
            let (visit, change) = (event.visit.as_deref(), encounter.change as u8);
            let place = |part| Place::Movement(patient, visit, change, event.at, part);
            parts(encounter).map(place).collect()
        }
        EventKind::Merged { from } => vec![Place::Merge(from, patient)],
        EventKind::Ordered(_) => Vec::new(),
    }
}

fn parts(encounter: &Encounter) -> impl Iterator<Item = Part> {
    let Encounter { change: _, class, location, location_deleted, admitted_at, discharged_at } = encounter;
    let said = [
        (true, Part::Change),
        (class.is_some(), Part::Class),
        (location.is_some() || *location_deleted, Part::Location),
        (admitted_at.is_some(), Part::AdmittedAt),
        (discharged_at.is_some(), Part::DischargedAt),
    ];
    said.into_iter().filter(|(is_said, _)| *is_said).map(|(_, part)| part)
}

#[cfg(test)]
mod tests {
    use clinical::{
        Code, CodeSystem, EncounterChange, Location, Observation, ObservationStatus, Precision, Value,
    };

    use super::*;

    fn seen(id: &str, code: &str, source_id: &str, at: i64, number: f64) -> Event {
        let system = if code.contains('-') { CodeSystem::Loinc } else { CodeSystem::Other("".into()) };
        Event {
            patient: PatientId { authority: "H".into(), id: id.into() },
            visit: None,
            at: Time(at),
            precision: Precision::Second,
            kind: EventKind::Observed(Observation {
                code: Code { system, code: code.into(), display: "".into() },
                value: Value::Quantity {
                    number,
                    text: number.to_string().into(),
                    unit: "/min".into(),
                    comparator: None,
                },
                status: ObservationStatus::Final,
                source_id: source_id.into(),
                is_version: false,
                sent_at: None,
            }),
        }
    }

    #[test]
    fn what_nobody_computes_with_may_be_read_otherwise_and_what_counted_may_not() {
        let pulse = seen("1", "8867-4", "o", 60_000, 80.0);
        let unknown = seen("1", "P1", "o", 60_000, 80.0);
        assert!(!would_stay(std::slice::from_ref(&unknown), std::slice::from_ref(&pulse)));
        assert!(!would_stay(&[], std::slice::from_ref(&pulse)));
        let other_value = seen("1", "8867-4", "o", 60_000, 70.0);
        assert!(
            !would_stay(std::slice::from_ref(&pulse), &[other_value]),
            "the later one stands in its place"
        );
        let others = [
            unknown,
            seen("1", "9279-1", "o", 60_000, 80.0),
            seen("2", "8867-4", "o", 60_000, 80.0),
            seen("1", "8867-4", "p", 60_000, 80.0),
            seen("1", "8867-4", "o", 0, 80.0),
        ];
        for other in others {
            assert!(would_stay(std::slice::from_ref(&pulse), std::slice::from_ref(&other)));
            assert!(!would_stay(std::slice::from_ref(&pulse), &[other, pulse.clone()]));
        }
    }

    #[test]
    fn a_movement_is_replaced_where_the_new_reading_says_of_it_what_the_former_said() {
        let moved = |visit: &str, at, ward: &str, icu| Event {
            visit: Some(visit.into()),
            at: Time(at),
            kind: EventKind::Encounter(Encounter {
                location: (!ward.is_empty()).then(|| Location {
                    ward: ward.into(),
                    icu,
                    ..Location::default()
                }),
                ..Encounter::of(EncounterChange::Transferred)
            }),
            ..seen("1", "8867-4", "o", at, 80.0)
        };
        let transferred = [moved("V1", 0, "W1", true)];
        assert!(!would_stay(&transferred, &[moved("V1", 0, "W1", false)]));
        assert!(!would_stay(&[moved("V1", 0, "", false)], &transferred));
        for other in [moved("V2", 0, "W1", true), moved("V1", 1, "W1", true), moved("V1", 0, "", false)] {
            assert!(would_stay(&transferred, &[other]));
        }
    }
}
