//! The state as a whole: order, duplicates, corrections, units, merges, checkpoints.

use proptest::prelude::*;

use super::*;
use crate::*;

const START: i64 = 1_700_000_000_000;

fn event(minute: i64, kind: EventKind) -> Event {
    let patient = PatientId { authority: "HOSP".into(), id: "1".into() };
    let at = Time(START + minute * 60_000);
    Event { patient, visit: Some("v1".into()), at, precision: Precision::Second, kind }
}

fn observed(
    minute: i64,
    loinc: &str,
    number: f64,
    unit: &str,
    source_id: &str,
    status: ObservationStatus,
) -> Event {
    let code = Code { system: CodeSystem::Loinc, code: loinc.into(), display: "".into() };
    let value =
        Value::Quantity { number, text: number.to_string().into(), unit: unit.into(), comparator: None };
    event(
        minute,
        EventKind::Observed(Observation {
            code,
            value,
            status,
            source_id: source_id.into(),
            is_version: false,
            sent_at: None,
        }),
    )
}

fn moved(minute: i64, change: EncounterChange, ward: &str) -> Event {
    let location = Some(Location { ward: ward.into(), icu: ward == "MICU", ..Location::default() });
    event(minute, EventKind::Encounter(Encounter { location, ..Encounter::of(change) }))
}

fn person(minute: i64, name: &str) -> Event {
    let person = Person {
        name: Some(name.into()),
        birth_date: Some("1951-04-23".into()),
        sex: Some(Sex::Male),
        ..Person::default()
    };
    event(minute, EventKind::Person(person))
}

fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> PatientState {
    let mut state = PatientState::default();
    events.into_iter().for_each(|event| {
        state.apply(event);
    });
    state
}

/// A stay with everything in it; corrections stand apart, because they follow what they correct.
fn stay() -> (Vec<Event>, Vec<Event>) {
    use ObservationStatus::*;
    let mut events = vec![
        person(0, "A"),
        person(7, "B"),
        moved(0, EncounterChange::Admitted, "ED"),
        moved(20, EncounterChange::Transferred, "MICU"),
        moved(50, EncounterChange::Transferred, "W3"),
        moved(55, EncounterChange::TransferCancelled, "MICU"),
    ];
    for i in 0..40 {
        events.push(observed(i * 11, "8867-4", 60.0 + i as f64, "/min", &format!("hr{i}"), Final));
        events.push(observed(i * 11, "8867-4", 61.0 + i as f64, "/min", &format!("monitor{i}"), Final));
        events.push(observed(i * 17, "2524-7", 0.5 * i as f64, "mmol/L", "one order", Final));
    }
    let corrections = vec![
        observed(33, "8867-4", 99.0, "/min", "hr3", Corrected),
        observed(44, "8867-4", 0.0, "/min", "hr4", Deleted),
        observed(34, "2524-7", 9.0, "mmol/L", "one order", Corrected),
        observed(57, "8867-4", 70.0, "/min", "hr5", Corrected),
    ];
    (events, corrections)
}

proptest! {
    #[test]
    fn order_and_duplicates_do_not_matter(
        order in Just((0..126usize).collect::<Vec<_>>()).prop_shuffle(),
        duplicates in prop::collection::vec(0..126usize, 0..30),
    ) {
        let (events, corrections) = stay();
        prop_assert_eq!(events.len(), order.len());
        let plain = fold(events.iter().chain(&corrections));
        let shuffled = order.iter().chain(&duplicates).map(|i| &events[*i]);
        let late_duplicates = duplicates.iter().map(|i| &events[*i]);
        prop_assert!(plain == fold(shuffled.chain(&corrections).chain(&corrections).chain(late_duplicates)));
    }
}

#[test]
fn hours_begin_at_icu_admission_and_age_is_frozen_there() {
    let (events, corrections) = stay();
    let state = fold(events.iter().chain(&corrections));
    assert_eq!(state.start(), Some(Time(START + 20 * 60_000)));
    assert_eq!(state.hour(Time(START + 19 * 60_000)), Some(-1));
    assert_eq!(state.hour(Time(START + 80 * 60_000)), Some(1));
    assert_eq!((state.age_years(), state.name()), (Some(72), Some("B")));
    assert_eq!(state.location().map(|l| l.ward.as_str()), Some("MICU"));
}

#[test]
fn a_correction_of_what_was_measured_leaves_nothing_where_it_stood() {
    use ObservationStatus::{Corrected, Final};
    let wrong = observed(5, "8867-4", 18.0, "/min", "o1", Final);
    for (code, unit) in [("9279-1", "/min"), ("no column", "1")] {
        let mut state = fold([&wrong, &observed(5, "8867-4", 70.0, "/min", "o2", Final)]);
        let right = observed(6, code, 18.0, unit, "o1", Corrected);
        assert_eq!(state.apply(&right), Folded::Amended(wrong.at));
        // Also where the wrong one is told once more.
        state.apply(&wrong);
        let of = |column| state.newest_first(column).map(|(_, value)| value).collect::<Vec<_>>();
        assert_eq!(of(Column::Hr), [70.0]);
        assert_eq!(of(Column::Resp).len(), usize::from(code == "9279-1"));
    }
}

#[test]
fn a_final_result_behind_its_withdrawal_holds_and_its_late_original_does_not() {
    use ObservationStatus::{Cancelled, Corrected, Deleted, Final};
    let sent = |minute: i64, number: f64, status| {
        let mut event = observed(5, "2524-7", number, "mmol/L", "o1", status);
        let EventKind::Observed(observation) = &mut event.kind else { panic!() };
        observation.sent_at = Some(Time(START + minute * 60_000));
        event
    };
    let lactate = |events: &[&Event]| {
        let state = fold(events.iter().copied());
        state.newest_first(Column::Lactate).map(|(_, value)| value).collect::<Vec<_>>()
    };
    let (first, again) = (sent(10, 2.0, Final), sent(30, 4.0, Final));
    for withdrawal in [Deleted, Cancelled] {
        let wrong = sent(20, 0.0, withdrawal);
        assert_eq!(lactate(&[&first, &wrong, &again]), [4.0]);
        assert_eq!(lactate(&[&again, &wrong, &first]), [4.0]);
        assert_eq!(lactate(&[&again, &first, &wrong]), [4.0]);
        assert!(lactate(&[&wrong, &first]).is_empty());
        let better = sent(15, 3.0, Corrected);
        assert_eq!(lactate(&[&first, &better, &again]), [3.0]);
        assert_eq!(lactate(&[&first, &better, &again, &wrong]), [4.0]);
    }
}

#[test]
fn corrections_show_and_deletions_uncover() {
    let (events, corrections) = stay();
    let state = fold(events.iter().chain(&corrections));
    let heart_rates: Vec<_> = state.newest_first(Column::Hr).map(|(_, v)| v).collect();
    assert_eq!(heart_rates.len(), 80 - 1);
    assert!(heart_rates.contains(&99.0) && heart_rates.contains(&70.0));
    // 63 was corrected from "hr3", 65 moved away from "hr5"; "monitor2" and "monitor4" say the same and stay.
    assert_eq!([63.0, 64.0, 65.0].map(|v| heart_rates.iter().filter(|h| **h == v).count()), [1, 1, 1]);
    assert_eq!(state.last(Column::Lactate, Time(START + 34 * 60_000)).map(|l| l.1), Some(9.0));
}

#[test]
fn units_reach_the_columns_and_nonsense_is_set_aside() {
    use ObservationStatus::Final;
    let state = fold(&[
        observed(0, "8310-5", 98.6, "[degF]", "t", Final),
        observed(0, "3150-0", 40.0, "%", "f", Final),
        observed(1, "3150-0", 50.0, "", "f", Final),
        observed(0, "2160-0", 88.4, "umol/L", "c", Final),
        observed(0, "9279-1", 18.0, "breaths/min", "r", Final),
        observed(0, "8867-4", 7000.0, "/min", "h", Final),
        observed(1, "8867-4", 70.0, "furlong", "h", Final),
        observed(0, "8480-6", f64::NAN, "mm[Hg]", "s", Final),
    ]);
    let now = Time(START + 60_000);
    assert_eq!(state.last(Column::Temp, now).map(|v| v.1), Some(37.0));
    assert_eq!(state.last(Column::FiO2, now).map(|v| v.1), Some(0.5));
    assert_eq!(state.last(Column::FiO2, Time(START)).map(|v| v.1), Some(0.4));
    assert!(state.last(Column::Creatinine, now).is_some_and(|v| (v.1 - 1.0).abs() < 0.01));
    assert_eq!(state.last(Column::Resp, now).map(|v| v.1), Some(18.0));
    assert_eq!(state.last(Column::Hr, now), None);
}

#[test]
fn the_future_does_not_move_now_and_a_merge_brings_everything() {
    let mut state = fold(&[observed(0, "8867-4", 80.0, "/min", "a", ObservationStatus::Final)]);
    let tomorrow = observed(25 * 60, "8867-4", 90.0, "/min", "b", ObservationStatus::Final);
    assert_eq!(state.apply_received(&tomorrow, Time(START)), Folded::Future);
    assert_eq!(state.latest(), Some(Time(START)));
    assert_eq!(state.apply_received(&tomorrow, Time(START + Time::HOUR_MS)), Folded::Kept);

    let (events, corrections) = stay();
    let (left, right) = events.split_at(60);
    let mut survivor = fold(left);
    survivor.absorb(&fold(right.iter().chain(&corrections)));
    let whole = fold(events.iter().chain(&corrections));
    assert_eq!(survivor.start(), whole.start());
    assert_eq!(
        survivor.newest_first(Column::Hr).collect::<Vec<_>>(),
        whole.newest_first(Column::Hr).collect::<Vec<_>>()
    );
}

#[test]
fn a_checkpoint_gives_the_same_state_and_debug_shows_no_patient() {
    let (events, corrections) = stay();
    let state = fold(events.iter().chain(&corrections));
    let json = serde_json::to_string(&state).unwrap();
    let back: PatientState = serde_json::from_str(&json).unwrap();
    assert!(back == state);
    assert_eq!(format!("{state:?}"), "PatientState(redacted)");
}
