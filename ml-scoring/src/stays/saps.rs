//! Parts of SAPS, the Simplified Acute Physiology Score (Le Gall et al., Crit Care Med 12:975-977, 1984): points for the
//! worst value of a day. What was not measured adds nothing.

use clinical::Column;

use super::features::Series;
use super::parameter::Other;

/// Points below a limit, by rising limits; what reaches the last has the points of the end.
struct Points {
    below: &'static [(f32, u8)],
    from_there: u8,
}

const MEASURES: [(Series, Points); 12] = [
    (
        Series::Column(Column::Hr),
        points(&[(40.0, 4), (55.0, 3), (70.0, 2), (110.0, 0), (140.0, 2), (180.0, 3)], 4),
    ),
    (Series::Column(Column::Sbp), points(&[(55.0, 4), (80.0, 2), (150.0, 0), (190.0, 2)], 4)),
    (
        Series::Column(Column::Temp),
        points(&[(30.0, 4), (32.0, 3), (34.0, 2), (36.0, 1), (38.5, 0), (39.0, 1), (41.0, 3)], 4),
    ),
    (
        Series::Column(Column::Resp),
        points(&[(6.0, 4), (10.0, 2), (12.0, 1), (25.0, 0), (35.0, 1), (50.0, 3)], 4),
    ),
    // Given for urea in mmol/L: 3.5, 7.5, 29, 36, 55.
    (Series::Column(Column::Bun), points(&[(10.0, 1), (21.0, 0), (81.0, 1), (101.0, 2), (154.0, 3)], 4)),
    (Series::Column(Column::Hct), points(&[(20.0, 4), (30.0, 2), (46.0, 0), (50.0, 1), (60.0, 2)], 4)),
    (Series::Column(Column::Wbc), points(&[(1.0, 4), (3.0, 2), (15.0, 0), (20.0, 1), (40.0, 2)], 4)),
    // Given in mmol/L: 1.6, 2.8, 3.9, 14, 27.8, 44.5.
    (
        Series::Column(Column::Glucose),
        points(&[(29.0, 4), (50.0, 3), (70.0, 2), (250.0, 0), (500.0, 1), (800.0, 3)], 4),
    ),
    (
        Series::Column(Column::Potassium),
        points(&[(2.5, 4), (3.0, 2), (3.5, 1), (5.5, 0), (6.0, 1), (7.0, 3)], 4),
    ),
    (
        Series::Other(Other::Sodium),
        points(&[(110.0, 4), (120.0, 3), (130.0, 2), (151.0, 0), (156.0, 1), (161.0, 2), (180.0, 3)], 4),
    ),
    (Series::Column(Column::Hco3), points(&[(5.0, 4), (10.0, 3), (20.0, 1), (30.0, 0), (40.0, 1)], 3)),
    (Series::Column(Column::Gcs), points(&[(4.0, 4), (7.0, 3), (10.0, 2), (13.0, 1)], 0)),
];
const AGE: Points = points(&[(46.0, 0), (56.0, 1), (66.0, 2), (76.0, 3)], 4);
/// mL in 24 h.
const URINE: Points = points(&[(200.0, 4), (500.0, 3), (700.0, 2), (3500.0, 0), (5000.0, 1)], 2);
/// Whatever the rate of breathing.
const VENTILATED: u8 = 3;

const fn points(below: &'static [(f32, u8)], from_there: u8) -> Points {
    Points { below, from_there }
}

impl Points {
    fn of(&self, value: f32) -> u8 {
        self.below.iter().find(|(limit, _)| value < *limit).map_or(self.from_there, |(_, points)| *points)
    }
}

/// `day` gives a measure's values in the day; NaN = nothing is known.
pub(super) fn parts(age: f32, ventilated: bool, urine_ml: f32, day: impl Fn(Series) -> Vec<f32>) -> f32 {
    let mut known = Vec::new();
    for (series, points) in &MEASURES {
        let worst = day(*series).into_iter().map(|value| points.of(value)).max();
        known.extend(match *series {
            Series::Column(Column::Resp) if ventilated => Some(VENTILATED),
            _ => worst,
        });
    }
    known.extend((!urine_ml.is_nan()).then(|| URINE.of(urine_ml)));
    known.extend((!age.is_nan()).then(|| AGE.of(age)));
    if known.is_empty() { f32::NAN } else { known.into_iter().map(f32::from).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(series: Series, values: &[f32]) -> f32 {
        parts(f32::NAN, false, f32::NAN, |asked| if asked == series { values.to_vec() } else { Vec::new() })
    }

    #[test]
    fn the_worst_value_of_the_day_counts_at_every_limit() {
        for (series, points) in &MEASURES {
            let mut expected = points.from_there;
            for (limit, below) in points.below.iter().rev() {
                assert_eq!(only(*series, &[*limit]), f32::from(expected), "{series:?} at {limit}");
                assert_eq!(only(*series, &[limit - 0.01]), f32::from(*below), "{series:?} below {limit}");
                expected = *below;
            }
        }
        assert_eq!(only(Series::Column(Column::Hr), &[80.0, 150.0, 60.0]), 3.0);
    }

    #[test]
    fn what_is_not_known_adds_nothing_and_nothing_known_is_missing() {
        let nothing = |_| Vec::new();
        assert!(parts(f32::NAN, false, f32::NAN, nothing).is_nan());
        assert_eq!(parts(80.0, false, f32::NAN, nothing), 4.0);
        assert_eq!(parts(45.9, true, 150.0, nothing), 3.0 + 4.0);
        assert_eq!(
            parts(f32::NAN, true, f32::NAN, |series| match series {
                Series::Column(Column::Resp) => vec![60.0],
                _ => Vec::new(),
            }),
            3.0,
            "on a ventilator the rate says nothing"
        );
    }
}
