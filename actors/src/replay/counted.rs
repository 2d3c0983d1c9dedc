//! Whether a former reading has counted: then a replay cannot undo it. The state keeps what was said last of each place,
//! and not by whom: to take a value back could take another message's, which stands in its place by now.

use std::collections::BTreeSet;

use clinical::{Column, Event, EventKind, PatientId, Time};

/// What the state knows at most one answer to.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place<'e> {
    Value(&'e PatientId, Column, &'e str, Time),
    Person(&'e PatientId),
    /// By its kind.
    Movement(&'e PatientId, u8, Time),
    Merge(&'e PatientId, &'e PatientId),
}

/// Whether something that was read before, and is no longer, would go on counting beside the new reading.
pub(super) fn would_stay(before: &[Event], after: &[Event]) -> bool {
    let told: BTreeSet<Place<'_>> = after.iter().filter_map(place).collect();
    before.iter().filter_map(place).any(|place| !told.contains(&place))
}

/// `None`: nothing is computed from it.
fn place(event: &Event) -> Option<Place<'_>> {
    let patient = &event.patient;
    match &event.kind {
        EventKind::Observed(seen) => {
            Some(Place::Value(patient, Column::from_code(&seen.code)?, &seen.source_id, event.at))
        }
        EventKind::Person(_) => Some(Place::Person(patient)),
        EventKind::Encounter(encounter) => Some(Place::Movement(patient, encounter.change as u8, event.at)),
        EventKind::Merged { from } => Some(Place::Merge(from, patient)),
        EventKind::Ordered(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use clinical::{Code, CodeSystem, Observation, ObservationStatus, Precision, Value};

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
}
