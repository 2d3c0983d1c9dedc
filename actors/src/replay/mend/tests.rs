use clinical::ObservationStatus::{Corrected, Final};
use clinical::{Code, CodeSystem, PatientState, Precision};

use super::*;

const PULSE: (&str, &str) = ("8867-4", "/min");
const BREATHS: (&str, &str) = ("9279-1", "/min");

fn seen((code, unit): (&str, &str), number: f64, status: ObservationStatus) -> Event {
    Event {
        patient: PatientId { authority: "H".into(), id: "1".into() },
        visit: None,
        at: Time(60_000),
        precision: Precision::Second,
        kind: EventKind::Observed(Observation {
            code: Code { system: CodeSystem::Loinc, code: code.into(), display: String::new() },
            value: Value::Quantity { number, text: number.to_string(), unit: unit.into(), comparator: None },
            status,
            source_id: "order/1003".into(),
        }),
    }
}

/// The readings of one message, one after another, with what is between them from others; what is known in the end.
fn known(steps: &[(&str, Vec<Event>)]) -> Vec<(Column, f32)> {
    let mut state = PatientState::default();
    let (mut before, mut mended): (Vec<Event>, Vec<Event>) = (Vec::new(), Vec::new());
    for (who, events) in steps {
        if *who == "reading" {
            let added = mends(&mended, &before, events);
            added.iter().for_each(|event| apply(&mut state, event));
            mended.extend(added);
            before.clone_from(events);
        }
        events.iter().for_each(|event| apply(&mut state, event));
    }
    let newest = |column: &Column| Some((*column, state.last(*column, Time(60_000))?.1));
    clinical::COLUMNS.iter().filter_map(newest).collect()
}

fn apply(state: &mut PatientState, event: &Event) {
    state.apply(event);
}

#[test]
fn a_reading_leaves_nothing_of_the_one_before() {
    let (pulse, breaths) = (seen(PULSE, 80.0, Final), seen(BREATHS, 18.0, Final));
    let read = |events: &[&Event]| ("reading", events.iter().map(|event| (*event).clone()).collect());
    let steps = [read(&[&pulse]), read(&[&breaths]), read(&[&pulse]), read(&[]), read(&[&pulse, &breaths])];
    let expected: [&[(Column, f32)]; 5] = [
        &[(Column::Hr, 80.0)],
        &[(Column::Resp, 18.0)],
        &[(Column::Hr, 80.0)],
        &[],
        &[(Column::Hr, 80.0), (Column::Resp, 18.0)],
    ];
    for count in 1..=steps.len() {
        assert_eq!(known(&steps[..count]), expected[count - 1], "after {count} readings");
    }
}

#[test]
fn what_its_sender_has_corrected_since_stands() {
    let (pulse, other) = (seen(PULSE, 80.0, Final), seen(PULSE, 81.0, Final));
    let corrected = seen(PULSE, 90.0, Corrected);
    let steps = |second: &Event| {
        [
            ("reading", vec![pulse.clone()]),
            ("sender", vec![corrected.clone()]),
            ("reading", vec![second.clone()]),
        ]
    };
    assert_eq!(known(&steps(&other)), [(Column::Hr, 90.0)]);
    assert_eq!(known(&steps(&pulse)), [(Column::Hr, 90.0)]);
}

#[test]
fn two_codes_of_one_column_do_not_take_each_other_back() {
    let (before, after) = (seen(PULSE, 80.0, Final), seen(("8889-8", "/min"), 80.0, Final));
    assert!(mends(&[], &[before], &[after]).is_empty());
}
