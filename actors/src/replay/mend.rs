//! What must be folded beside a later reading so that nothing of the former one stays: the state only ever adds, and
//! takes an observation back where somebody says so.

use std::collections::BTreeSet;

use clinical::{Column, Event, EventKind, Observation, ObservationStatus, PatientId, Time, Value};

/// Where the state keeps an observation.
type Slot = (PatientId, Column, String, Time);

/// `taken_back`: what earlier readings of the same message have mended already.
pub(super) fn mends(taken_back: &[Event], before: &[Event], after: &[Event]) -> Vec<Event> {
    let filled: BTreeSet<Slot> = after.iter().filter_map(slot).collect();
    let emptied: BTreeSet<Slot> =
        taken_back.iter().filter(|event| is_taken_back(event)).filter_map(slot).collect();
    let mut mends = Vec::new();
    // What stood before as well is left alone: its sender may have corrected it since.
    for event in after.iter().filter(|event| !before.contains(event)) {
        // A final value does not stand against what was taken back there before; a corrected one does.
        if slot(event).is_some_and(|slot| emptied.contains(&slot))
            && let EventKind::Observed(seen) = &event.kind
            && matches!(seen.status, ObservationStatus::Preliminary | ObservationStatus::Final)
        {
            let status = ObservationStatus::Corrected;
            let kind = EventKind::Observed(Observation { status, ..seen.clone() });
            mends.push(Event { kind, ..event.clone() });
        }
    }
    let mut told = BTreeSet::new();
    for event in before.iter().filter(|event| !is_taken_back(event)) {
        let Some(slot) = slot(event).filter(|slot| !filled.contains(slot)) else { continue };
        if let EventKind::Observed(seen) = &event.kind
            && told.insert(slot)
        {
            let (status, value) = (ObservationStatus::Deleted, Value::Absent);
            let kind = EventKind::Observed(Observation { status, value, ..seen.clone() });
            mends.push(Event { kind, ..event.clone() });
        }
    }
    mends
}

fn slot(event: &Event) -> Option<Slot> {
    let EventKind::Observed(seen) = &event.kind else { return None };
    Some((event.patient.clone(), Column::from_code(&seen.code)?, seen.source_id.clone(), event.at))
}

fn is_taken_back(event: &Event) -> bool {
    let EventKind::Observed(seen) = &event.kind else { return false };
    matches!(seen.status, ObservationStatus::Deleted | ObservationStatus::Cancelled)
}

#[cfg(test)]
mod tests;
