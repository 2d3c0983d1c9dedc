//! What a model sees of a stay when its 48th hour has closed: the row that the stream computes of that hour
//! ([`crate::features::NAMES`]), and behind it what is seen of the stay as a whole.

use std::sync::LazyLock;

use clinical::{Column, PatientState};

use super::parameter::Other;
use super::{HOURS, IcuType, Stay, saps};
use crate::Features;
use crate::bedside::Bedside;
use crate::dataset::Patient;
use crate::features::{self, Kind, View};

/// A quantity by the hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    Column(Column),
    Other(Other),
}

/// What the stream's row has nothing of.
const MORE: [Series; 9] = [
    Series::Column(Column::Gcs),
    Series::Column(Column::PaO2),
    Series::Column(Column::Urine),
    Series::Column(Column::Weight),
    Series::Other(Other::Albumin),
    Series::Other(Other::Alt),
    Series::Other(Other::Cholesterol),
    Series::Other(Other::Sodium),
    Series::Other(Other::TroponinT),
];
const MORE_KINDS: [Kind; 17] = [
    Kind::Last,
    Kind::AgeH,
    Kind::Count,
    Kind::Delta,
    Kind::MinStay,
    Kind::MaxStay,
    Kind::MeanStay,
    Kind::StdStay,
    Kind::Min6h,
    Kind::Max6h,
    Kind::Mean6h,
    Kind::Min12h,
    Kind::Max12h,
    Kind::Mean12h,
    Kind::Min24h,
    Kind::Max24h,
    Kind::Mean24h,
];

/// Laboratory values, of which the stream's row has no windows of a day.
const LABS: [Series; 17] = [
    Series::Column(Column::Hco3),
    Series::Column(Column::FiO2),
    Series::Column(Column::Ph),
    Series::Column(Column::PaCo2),
    Series::Column(Column::SaO2),
    Series::Column(Column::Ast),
    Series::Column(Column::Bun),
    Series::Column(Column::AlkalinePhos),
    Series::Column(Column::Creatinine),
    Series::Column(Column::Glucose),
    Series::Column(Column::Lactate),
    Series::Column(Column::Magnesium),
    Series::Column(Column::Potassium),
    Series::Column(Column::BilirubinTotal),
    Series::Column(Column::Hct),
    Series::Column(Column::Wbc),
    Series::Column(Column::Platelets),
];
const LAB_KINDS: [Kind; 4] = [Kind::StdStay, Kind::Min24h, Kind::Max24h, Kind::Mean24h];

/// Of no single series: name, UCUM unit, value.
type Whole = (&'static str, &'static str, fn(&Close) -> f32);

const WHOLE: [Whole; 20] = [
    ("Height", "cm", |close| close.stay.height_cm as f32),
    ("BMI", "kg/m2", |close| close.newest(Column::Weight) / (close.stay.height_cm as f32 / 100.0).powi(2)),
    ("icu_coronary", "1", |close| close.is(IcuType::Coronary)),
    ("icu_cardiac_surgery", "1", |close| close.is(IcuType::CardiacSurgery)),
    ("icu_medical", "1", |close| close.is(IcuType::Medical)),
    ("icu_surgical", "1", |close| close.is(IcuType::Surgical)),
    ("ventilated_hours", "h", |close| close.known(VENTILATED, 0..HOURS).len() as f32),
    ("ventilated_hours_12h", "h", |close| close.known(VENTILATED, HOURS - 12..HOURS).len() as f32),
    ("ventilated_age_h", "h", |close| close.view(VENTILATED).of(Kind::AgeH)),
    ("pf_ratio", "mm[Hg]", |close| close.newest(Column::PaO2) / close.newest(Column::FiO2)),
    ("pf_ratio_worst", "mm[Hg]", |close| {
        close.of(Column::PaO2, Kind::MinStay) / close.of(Column::FiO2, Kind::MaxStay)
    }),
    ("urine_48h", "mL", |close| close.urine(0..HOURS)),
    ("urine_day1", "mL", |close| close.urine(0..DAY)),
    ("urine_24h", "mL", |close| close.urine(DAY..HOURS)),
    ("urine_6h", "mL", |close| close.urine(HOURS - 6..HOURS)),
    ("urine_24h_per_kg", "mL/kg", |close| close.urine(DAY..HOURS) / close.newest(Column::Weight)),
    ("saps_parts_day1", "1", |close| close.saps(0..DAY)),
    ("saps_parts_day2", "1", |close| close.saps(DAY..HOURS)),
    ("saps_parts_both", "1", |close| close.saps(0..DAY) + close.saps(DAY..HOURS)),
    ("sofa", "1", |close| close.bedside(Bedside::Sofa)),
];
const VENTILATED: Series = Series::Other(Other::Ventilated);
const DAY: usize = 24;

const SECTIONS: [(&[Series], &[Kind]); 2] = [(&MORE, &MORE_KINDS), (&LABS, &LAB_KINDS)];

/// How many features a stay has; the first [`features::N`] are the stream's.
pub const N: usize = features::N + MORE.len() * MORE_KINDS.len() + LABS.len() * LAB_KINDS.len() + WHOLE.len();

/// (name, UCUM unit) of all of them; those of the stream have their units where a card has them from.
static NAMED: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let of = |(series, kind): (Series, Kind)| {
        (format!("{}{}", series.name(), kind.suffix()), kind.unit(series.unit()))
    };
    let stream = features::NAMES.iter().map(|name| ((*name).to_owned(), String::new()));
    let whole = WHOLE.iter().map(|(name, unit, _)| ((*name).to_owned(), (*unit).to_owned()));
    stream.chain(series_and_kinds().map(of)).chain(whole).collect()
});

/// The names of all features of a stay, in the order of [`Close::values`].
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    NAMED.iter().map(|(name, _)| name.as_str())
}

/// UCUM; `None` for what the stream has too, and beyond the list.
pub fn unit(index: usize) -> Option<&'static str> {
    NAMED.get(index).filter(|_| index >= features::N).map(|(_, unit)| unit.as_str())
}

fn series_and_kinds() -> impl Iterator<Item = (Series, Kind)> {
    let pairs = |(series, kinds): (&'static [Series], &'static [Kind])| {
        series.iter().flat_map(move |series| kinds.iter().map(move |kind| (*series, *kind)))
    };
    SECTIONS.into_iter().flat_map(pairs)
}

impl Series {
    fn name(self) -> &'static str {
        match self {
            Series::Column(column) => column.name(),
            Series::Other(other) => other.name(),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Series::Column(column) => column.unit(),
            Series::Other(other) => other.unit(),
        }
    }
}

/// What is known of a stay when its 48th hour has closed. Nothing of its outcome.
pub struct Close<'a> {
    pub stay: &'a Stay,
    pub state: PatientState,
    /// The stream's row of the hour.
    pub features: Features,
}

impl Stay {
    pub fn close(&self) -> Close<'_> {
        let mut state = self.patient.admitted();
        self.patient.rows.iter().for_each(|row| Patient::observe(&mut state, row));
        let features = Features::from_state_closed(&state, HOURS as i64 - 1);
        Close { stay: self, state, features }
    }
}

impl Close<'_> {
    /// As many as [`N`]; NaN = missing.
    pub fn values(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(N);
        values.extend_from_slice(&self.features.values);
        for (series, kinds) in SECTIONS {
            for series in series {
                let view = self.view(*series);
                values.extend(kinds.iter().map(|kind| view.of(*kind)));
            }
        }
        values.extend(WHOLE.iter().map(|(_, _, of)| of(self)));
        values
    }

    fn at(&self, series: Series, hour: usize) -> f32 {
        match series {
            Series::Column(column) => self.stay.patient.rows[hour].values[column as usize] as f32,
            Series::Other(other) => self.stay.others[other as usize][hour] as f32,
        }
    }

    fn view(&self, series: Series) -> View {
        let newest_first = (0..HOURS).rev().map(|hour| (hour as i64, self.at(series, hour)));
        View::over(newest_first.filter(|(_, value)| !value.is_nan()), HOURS as i64 - 1)
    }

    fn of(&self, column: Column, kind: Kind) -> f32 {
        self.view(Series::Column(column)).of(kind)
    }

    fn newest(&self, column: Column) -> f32 {
        self.of(column, Kind::Last)
    }

    fn known(&self, series: Series, hours: std::ops::Range<usize>) -> Vec<f32> {
        hours.map(|hour| self.at(series, hour)).filter(|value| !value.is_nan()).collect()
    }

    /// NaN where none was charted.
    fn urine(&self, hours: std::ops::Range<usize>) -> f32 {
        let charted = self.known(Series::Column(Column::Urine), hours);
        if charted.is_empty() { f32::NAN } else { charted.iter().sum() }
    }

    fn saps(&self, day: std::ops::Range<usize>) -> f32 {
        let ventilated = !self.known(VENTILATED, day.clone()).is_empty();
        let (age, urine) = (self.stay.patient.age as f32, self.urine(day.clone()));
        saps::parts(age, ventilated, urine, |series| self.known(series, day.clone()))
    }

    fn bedside(&self, score: Bedside) -> f32 {
        let at = self.stay.patient.rows.last().map(Patient::time_of);
        let score = at.and_then(|at| score.score(&self.state, at));
        score.map_or(f32::NAN, |score| f32::from(score.total))
    }

    fn is(&self, icu_type: IcuType) -> f32 {
        self.stay.icu_type.map_or(f32::NAN, |own| f32::from(u8::from(own == icu_type)))
    }
}
