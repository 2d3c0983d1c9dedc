//! AUROC and AUPRC over rows, weighted so that a bootstrap needs one sort.

/// Row indices by falling probability, with the end of every run of equal ones.
pub(super) struct Ranking {
    order: Vec<u32>,
    runs: Vec<usize>,
    /// Rows that count as ranked.
    reached: usize,
}

impl Ranking {
    /// As the organisers' script of the 2019 challenge has it: rows of probability exactly 0 are never reached. They
    /// count in the totals and add no area.
    pub fn as_the_challenge(p: &[f64]) -> Ranking {
        let ranking = Ranking::new(p);
        let reached = ranking.order.partition_point(|row| p[*row as usize] > 0.0);
        Ranking { reached, ..ranking }
    }

    pub fn new(p: &[f64]) -> Ranking {
        let mut order: Vec<u32> = (0..p.len() as u32).collect();
        order.sort_unstable_by(|a, b| p[*b as usize].total_cmp(&p[*a as usize]));
        let runs = (1..=order.len())
            .filter(|i| *i == order.len() || p[order[*i] as usize] != p[order[*i - 1] as usize])
            .collect();
        let reached = order.len();
        Ranking { order, runs, reached }
    }

    /// (AUROC, AUPRC) of `label` with `weight` rows each; `None` when one class is missing.
    ///
    /// AUROC by trapezoids; AUPRC is average precision. `None` too when no row is reached.
    pub fn areas(&self, label: impl Fn(usize) -> bool, weight: impl Fn(usize) -> f64) -> Option<(f64, f64)> {
        let of_run = |start: usize, end: usize| {
            let (mut positives, mut negatives) = (0.0, 0.0);
            for row in self.order[start..end].iter().map(|row| *row as usize) {
                if label(row) { positives += weight(row) } else { negatives += weight(row) }
            }
            (positives, negatives)
        };
        let (unreached_positives, unreached_negatives) = of_run(self.reached, self.order.len());
        let (mut tp, mut fp, mut won, mut pr, mut start) = (0.0, 0.0, 0.0, 0.0, 0);
        for &end in self.runs.iter().take_while(|end| **end <= self.reached) {
            let (positives, negatives) = of_run(start, end);
            // Pairs of a positive and a negative that stand in the wrong order, or in none (half).
            won -= positives * (fp + negatives / 2.0);
            tp += positives;
            fp += negatives;
            if positives > 0.0 {
                pr += positives * tp / (tp + fp);
            }
            start = end;
        }
        let (all_positives, all_negatives) = (tp + unreached_positives, fp + unreached_negatives);
        won += tp * all_negatives;
        (self.reached > 0 && all_positives > 0.0 && all_negatives > 0.0)
            .then(|| (won / (all_positives * all_negatives), pr / all_positives))
    }
}

/// Bins of [`Ranking::ece_equal_mass`].
const BINS: f64 = 10.0;

impl Ranking {
    /// Expected calibration error over ten bins of equally many rows: where most risks are small, bins of equal width hold
    /// nearly all rows in one. Rows of equal probability stay together. `None` without rows.
    pub fn ece_equal_mass(
        &self,
        p: &[f64],
        label: impl Fn(usize) -> bool,
        weight: impl Fn(usize) -> f64,
    ) -> Option<f64> {
        let all: f64 = self.order.iter().map(|row| weight(*row as usize)).sum();
        let (mut rows, mut gap, mut gaps, mut bins, mut start) = (0.0, 0.0, 0.0, 1.0, 0);
        for &end in &self.runs {
            for row in self.order[start..end].iter().map(|row| *row as usize) {
                rows += weight(row);
                gap += weight(row) * (p[row] - f64::from(u8::from(label(row))));
            }
            start = end;
            if rows * BINS >= bins * all || end == self.order.len() {
                gaps += f64::abs(gap);
                gap = 0.0;
                while rows * BINS >= bins * all && bins < BINS {
                    bins += 1.0;
                }
            }
        }
        (all > 0.0).then(|| gaps / all)
    }
}

/// Area under the receiver operating characteristic, as the 2019 challenge has it; `None` when one class is missing.
pub fn auroc(p: &[f64], labels: &[bool]) -> Option<f64> {
    Ranking::as_the_challenge(p).areas(|i| labels[i], |_| 1.0).map(|(roc, _)| roc)
}

/// Average precision, as the 2019 challenge has it; `None` when one class is missing.
pub fn auprc(p: &[f64], labels: &[bool]) -> Option<f64> {
    Ranking::as_the_challenge(p).areas(|i| labels[i], |_| 1.0).map(|(_, pr)| pr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_areas() {
        let labels = [true, false, true, false];
        assert_eq!(auroc(&[0.9, 0.8, 0.7, 0.1], &labels), Some(0.75));
        assert!((auprc(&[0.9, 0.8, 0.7, 0.1], &labels).unwrap() - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-12);
        assert_eq!(auroc(&[0.5; 4], &labels), Some(0.5));
        assert_eq!(auprc(&[0.5; 4], &labels), Some(0.5));
        assert_eq!(auroc(&[0.1, 0.2], &[true, true]), None);
        // The positive of probability 0 is never reached: two of four pairs are won, none is halved.
        assert_eq!(auroc(&[0.9, 0.0, 0.8, 0.0], &[true, true, false, false]), Some(0.5));
        assert_eq!(auroc(&[0.0; 4], &labels), None);
        // Elsewhere 0 is a probability like any other: two pairs are won, the one at 0 is halved.
        let plain = |p: &[f64], labels: &[bool]| Ranking::new(p).areas(|i| labels[i], |_| 1.0).map(|a| a.0);
        assert_eq!(plain(&[0.9, 0.0, 0.8, 0.0], &[true, true, false, false]), Some(0.625));
        assert_eq!(plain(&[0.0; 4], &labels), Some(0.5));
    }

    #[test]
    fn bins_of_equal_mass_see_what_bins_of_equal_width_merge() {
        // All risks lie below 0.1: one bin of equal width, in which too high and too low cancel out.
        let p: Vec<f64> = (0..1000).map(|i| if i < 500 { 0.09 } else { 0.01 }).collect();
        let labels: Vec<bool> = (0..1000).map(|i| i % 20 == 0).collect();
        let ranking = Ranking::new(&p);
        let ece = |weight: f64| ranking.ece_equal_mass(&p, |i| labels[i], |_| weight);
        assert!((ece(1.0).unwrap() - 0.04).abs() < 1e-12 && (ece(3.0).unwrap() - 0.04).abs() < 1e-12);
        assert_eq!(ece(0.0), None);
        // Ten rows of risks of their own, ten bins.
        let p: Vec<f64> = (0..10).map(|i| f64::from(i) / 10.0).collect();
        let each = Ranking::new(&p).ece_equal_mass(&p, |i| i >= 5, |_| 1.0).unwrap();
        let expected = (0..10).map(|i| (p[i] - f64::from(u8::from(i >= 5))).abs()).sum::<f64>() / 10.0;
        assert!((each - expected).abs() < 1e-12, "{each} {expected}");
    }

    proptest! {
        #[test]
        fn auroc_is_the_share_of_well_ordered_pairs(rows in prop::collection::vec((0u8..20, any::<bool>()), 2..60)) {
            let p: Vec<f64> = rows.iter().map(|r| f64::from(r.0) + 1.0).collect();
            let labels: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let (mut pairs, mut won) = (0.0, 0.0);
            for i in (0..p.len()).filter(|i| labels[*i]) {
                for j in (0..p.len()).filter(|j| !labels[*j]) {
                    pairs += 1.0;
                    won += if p[i] > p[j] { 1.0 } else if p[i] == p[j] { 0.5 } else { 0.0 };
                }
            }
            match auroc(&p, &labels) {
                Some(area) => prop_assert!((area - won / pairs).abs() < 1e-12),
                None => prop_assert_eq!(pairs, 0.0),
            }
        }
    }
}
