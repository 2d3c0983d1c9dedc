//! How far probabilities are from frequencies.

/// Bins of [`ece`].
const BINS: usize = 10;

/// Mean squared distance of probability and label; `None` without rows.
pub fn brier(p: &[f64], labels: &[bool]) -> Option<f64> {
    let sum: f64 = p.iter().zip(labels).map(|(p, label)| (p - f64::from(u8::from(*label))).powi(2)).sum();
    (!p.is_empty()).then(|| sum / p.len() as f64)
}

/// Expected calibration error: |mean probability − frequency| over ten bins of equal width, weighted by rows.
pub fn ece(p: &[f64], labels: &[bool]) -> Option<f64> {
    let mut gaps = [0.0; BINS];
    for (p, label) in p.iter().zip(labels) {
        let bin = ((p * BINS as f64) as usize).min(BINS - 1);
        gaps[bin] += p - f64::from(u8::from(*label));
    }
    (!p.is_empty()).then(|| gaps.iter().map(|gap| gap.abs()).sum::<f64>() / p.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfect_and_certain_mistakes() {
        let labels: Vec<bool> = (0..400).map(|i| i % 4 == 0).collect();
        assert!(ece(&[0.25; 400], &labels).unwrap() < 1e-12);
        assert!((ece(&[0.35; 400], &labels).unwrap() - 0.1).abs() < 1e-12);
        assert!((brier(&[0.25; 400], &labels).unwrap() - 0.25 * 0.75).abs() < 1e-12);
        assert_eq!((brier(&[], &[]), ece(&[], &[])), (None, None));
    }
}
