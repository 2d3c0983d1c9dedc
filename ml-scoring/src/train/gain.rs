//! What an alarm in one row adds to the official utility of the 2019 challenge, compared with silence.
//!
//! The utility is a sum over rows, so the sign of the gain is the label and its size the weight of a loss that follows
//! the utility, and the normalised utility of any alarms is Σ gain of the alarm rows / Σ of the positive gains.

/// `first_label` is the first row whose label is 1, `None` for a patient without sepsis. Rows count from 0.
pub fn gain(first_label: Option<usize>, row: usize) -> f64 {
    let Some(first_label) = first_label else { return -0.05 };
    // The label leads the onset by 6 h.
    let d = row as f64 - (first_label as f64 + 6.0);
    if d <= -6.0 {
        (d / 6.0 + 2.0).max(-0.05)
    } else if d <= 3.0 {
        let (alarm, silence) = (-d / 9.0 + 1.0 / 3.0, -2.0 * d / 9.0 - 4.0 / 3.0);
        alarm - silence
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{Person, Prediction, utility};

    #[test]
    fn is_the_difference_that_the_official_utility_makes() {
        for first_label in [None, Some(0), Some(3), Some(40)] {
            let person = Person {
                pid: String::new(),
                hospital: 'A',
                age: 50.0,
                sex: "male",
                unit: "unknown",
                rows: 0..60,
                onset: first_label.map(|first| first + 6),
            };
            let silent = vec![Prediction::yes_or_no(0.0, false); 60];
            let best: f64 = (0..60).map(|row| gain(first_label, row).max(0.0)).sum();
            let sums = utility(&person, &silent);
            assert!((sums.best - sums.silent - best).abs() < 1e-9);
            for row in 0..60 {
                let mut one = silent.clone();
                one[row].alarm = true;
                let difference = utility(&person, &one).observed - sums.observed;
                assert!((gain(first_label, row) - difference).abs() < 1e-9, "{first_label:?} row {row}");
            }
        }
    }

    #[test]
    fn follows_the_published_corners() {
        assert_eq!(gain(None, 7), -0.05);
        let at = |d: i64| gain(Some(20), (26 + d) as usize);
        assert_eq!((at(-26), at(-13), at(-12)), (-0.05, -0.05, 0.0));
        assert!((at(-7) - 5.0 / 6.0).abs() < 1e-12 && (at(-6) - 1.0).abs() < 1e-12);
        // On time an alarm earns 1/3 and silence costs 4/3; the last hour that counts: 0 against -2.
        assert!((at(0) - 5.0 / 3.0).abs() < 1e-12 && (at(3) - 2.0).abs() < 1e-12);
        assert_eq!(at(4), 0.0);
    }
}
