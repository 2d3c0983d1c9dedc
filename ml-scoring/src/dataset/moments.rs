//! When a site hears what of a patient, and scores: the set knows hours and no minutes, so here they are decided, for the
//! messages that `medulla model replay` writes and for the alerts that evaluation counts.

use clinical::{COLUMNS, COLUMNS_2019, Column, ObservationStatus, PatientState, Time};

use super::{Patient, Row};

/// Who measures. Of what one source measured in an hour there is one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Monitor,
    Laboratory,
}

/// The set's first columns are vital signs.
const VITAL_SIGNS: usize = 8;

/// Of hours in a row that the set is silent about, the first ones tick: a week, and a slip in a file costs no more.
const SILENT_TICKS_MAX: usize = 7 * 24;

impl Source {
    pub const ALL: [Source; 2] = [Source::Monitor, Source::Laboratory];

    pub fn columns(self) -> &'static [Column] {
        match self {
            Source::Monitor => &COLUMNS[..VITAL_SIGNS],
            Source::Laboratory => &COLUMNS[VITAL_SIGNS..COLUMNS_2019],
        }
    }

    /// When it measures what the row holds.
    pub fn time_in(self, row: &Row) -> Time {
        let minute = match self {
            Source::Monitor => 15,
            Source::Laboratory => 40,
        };
        Time(Patient::hour_start(row).0 + minute * 60_000)
    }

    /// What it measured in the row's hour.
    pub fn values_in(self, row: &Row) -> impl Iterator<Item = (Column, f64)> {
        let values = self.columns().iter().map(|column| (*column, row.values[*column as usize]));
        values.filter(|(_, value)| !value.is_nan())
    }
}

/// What has a site score the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    Admission,
    Message(Source),
    /// The site's clock, at each full hour.
    Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Place of the row whose hour it is, or of the next one where that hour has none: no row says what was true then.
    pub row: usize,
    pub at: Time,
    pub hears: Hears,
}

impl Patient {
    /// In the order of time, from the admission to the last row's last message.
    pub fn moments(&self) -> Vec<Moment> {
        let mut all = vec![Moment { row: 0, at: Patient::ADMITTED, hears: Hears::Admission }];
        let mut ticked_h = 0;
        for (place, row) in self.rows.iter().enumerate() {
            let moment = |at, hears| Moment { row: place, at, hears };
            let opened_h = row.iculos.saturating_sub(1);
            let tick = |hour: u32| Time(Patient::ADMITTED.0 + i64::from(hour) * Time::HOUR_MS);
            let silent = (ticked_h + 1..opened_h).take(SILENT_TICKS_MAX);
            let own = (opened_h > ticked_h).then_some(opened_h);
            all.extend(silent.chain(own).map(|hour| moment(tick(hour), Hears::Tick)));
            ticked_h = opened_h;
            let measures = Source::ALL.into_iter().filter(|source| source.values_in(row).next().is_some());
            all.extend(measures.map(|source| moment(source.time_in(row), Hears::Message(source))));
        }
        all
    }

    /// Visits every moment with the state that is known then.
    pub fn for_each_moment(&self, mut visit: impl FnMut(&Moment, &PatientState)) {
        let mut state = self.admitted();
        for moment in self.moments() {
            if let (Hears::Message(source), Some(row)) = (moment.hears, self.rows.get(moment.row)) {
                for (column, value) in source.values_in(row) {
                    state.observe(column, moment.at, "", ObservationStatus::Final, value);
                }
            }
            visit(&moment, &state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Features;

    fn patient() -> Patient {
        let row = |iculos: u32, vital: f64, lab: f64| {
            let mut values = Row::EMPTY;
            (values[Column::Hr as usize], values[Column::Lactate as usize]) = (vital, lab);
            Row { values, iculos, label: false, line: 0 }
        };
        let none = f64::NAN;
        let rows = vec![row(1, 80.0, none), row(2, 90.0, 2.0), row(3, none, none), row(6, none, 4.0)];
        Patient { pid: "p1".into(), age: 50.0, rows, ..Patient::default() }
    }

    #[test]
    fn hours_tick_before_what_they_bring() {
        use Hears::{Admission, Message, Tick};
        let minute = |moment: &Moment| (moment.at.0 - Patient::ADMITTED.0) / 60_000;
        let told: Vec<_> = patient().moments().iter().map(|m| (m.row, minute(m), m.hears)).collect();
        let expected = [
            (0, 0, Admission),
            (0, 15, Message(Source::Monitor)),
            (1, 60, Tick),
            (1, 75, Message(Source::Monitor)),
            (1, 100, Message(Source::Laboratory)),
            (2, 120, Tick),
            (3, 180, Tick),
            (3, 240, Tick),
            (3, 300, Tick),
            (3, 340, Message(Source::Laboratory)),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_long_silence_is_bounded() {
        let mut patient = patient();
        patient.rows[3].iculos = 100_000;
        let moments = patient.moments();
        let ticks: Vec<_> = moments.iter().filter(|m| m.row == 3 && m.hears == Hears::Tick).collect();
        assert_eq!(ticks.len(), SILENT_TICKS_MAX + 1);
        assert_eq!(ticks.last().map(|tick| tick.at), Some(Patient::hour_start(&patient.rows[3])), "its own");
    }

    #[test]
    fn what_is_known_after_an_hour_s_last_message_is_its_row() {
        let patient = patient();
        let rows = patient.features();
        let mut last = vec![None; rows.len()];
        patient.for_each_moment(|moment, state| {
            last[moment.row] = Some(Features::from_state(state, moment.at));
        });
        let bits = |features: &Features| features.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        for (told, row) in last.iter().zip(&rows) {
            assert_eq!(told.as_ref().map(bits), Some(bits(row)));
        }
    }
}
