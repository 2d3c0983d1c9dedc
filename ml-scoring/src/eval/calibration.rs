//! How far probabilities are from frequencies.

/// Bins of [`Sums::ece`].
const BINS: usize = 10;

/// Sums over rows, from which both figures follow: those of patients add up to those of a sample of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    rows: f64,
    squares: f64,
    gaps: [f64; BINS],
}

impl Sums {
    pub fn add_row(&mut self, p: f64, label: bool) {
        let gap = p - f64::from(u8::from(label));
        self.rows += 1.0;
        self.squares += gap.powi(2);
        if let Some(bin) = self.gaps.get_mut(((p * BINS as f64) as usize).min(BINS - 1)) {
            *bin += gap;
        }
    }

    pub fn add(&mut self, other: &Sums, times: f64) {
        self.rows += times * other.rows;
        self.squares += times * other.squares;
        self.gaps.iter_mut().zip(other.gaps).for_each(|(gap, other)| *gap += times * other);
    }

    /// Mean squared distance of probability and label; `None` without rows.
    pub fn brier(&self) -> Option<f64> {
        (self.rows > 0.0).then(|| self.squares / self.rows)
    }

    /// Expected calibration error: |mean probability − frequency| over ten bins of equal width, weighted by rows.
    pub fn ece(&self) -> Option<f64> {
        (self.rows > 0.0).then(|| self.gaps.iter().map(|gap| gap.abs()).sum::<f64>() / self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(p: &[f64], labels: &[bool]) -> Sums {
        let mut sums = Sums::default();
        p.iter().zip(labels).for_each(|(p, label)| sums.add_row(*p, *label));
        sums
    }

    fn brier(p: &[f64], labels: &[bool]) -> Option<f64> {
        of(p, labels).brier()
    }

    fn ece(p: &[f64], labels: &[bool]) -> Option<f64> {
        of(p, labels).ece()
    }

    #[test]
    fn perfect_and_certain_mistakes() {
        let labels: Vec<bool> = (0..400).map(|i| i % 4 == 0).collect();
        assert!(ece(&[0.25; 400], &labels).unwrap() < 1e-12);
        assert!((ece(&[0.35; 400], &labels).unwrap() - 0.1).abs() < 1e-12);
        assert!((brier(&[0.25; 400], &labels).unwrap() - 0.25 * 0.75).abs() < 1e-12);
        assert_eq!((brier(&[], &[]), ece(&[], &[])), (None, None));
    }
}
