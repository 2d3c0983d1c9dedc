//! One patient's state.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::person::Demographics;
use super::series::{Point, Series, is_correction};
use super::stay::{Movements, Stay};
use super::value::{Reading, SetAside};
use super::{COLUMNS, Column};
use crate::{Event, EventKind, Location, Observation, ObservationStatus, Sex, Time};

/// Events of one patient, folded. Equal sets of events give equal states whatever their order and however often
/// they come, as long as corrections follow what they correct, no two observations share source and time, and no two
/// movements visit, kind and time: of those the later is another reading of the first, and stands in its place.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PatientState {
    demographics: Demographics,
    movements: Movements,
    /// One per column; shorter in a checkpoint of an older release.
    series: Vec<Series>,
    first_observed_at: Option<Time>,
    latest: Option<Time>,
}

impl fmt::Debug for PatientState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientState(redacted)")
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folded {
    /// The state knows it now.
    Kept,
    /// It does, and a value that was known from this time no longer holds: it was corrected or taken back.
    Amended(Time),
    /// Nothing in it concerns the state: an order, a code that is no column, a merge (see [`PatientState::absorb`]).
    Unused,
    /// More than 24 h after its receipt: not folded, because it would move "now".
    Future,
}

impl PatientState {
    const FUTURE_MS: i64 = 24 * Time::HOUR_MS;

    /// Folds one event of this patient. A merge only moves [`PatientState::latest`]: the caller holds both
    /// states and calls [`PatientState::absorb`].
    pub fn apply(&mut self, event: &Event) -> Folded {
        if let EventKind::Person(person) = &event.kind {
            // Whoever tells us a name says nothing of when the patient was last seen: a FHIR Patient carries no
            // such time.
            self.demographics.apply(event.at, person);
            return Folded::Kept;
        }
        self.latest = self.latest.max(Some(event.at));
        match &event.kind {
            EventKind::Encounter(encounter) => {
                self.movements.apply(event.at, event.visit.as_deref(), encounter);
            }
            EventKind::Observed(observation) => return self.apply_observation(event.at, observation),
            EventKind::Person(_) | EventKind::Ordered(_) | EventKind::Merged { .. } => return Folded::Unused,
        }
        Folded::Kept
    }

    /// Like [`PatientState::apply`], but leaves out what claims to happen more than 24 h after its receipt.
    pub fn apply_received(&mut self, event: &Event, received_at: Time) -> Folded {
        if event.at.0.saturating_sub(received_at.0) > Self::FUTURE_MS {
            return Folded::Future;
        }
        self.apply(event)
    }

    /// A40: takes over everything the other state knows.
    pub fn absorb(&mut self, other: &PatientState) {
        self.demographics.absorb(&other.demographics);
        self.movements.absorb(&other.movements);
        self.latest = self.latest.max(other.latest);
        self.first_observed_at = earlier(self.first_observed_at, other.first_observed_at);
        let start = self.start().unwrap_or_default();
        for (column, series) in COLUMNS.iter().zip(&other.series) {
            self.series_mut(*column).absorb(series, start);
        }
    }

    /// Folds a value that is already in the column's unit: what [`PatientState::apply`] does after reading one.
    pub fn observe(
        &mut self,
        column: Column,
        at: Time,
        source_id: &str,
        status: ObservationStatus,
        value: f64,
    ) {
        let value = if column.plausible(value) { Ok(value as f32) } else { Err(SetAside::Implausible) };
        self.put(column, Point::new(at, source_id, status, value), false);
    }

    pub fn name(&self) -> Option<&str> {
        self.demographics.name()
    }

    /// ISO 8601, to the precision sent.
    pub fn birth_date(&self) -> Option<&str> {
        self.demographics.birth_date()
    }

    pub fn sex(&self) -> Option<Sex> {
        self.demographics.sex()
    }

    pub fn died_at(&self) -> Option<Time> {
        self.demographics.died_at()
    }

    /// Completed years at [`PatientState::start`]; it does not grow during a stay.
    pub fn age_years(&self) -> Option<u8> {
        self.demographics.age_years(self.start()?)
    }

    pub fn stay(&self) -> &Stay {
        self.movements.stay()
    }

    pub fn location(&self) -> Option<&Location> {
        self.stay().location.as_ref()
    }

    /// Hour 0 begins here: ICU admission, else hospital admission, else the first observation.
    pub fn start(&self) -> Option<Time> {
        let stay = self.stay();
        stay.icu_admitted_at.or(stay.admitted_at).or(self.first_observed_at)
    }

    /// The row in which `at` lies: [h, h+1) hours since [`PatientState::start`].
    pub fn hour(&self, at: Time) -> Option<i64> {
        self.start().map(|start| at.hours_since(start))
    }

    /// The newest event time: this patient's "now".
    pub fn latest(&self) -> Option<Time> {
        self.latest
    }

    /// Newest value at or before `at`, with its time.
    pub fn last(&self, column: Column, at: Time) -> Option<(Time, f32)> {
        self.newest_first(column).find(|(observed_at, _)| *observed_at <= at)
    }

    /// All values of the column, newest first.
    pub fn newest_first(&self, column: Column) -> impl Iterator<Item = (Time, f32)> + '_ {
        self.series.get(column as usize).into_iter().flat_map(Series::newest_first)
    }

    fn apply_observation(&mut self, at: Time, observation: &Observation) -> Folded {
        let reading = observation.reading();
        let elsewhere = self.retire_elsewhere(reading.as_ref().map(|reading| reading.column), observation);
        let Some(Reading { column, value, .. }) = reading else {
            return elsewhere.map_or(Folded::Unused, Folded::Amended);
        };
        let Observation { source_id, status, is_version, sent_at, .. } = observation;
        let point = Point::new(at, source_id, *status, value).told_at(*sent_at);
        let here = self.put(column, point, *is_version);
        here.into_iter().chain(elsewhere).min().map_or(Folded::Kept, Folded::Amended)
    }

    /// What a correction says is wrong may be what was measured: a FHIR Observation keeps its id under another code.
    fn retire_elsewhere(&mut self, column: Option<Column>, corrected: &Observation) -> Option<Time> {
        if !is_correction(corrected.status) {
            return None;
        }
        let others = self.series.iter_mut().zip(COLUMNS).filter(|(_, other)| Some(**other) != column);
        others.filter_map(|(series, _)| series.retire_only_of(&corrected.source_id)).min()
    }

    fn put(&mut self, column: Column, point: Point, is_version: bool) -> Option<Time> {
        let at = point.at();
        self.latest = self.latest.max(Some(at));
        self.first_observed_at = earlier(self.first_observed_at, Some(at));
        let start = self.start().unwrap_or(at);
        self.series_mut(column).put(point, is_version, start)
    }

    fn series_mut(&mut self, column: Column) -> &mut Series {
        if self.series.len() < COLUMNS.len() {
            self.series.resize(COLUMNS.len(), Series::default());
        }
        &mut self.series[column as usize]
    }
}

fn earlier(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
