//! What a model sees of a patient at one hour. Training and the stream compute it here and nowhere else.

mod column;
mod names;
mod scores;
mod words;

use clinical::{COLUMNS, COLUMNS_2019, Column, PatientState, Sex, Time};

pub use names::{Group, Kind, Meaning, N, NAMES, Other, group, index_of, index_of_other, meaning};
pub use words::{words, words_of_value};

use crate::bedside::{news2, points_or_nan};
pub(crate) use column::View;
use names::{LABS, SECTIONS, Section, TRACKED, VITALS};
pub(crate) use names::{beyond, index_of_column};

/// Ages above it are one age: the 2019 set, and privacy rules, do not tell them apart.
const AGE_MAX: u8 = 90;

/// The group of a feature with what the row `values` has of it. What is missing says nothing of the body, it says that nobody
/// measured it; but of a sign that was measured and never beyond its limit it is the body that says so.
pub fn group_in(index: usize, values: &[f32]) -> Option<Group> {
    let value = *values.get(index)?;
    let sign = match meaning(index)? {
        Meaning::Other(other) => beyond(other).map(|(column, _)| column),
        Meaning::Of(..) => None,
    };
    let measured = sign.map_or(!value.is_nan(), |column| is_measured(column, values));
    if measured { group(index) } else { Some(Group::CareProcess) }
}

/// Whether the row's stay has any value of the column.
fn is_measured(column: Column, values: &[f32]) -> bool {
    let count = index_of_column(column, Kind::Count).and_then(|count| values.get(count));
    count.is_some_and(|count| *count > 0.0)
}

/// One row: as many values as [`NAMES`], in that order, NaN = missing.
#[derive(Clone, PartialEq)]
pub struct Features {
    pub values: Vec<f32>,
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Features(redacted)")
    }
}

impl Features {
    /// The row of the open hour at `at`: everything the state holds of that hour and of those before it.
    pub fn from_state(state: &PatientState, at: Time) -> Features {
        match state.hour(at) {
            Some(hour) => Features::from_state_closed(state, hour),
            None => Features { values: vec![f32::NAN; N] },
        }
    }

    /// Whether a model may speak: at least two of heart rate, blood pressure, respiratory rate and oxygen saturation
    /// measured within the last 12 rows. Otherwise the answer is `insufficient data`.
    pub fn sufficient(&self) -> bool {
        const SIGNS: [&[Column]; 4] =
            [&[Column::Hr], &[Column::Sbp, Column::Map], &[Column::Resp], &[Column::O2Sat]];
        let recent = |column: &Column| {
            let place = index_of_column(*column, Kind::AgeH);
            place.and_then(|i| self.values.get(i)).is_some_and(|age_h| *age_h < 12.0)
        };
        SIGNS.iter().filter(|columns| columns.iter().any(recent)).count() >= 2
    }

    /// The row of hour `hour` since [`PatientState::start`]. Nothing after the hour is seen.
    pub fn from_state_closed(state: &PatientState, hour: i64) -> Features {
        let Some(start) = state.start() else { return Features { values: vec![f32::NAN; N] } };
        let row = Row { state, start, hour, views: views(state, start, hour) };
        let mut values = Vec::with_capacity(N);
        for section in SECTIONS {
            match section {
                Section::Columns(columns, kinds) => {
                    for column in columns {
                        let view = row.view(*column);
                        values.extend(kinds.iter().map(|kind| view.of(*kind)));
                    }
                }
                Section::Others(others) => values.resize(values.len() + others.len(), f32::NAN),
            }
        }
        row.put_others(&mut values);
        Features { values }
    }
}

fn views(state: &PatientState, start: Time, hour: i64) -> [View; COLUMNS_2019] {
    std::array::from_fn(|i| View::new(state, COLUMNS[i], start, hour))
}

struct Row<'a> {
    state: &'a PatientState,
    start: Time,
    hour: i64,
    views: [View; COLUMNS_2019],
}

impl Row<'_> {
    fn view(&self, column: Column) -> &View {
        &self.views[column as usize]
    }

    fn last(&self, column: Column) -> f32 {
        self.view(column).last
    }

    fn put_others(&self, values: &mut [f32]) {
        let mut put = |other: Other, value: f32| values[index_of_other(other)] = value;
        self.demographics(&mut put);
        self.ratios(&mut put);
        self.scores(&mut put);
        self.hours(&mut put);
        self.care_process(&mut put);
        self.more_ratios(&mut put);
        self.half_day(&mut put);
        self.more_care_process(&mut put);
        self.draws(&mut put);
        self.beyond_limits(&mut put);
    }

    fn demographics(&self, put: &mut impl FnMut(Other, f32)) {
        let missing = f32::NAN;
        put(Other::AgeYears, self.state.age_years().map_or(missing, |age| f32::from(age.min(AGE_MAX))));
        put(
            Other::Male,
            match self.state.sex() {
                Some(Sex::Male) => 1.0,
                Some(Sex::Female) => 0.0,
                _ => missing,
            },
        );
        put(Other::Iculos, (self.hour + 1) as f32);
        let admitted_at = self.state.stay().admitted_at.map(|at| at.0.saturating_sub(self.start.0));
        put(Other::HospAdmTime, admitted_at.map_or(missing, |ms| (ms as f64 / Time::HOUR_MS as f64) as f32));
        put(
            Other::MedicalUnit,
            self.state.location().map_or(missing, |location| medical_unit(&location.ward)),
        );
    }

    fn ratios(&self, put: &mut impl FnMut(Other, f32)) {
        let (hr, sbp, dbp) = (self.last(Column::Hr), self.last(Column::Sbp), self.last(Column::Dbp));
        let age = self.state.age_years().map_or(f32::NAN, |age| f32::from(age.min(AGE_MAX)));
        put(Other::ShockIndex, hr / sbp);
        put(Other::AgeShockIndex, age * hr / sbp);
        put(Other::PulsePressure, sbp - dbp);
        put(Other::SfRatio, self.sf_ratio());
        put(Other::BunCreatinine, self.last(Column::Bun) / self.last(Column::Creatinine));
        let creatinine = self.view(Column::Creatinine);
        put(Other::CreatinineOverMin, creatinine.last / creatinine.min);
        let platelets = self.view(Column::Platelets);
        put(Other::PlateletsOverMax, platelets.last / platelets.max);
        for (other, column) in [
            (Other::HrOverStayMean, Column::Hr),
            (Other::MapOverStayMean, Column::Map),
            (Other::TempOverStayMean, Column::Temp),
            (Other::RespOverStayMean, Column::Resp),
        ] {
            put(other, self.last(column) - self.view(column).mean());
        }
    }

    fn sf_ratio(&self) -> f32 {
        self.last(Column::O2Sat) / self.last(Column::FiO2)
    }

    fn scores(&self, put: &mut impl FnMut(Other, f32)) {
        let sofa = self.sofa(0);
        let parts = [
            Other::SofaRespiration,
            Other::SofaCoagulation,
            Other::SofaLiver,
            Other::SofaCirculation,
            Other::SofaRenal,
        ];
        parts.iter().zip(sofa).for_each(|(other, points)| put(*other, points));
        put(Other::SofaParts, scores::known_sum(&sofa));
        put(Other::Sirs, self.sirs(0));
        put(Other::QsofaParts, self.qsofa(0));
        let (temp, hr, resp) = (self.last(Column::Temp), self.last(Column::Hr), self.last(Column::Resp));
        let sbp = self.last(Column::Sbp);
        put(
            Other::NewsParts,
            scores::known_sum(&[
                points_or_nan(resp, news2::respiration_points),
                points_or_nan(self.last(Column::O2Sat), news2::saturation_points),
                points_or_nan(sbp, news2::systolic_points),
                points_or_nan(hr, news2::pulse_points),
                points_or_nan(temp, news2::temperature_points),
            ]),
        );
    }

    /// Parts of SOFA from what was known `ago` rows ago.
    fn sofa(&self, ago: usize) -> [f32; 5] {
        let known = |column| self.view(column).known(ago);
        scores::sofa(
            known(Column::O2Sat) / known(Column::FiO2),
            known(Column::Platelets),
            known(Column::BilirubinTotal),
            known(Column::Map),
            known(Column::Creatinine),
        )
    }

    fn sirs(&self, ago: usize) -> f32 {
        let known = |column| self.view(column).known(ago);
        let (temp, hr, resp) = (known(Column::Temp), known(Column::Hr), known(Column::Resp));
        scores::sirs(temp, hr, resp, known(Column::PaCo2), known(Column::Wbc))
    }

    fn qsofa(&self, ago: usize) -> f32 {
        scores::qsofa(self.view(Column::Resp).known(ago), self.view(Column::Sbp).known(ago))
    }

    /// `of` at the scored row and the rows before it, at most `rows` in all; none before the stay.
    fn recent(&self, rows: usize, of: impl Fn(usize) -> f32) -> impl Iterator<Item = f32> {
        let rows = rows.min(usize::try_from(self.hour + 1).unwrap_or(0));
        (0..rows).map(of)
    }

    fn half_day(&self, put: &mut impl FnMut(Other, f32)) {
        // A row of which nothing is known counts as one without points.
        let mean = |points: &[f32]| {
            let known: f32 = points.iter().filter(|p| !p.is_nan()).sum();
            if points.is_empty() { f32::NAN } else { known / points.len() as f32 }
        };
        let sirs: Vec<f32> = self.recent(12, |ago| self.sirs(ago)).collect();
        put(Other::SirsMean12h, mean(&sirs));
        put(Other::SirsMax12h, sirs.iter().copied().fold(f32::NAN, f32::max));
        let qsofa: Vec<f32> = self.recent(12, |ago| self.qsofa(ago)).collect();
        put(Other::QsofaMean12h, mean(&qsofa));
        let shock_index = |ago| self.view(Column::Hr).known(ago) / self.view(Column::Sbp).known(ago);
        put(Other::ShockIndexMax12h, self.recent(12, shock_index).fold(f32::NAN, f32::max));
        let sofa = |ago| scores::known_sum(&self.sofa(ago));
        put(Other::SofaOverMin24h, sofa(0) - self.recent(24, sofa).fold(f32::NAN, f32::min));
    }

    fn more_ratios(&self, put: &mut impl FnMut(Other, f32)) {
        let last = |column| self.last(column);
        put(Other::WbcPlatelets, last(Column::Wbc) / last(Column::Platelets));
        put(Other::MapShockIndex, last(Column::Hr) / last(Column::Map));
        put(Other::HctHgb, last(Column::Hct) / last(Column::Hgb));
        let (sbp, dbp) = (last(Column::Sbp), last(Column::Dbp));
        put(Other::PulsePressureShare, (sbp - dbp) / sbp);
        put(Other::Rox, self.sf_ratio() / last(Column::Resp));
        put(Other::ChlorideBicarbonate, last(Column::Chloride) + last(Column::Hco3));
        // Both can be 0, which says nothing.
        let share = last(Column::BilirubinDirect) / last(Column::BilirubinTotal);
        put(Other::BilirubinDirectShare, if share.is_finite() { share } else { f32::NAN });
    }

    fn hours(&self, put: &mut impl FnMut(Other, f32)) {
        put(Other::HypotensionHours12h, self.view(Column::Map).hours_12h(|map| map < 65.0));
        put(Other::FeverHours12h, self.view(Column::Temp).hours_12h(|temp| temp > 38.0));
        put(Other::TachycardiaHours12h, self.view(Column::Hr).hours_12h(|hr| hr > 90.0));
        put(Other::TachypnoeaHours12h, self.view(Column::Resp).hours_12h(|resp| resp > 20.0));
    }

    fn care_process(&self, put: &mut impl FnMut(Other, f32)) {
        let sum = |columns: &[Column], count: fn(&View) -> u32| {
            columns.iter().map(|column| count(self.view(*column))).sum::<u32>() as f32
        };
        let labs = || TRACKED.iter().chain(LABS).map(|column| self.view(*column));
        put(Other::Vitals6h, sum(VITALS, |v| v.measured_6h));
        put(Other::Labs6h, sum(TRACKED, |v| v.measured_6h) + sum(LABS, |v| v.measured_6h));
        put(Other::Labs24h, sum(TRACKED, |v| v.measured_24h) + sum(LABS, |v| v.measured_24h));
        put(Other::LabAgeH, labs().map(|v| v.age_h).fold(f32::NAN, f32::min));
        put(Other::LabColumns, labs().filter(|v| v.count > 0).count() as f32);
    }

    fn more_care_process(&self, put: &mut impl FnMut(Other, f32)) {
        let admitted_at = self.state.stay().admitted_at.map(|at| at.0.saturating_sub(self.start.0));
        let before_h = admitted_at.map_or(f32::NAN, |ms| (ms as f64 / Time::HOUR_MS as f64) as f32);
        let rows = (self.hour + 1) as f32;
        put(Other::HoursInHospital, rows - before_h);
        let labs = || TRACKED.iter().chain(LABS).map(|column| self.view(*column));
        let sum = |of: fn(&View) -> u32| labs().map(of).sum::<u32>() as f32;
        put(Other::LabsRising6h, sum(|v| v.measured_6h) - sum(|v| v.measured_24h) / 4.0);
        put(Other::LabColumns24h, labs().filter(|v| v.measured_24h > 0).count() as f32);
        put(Other::LabsRate, sum(|v| v.count) / rows);
        let vitals: u32 = VITALS.iter().map(|column| self.view(*column).count).sum();
        put(Other::VitalsRate, vitals as f32 / rows);
    }

    /// Of what is drawn from the patient for the laboratory; what a ventilator says is charted without.
    fn draws(&self, put: &mut impl FnMut(Other, f32)) {
        let drawn = || {
            let columns = TRACKED.iter().chain(LABS);
            columns.filter(|c| !matches!(c, Column::FiO2 | Column::EtCo2)).map(|c| self.view(*c))
        };
        let sum = |of: fn(&View) -> u32| drawn().map(of).sum::<u32>() as f32;
        let new =
            |within: fn(&View) -> u32| drawn().filter(|v| v.count > 0 && v.count == within(v)).count() as f32;
        put(Other::NewLabs6h, new(|v| v.measured_6h));
        put(Other::NewLabs24h, new(|v| v.measured_24h));
        put(Other::Labs3h, sum(|v| v.measured_3h));
        put(Other::LabRows24h, (0..24).filter(|ago| drawn().any(|v| v.measured(*ago))).count() as f32);
        put(Other::LabsDayBefore, sum(|v| v.measured_48h - v.measured_24h));
        let newest = drawn().map(|v| v.age_h).fold(f32::NAN, f32::min);
        let of_newest = drawn().filter(|v| v.age_h == newest).count() as f32;
        put(Other::LabsLastDraw, if newest.is_nan() { f32::NAN } else { of_newest });
        // In the first hours of the second day the six of the day before are not all of the stay.
        let over = sum(|v| v.measured_6h) - sum(|v| v.measured_6h_day_before);
        put(Other::Labs6hOverDayBefore, if self.hour < 24 { f32::NAN } else { over });
    }

    /// How long ago, and in how many rows of the stay, a sign was beyond a limit.
    fn beyond_limits(&self, put: &mut impl FnMut(Other, f32)) {
        let values = |column| {
            let newest_first = self.state.newest_first(column);
            column::rows(newest_first.map(|(at, value)| (at.hours_since(self.start), value)), self.hour)
        };
        let age = |column, beyond: fn(f32) -> bool| {
            values(column).find(|(_, value)| beyond(*value)).map_or(f32::NAN, |(age, _)| age as f32)
        };
        put(Other::HypotensionAgeH, age(Column::Map, |map| map < 65.0));
        put(Other::LowSystolicAgeH, age(Column::Sbp, |sbp| sbp < 100.0));
        put(Other::FeverAgeH, age(Column::Temp, |temp| temp > 38.0));
        put(Other::ColdAgeH, age(Column::Temp, |temp| temp < 36.0));
        put(Other::TachycardiaAgeH, age(Column::Hr, |hr| hr > 100.0));
        let rows = |column, beyond: fn(f32) -> bool| {
            values(column).filter(|(_, value)| beyond(*value)).count() as f32
        };
        put(Other::HypotensionHours, rows(Column::Map, |map| map < 65.0));
        put(Other::FeverHours, rows(Column::Temp, |temp| temp > 38.0));
        put(Other::TachycardiaHours, rows(Column::Hr, |hr| hr > 100.0));
        put(Other::TachypnoeaHours, rows(Column::Resp, |resp| resp > 22.0));
        put(Other::DesaturationHours, rows(Column::O2Sat, |o2sat| o2sat < 92.0));
    }
}

/// 1 = medical, 0 = surgical, NaN = the ward's name does not tell: the 2019 set's Unit1 and Unit2.
fn medical_unit(ward: &str) -> f32 {
    let ward = ward.to_ascii_uppercase();
    if ward.contains("MICU") || ward.contains("MEDICAL") {
        1.0
    } else if ward.contains("SICU") || ward.contains("SURG") {
        0.0
    } else {
        f32::NAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Patient, Row};

    /// 27 rows; the values by row and column.
    fn features(observed: &[(usize, Column, f64)]) -> Vec<Features> {
        let row = |i: usize| {
            let mut row = Row { values: Row::EMPTY, iculos: i as u32 + 1, label: false, line: 0 };
            observed.iter().filter(|(at, ..)| *at == i).for_each(|(_, column, value)| {
                row.values[*column as usize] = *value;
            });
            row
        };
        Patient { rows: (0..27).map(row).collect(), ..Patient::default() }.features()
    }

    fn value(features: &Features, other: Other) -> f32 {
        features.values[index_of_other(other)]
    }

    #[test]
    fn draws_are_counted_without_what_a_ventilator_says() {
        let all = features(&[
            (0, Column::Bun, 20.0),
            (0, Column::Wbc, 9.0),
            (20, Column::Bun, 21.0),
            (25, Column::Bun, 22.0),
            (25, Column::Lactate, 2.0),
            (26, Column::FiO2, 0.4),
            (26, Column::EtCo2, 35.0),
        ]);
        let at = |row: usize, other| value(&all[row], other);
        let of_the_last = [
            (Other::NewLabs6h, 1.0),
            (Other::NewLabs24h, 1.0),
            (Other::Labs3h, 2.0),
            (Other::LabRows24h, 2.0),
            (Other::LabsDayBefore, 2.0),
            (Other::LabsLastDraw, 2.0),
            // BUN and lactate of row 25 against BUN and white cells of row 0.
            (Other::Labs6hOverDayBefore, 0.0),
        ];
        for (other, expected) in of_the_last {
            assert_eq!(at(26, other), expected, "{other:?}");
        }
        assert_eq!((at(5, Other::NewLabs6h), at(6, Other::NewLabs6h)), (2.0, 0.0));
        assert_eq!((at(24, Other::LabsLastDraw), at(24, Other::Labs6hOverDayBefore)), (1.0, -1.0));
        assert!(at(23, Other::Labs6hOverDayBefore).is_nan(), "there was no day before");
        let none = features(&[(3, Column::Hr, 80.0)]);
        assert!(value(&none[26], Other::LabsLastDraw).is_nan());
        assert_eq!(value(&none[26], Other::LabsDayBefore), 0.0);
    }

    #[test]
    fn what_was_beyond_a_limit_is_remembered_for_the_stay() {
        let all = features(&[
            (0, Column::Hr, 101.0),
            (1, Column::Hr, 100.0),
            (0, Column::Temp, 38.1),
            (2, Column::Temp, 35.9),
            (4, Column::Temp, 38.0),
            (3, Column::Map, 64.0),
            (5, Column::Map, 60.0),
            (6, Column::Map, 65.0),
            (5, Column::Resp, 22.0),
            (6, Column::Resp, 23.0),
            (7, Column::O2Sat, 91.0),
            (8, Column::O2Sat, 92.0),
            (7, Column::Sbp, 99.0),
            (8, Column::Sbp, 100.0),
        ]);
        let at = |row: usize, other| value(&all[row], other);
        assert!(at(2, Other::HypotensionAgeH).is_nan() && at(6, Other::LowSystolicAgeH).is_nan());
        assert_eq!(at(26, Other::LowSystolicAgeH), 19.0);
        assert_eq!((at(3, Other::HypotensionAgeH), at(4, Other::HypotensionAgeH)), (0.0, 1.0));
        assert_eq!((at(26, Other::HypotensionAgeH), at(26, Other::HypotensionHours)), (21.0, 2.0));
        assert_eq!((at(26, Other::FeverAgeH), at(26, Other::FeverHours)), (26.0, 1.0));
        assert_eq!((at(26, Other::ColdAgeH), at(26, Other::TachycardiaAgeH)), (24.0, 26.0));
        assert_eq!((at(26, Other::TachycardiaHours), at(26, Other::TachypnoeaHours)), (1.0, 1.0));
        assert_eq!((at(6, Other::DesaturationHours), at(26, Other::DesaturationHours)), (0.0, 1.0));
    }

    #[test]
    fn a_sign_that_was_never_beyond_its_limit_is_physiology_and_one_not_measured_is_care() {
        let rows = features(&[(0, Column::Temp, 37.0)]);
        let said = |other: Other| {
            let index = index_of_other(other);
            (group_in(index, &rows[3].values).unwrap(), words(index, &rows[3].values))
        };
        assert_eq!(
            said(Other::FeverAgeH),
            (Group::Physiology, "temperature above 38 in no hour of the stay".into())
        );
        assert_eq!(
            said(Other::FeverHours),
            (Group::Physiology, "temperature above 38 in no hour of the stay".into())
        );
        for other in [Other::HypotensionAgeH, Other::HypotensionHours] {
            assert_eq!(said(other), (Group::CareProcess, "mean arterial pressure not measured".into()));
        }
        let rows = features(&[(0, Column::Temp, 38.5), (1, Column::Temp, 38.5)]);
        let age = |row: usize| words(index_of_other(Other::FeverAgeH), &rows[row].values);
        assert_eq!(age(1), "temperature above 38 within the hour");
        assert_eq!(age(3), "temperature above 38 last 2 h ago");
        assert_eq!(
            words(index_of_other(Other::FeverHours), &rows[3].values),
            "temperature above 38 in 2 h of the stay"
        );
    }
}
