//! AUROC and AUPRC over rows, weighted so that a bootstrap needs one sort.

/// Row indices by falling probability, with the end of every run of equal ones.
pub(super) struct Ranking {
    order: Vec<u32>,
    runs: Vec<usize>,
    /// Rows with a probability above 0.
    reached: usize,
}

impl Ranking {
    pub fn new(p: &[f64]) -> Ranking {
        let mut order: Vec<u32> = (0..p.len() as u32).collect();
        order.sort_unstable_by(|a, b| p[*b as usize].total_cmp(&p[*a as usize]));
        let runs = (1..=order.len())
            .filter(|i| *i == order.len() || p[order[*i] as usize] != p[order[*i - 1] as usize])
            .collect();
        let reached = order.partition_point(|row| p[*row as usize] > 0.0);
        Ranking { order, runs, reached }
    }

    /// (AUROC, AUPRC) of `label` with `weight` rows each; `None` when one class is missing.
    ///
    /// AUROC by trapezoids; AUPRC is average precision. As in the organisers' script, rows of probability exactly 0
    /// are never reached: they count in the totals and add no area. `None` too when all are 0.
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

/// Area under the receiver operating characteristic; `None` when one class is missing.
pub fn auroc(p: &[f64], labels: &[bool]) -> Option<f64> {
    Ranking::new(p).areas(|i| labels[i], |_| 1.0).map(|(roc, _)| roc)
}

/// Average precision; `None` when one class is missing.
pub fn auprc(p: &[f64], labels: &[bool]) -> Option<f64> {
    Ranking::new(p).areas(|i| labels[i], |_| 1.0).map(|(_, pr)| pr)
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
