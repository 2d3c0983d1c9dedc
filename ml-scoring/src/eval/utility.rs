//! The challenge's utility (Reyna et al. 2020): what an alarm or a silence is worth, by hours from onset.

use super::cohort::{Person, Prediction};

/// A patient's sums; a cohort's are their sums.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Utility {
    pub observed: f64,
    pub best: f64,
    pub silent: f64,
}

impl Utility {
    /// 1 = the best possible, 0 = silence. `None`: no septic patient, nothing to gain.
    pub fn normalised(&self) -> Option<f64> {
        let range = self.best - self.silent;
        (range > 0.0).then(|| (self.observed - self.silent) / range)
    }

    pub fn add(&mut self, other: &Utility, times: f64) {
        self.observed += times * other.observed;
        self.best += times * other.best;
        self.silent += times * other.silent;
    }
}

/// `predictions` are the rows of `person`, in order.
pub fn utility(person: &Person, predictions: &[Prediction]) -> Utility {
    let mut sum = Utility::default();
    for (i, prediction) in predictions.iter().enumerate() {
        let (alarm, silence) = match person.hours_from_onset(i) {
            Some(d) => (of_alarm(d), of_silence(d)),
            None => (-0.05, 0.0),
        };
        let worth_alarming = person.hours_from_onset(i).is_some_and(|d| (-12..=3).contains(&d));
        sum.observed += if prediction.alarm { alarm } else { silence };
        sum.best += if worth_alarming { alarm } else { silence };
        sum.silent += silence;
    }
    sum
}

/// `d`: hours from onset, of a septic patient.
fn of_alarm(d: i64) -> f64 {
    let hours = d as f64;
    match d {
        ..=-6 => (hours / 6.0 + 2.0).max(-0.05),
        -5..=3 => -hours / 9.0 + 1.0 / 3.0,
        4.. => 0.0,
    }
}

fn of_silence(d: i64) -> f64 {
    match d {
        -5..=3 => -2.0 * d as f64 / 9.0 - 4.0 / 3.0,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(first_label: Option<usize>) -> Person {
        Person {
            pid: String::new(),
            hospital: 'A',
            age: 50.0,
            sex: "male",
            unit: "unknown",
            rows: 0..0,
            onset: first_label.map(|first| first + 6),
        }
    }

    fn all(alarm: bool, rows: usize) -> Vec<Prediction> {
        vec![Prediction::yes_or_no(0.0, alarm); rows]
    }

    #[test]
    fn the_published_curve() {
        assert_eq!([-15, -12, -9, -6, 3, 4].map(of_alarm), [-0.05, 0.0, 0.5, 1.0, 0.0, 0.0]);
        assert!(
            (of_silence(-5) - (10.0 / 9.0 - 12.0 / 9.0)).abs() < 1e-12 && (of_silence(3) + 2.0).abs() < 1e-12
        );
        assert_eq!([-20, -6, 4].map(of_silence), [0.0; 3]);
    }

    #[test]
    fn best_is_one_silence_zero_and_false_alarms_cost() {
        // First label at row 14: onset at row 20, the window worth an alarm is rows 8 to 23.
        let septic = person(Some(14));
        let best: Vec<_> = (0..24).map(|i| Prediction::yes_or_no(0.0, (8..=23).contains(&i))).collect();
        assert_eq!(utility(&septic, &best).normalised(), Some(1.0));
        assert_eq!(utility(&septic, &all(false, 24)).normalised(), Some(0.0));
        let healthy = utility(&person(None), &all(true, 24));
        assert!((healthy.observed + 1.2).abs() < 1e-12 && healthy.normalised().is_none());
    }
}
