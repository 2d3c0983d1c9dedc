//! Patient bootstrap: whole patients are drawn, because the hours of one are no independent witnesses.

/// SplitMix64 (Steele et al. 2014): the same seed gives the same intervals everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

/// How often each of `people` is drawn, for sample after sample.
pub(super) fn samples(people: usize, samples: usize, seed: u64) -> impl Iterator<Item = Vec<f64>> {
    let mut random = Random(seed);
    (0..samples).map(move |_| {
        let mut times = vec![0.0; people];
        for _ in 0..people {
            if let Some(times) = times.get_mut(random.below(people)) {
                *times += 1.0;
            }
        }
        times
    })
}

/// The middle 95 % of the samples' values; `None` without any.
pub(super) fn interval(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_unstable_by(f64::total_cmp);
    let at = |q: f64| values.get(((values.len().saturating_sub(1)) as f64 * q).round() as usize).copied();
    Some([at(0.025)?, at(0.975)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_a_mean_has_the_right_width() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i % 2)).collect();
        let means = samples(1000, 400, 1)
            .map(|times| times.iter().zip(&values).map(|(t, v)| t * v).sum::<f64>() / 1000.0)
            .collect();
        let [low, high] = interval(means).unwrap();
        // ± 1.96 · 0.5 / √1000 = ± 0.031
        assert!((0.46..0.475).contains(&low) && (0.525..0.54).contains(&high), "{low} {high}");
        assert_eq!(interval(Vec::new()), None);
    }
}
