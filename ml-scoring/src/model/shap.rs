//! Exact TreeSHAP, path-dependent as libxgboost's `pred_contribs`, in time linear in the nodes.
//!
//! On the way to a leaf each feature i has a share `zero` of the training weight and a `one` that says whether the row
//! goes this way. The leaf is then a product game, and the Shapley value of i in it is
//! (oneᵢ − zeroᵢ) ∫₀¹ Π_{j≠i} (t oneⱼ + (1 − t) zeroⱼ) dt. The integrand is a polynomial of a degree below the tree's
//! depth, so Gauss-Legendre quadrature with half as many points is exact. Products go down the tree, sums over the leaves
//! come up. (Lundberg et al. 2018 define the values; Yu et al. 2022, Linear TreeSHAP, sum along the same edges.)

use super::ensemble::{Parts, goes_right};
use super::tree::{Split, Step, TREE_DEPTH_MAX, Tree};

/// Points that serve trees of twice this depth; deeper ones take [`POINTS_MAX`].
const POINTS: usize = 4;
const POINTS_MAX: usize = TREE_DEPTH_MAX.div_ceil(2) + 1;

#[derive(Clone, Debug)]
pub(super) struct Explainer {
    feature_count: usize,
    /// Base margin plus the expected value of the trees, one a class.
    biases: Vec<f64>,
    trees: Vec<(usize, Steps)>,
    few: Quadrature<POINTS>,
    many: Quadrature<POINTS_MAX>,
}

/// A tree with what the walk needs beside each step.
#[derive(Clone, Debug)]
struct Steps {
    steps: Vec<Step>,
    /// Share of the parent's training weight that came to this step.
    share: Vec<f64>,
    depth: usize,
}

/// What the path so far says of one feature.
#[derive(Clone, Copy, Debug)]
struct Held {
    zero: f64,
    one: f64,
}

const NOT_HELD: Held = Held { zero: 1.0, one: 1.0 };

/// Points and weights of Gauss-Legendre quadrature on 0 to 1.
#[derive(Clone, Debug)]
struct Quadrature<const K: usize> {
    points: [f64; K],
    weights: [f64; K],
}

/// One row's way through one tree.
struct Walk<'a, const K: usize> {
    quadrature: &'a Quadrature<K>,
    tree: &'a Steps,
    row: &'a [f32],
    /// For each feature.
    held: &'a mut [Held],
    out: &'a mut [f64],
}

impl Explainer {
    pub fn new(parts: &Parts) -> Self {
        let mut biases: Vec<f64> = parts.base_margins.iter().map(|margin| f64::from(*margin)).collect();
        let mut trees = Vec::with_capacity(parts.trees.len());
        for (tree, group) in parts.trees.iter().zip(&parts.groups) {
            let steps = Steps::new(tree);
            biases[*group as usize] += steps.mean();
            trees.push((*group as usize, steps));
        }
        let (few, many) = (Quadrature::new(), Quadrature::new());
        Explainer { feature_count: parts.feature_count, biases, trees, few, many }
    }

    /// For each class `feature_count` values and the bias.
    pub fn explain(&self, row: &[f32]) -> Vec<f64> {
        let width = self.feature_count + 1;
        let mut out = vec![0.0; width * self.biases.len()];
        let mut held = vec![NOT_HELD; self.feature_count];
        for (group, tree) in &self.trees {
            let out = &mut out[group * width..(group + 1) * width];
            if tree.depth <= 2 * POINTS {
                Walk { quadrature: &self.few, tree, row, held: &mut held, out }.step(0, &[1.0; POINTS]);
            } else {
                Walk { quadrature: &self.many, tree, row, held: &mut held, out }.step(0, &[1.0; POINTS_MAX]);
            }
        }
        for (group, bias) in self.biases.iter().enumerate() {
            out[group * width + self.feature_count] += bias;
        }
        out
    }
}

impl Steps {
    fn new(tree: &Tree) -> Self {
        let mut share = vec![1.0; tree.steps.len()];
        for (i, step) in tree.steps.iter().enumerate() {
            if let Step::Branch { left, .. } = step {
                let left = *left as usize;
                let (a, b) = (f64::from(tree.cover[left]), f64::from(tree.cover[left + 1]));
                // libxgboost divides by the parent's own weight, which is this sum but for rounding.
                let whole = if tree.cover[i] > 0.0 { f64::from(tree.cover[i]) } else { a + b };
                (share[left], share[left + 1]) =
                    if whole > 0.0 { (a / whole, b / whole) } else { (0.5, 0.5) };
            }
        }
        Steps { steps: tree.steps.clone(), share, depth: tree.depth }
    }

    /// Expected value of the tree over its training weight. Children stand behind their parents.
    fn mean(&self) -> f64 {
        let mut mean = vec![0.0; self.steps.len()];
        for (i, step) in self.steps.iter().enumerate().rev() {
            mean[i] = match step {
                Step::Leaf(value) => f64::from(*value),
                Step::Branch { left, .. } => {
                    let left = *left as usize;
                    self.share[left] * mean[left] + self.share[left + 1] * mean[left + 1]
                }
            };
        }
        mean.first().copied().unwrap_or(0.0)
    }
}

impl<const K: usize> Walk<'_, K> {
    /// `product` holds Π (t one + (1 − t) zero) over the features so far, at each point; the answer is the sum of
    /// product × value over the leaves below.
    fn step(&mut self, at: usize, product: &[f64; K]) -> [f64; K] {
        let tree = self.tree;
        match &tree.steps[at] {
            Step::Leaf(value) => product.map(|product| product * f64::from(*value)),
            Step::Branch { feature, split, missing_right, left } => {
                let value = self.row[*feature as usize];
                let right = match split {
                    _ if value.is_nan() => *missing_right,
                    Split::Below(threshold) => value >= *threshold,
                    Split::In(set) => goes_right(set, value),
                };
                let (feature, left) = (*feature as usize, *left as usize);
                let mut sum = self.edge(left, feature, !right, product);
                let other = self.edge(left + 1, feature, right, product);
                sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
                sum
            }
        }
    }

    /// Goes to `child`, which `feature` decides and the row takes or does not.
    fn edge(&mut self, child: usize, feature: usize, taken: bool, product: &[f64; K]) -> [f64; K] {
        let old = self.held[feature];
        let new = Held { zero: old.zero * self.tree.share[child], one: if taken { old.one } else { 0.0 } };
        if new.zero <= 0.0 && new.one == 0.0 {
            // No training weight and not taken: nothing there moves anything.
            return [0.0; K];
        }
        let (old_factor, new_factor) = (self.quadrature.factor(old), self.quadrature.factor(new));
        let next = std::array::from_fn(|k| product[k] / old_factor[k] * new_factor[k]);
        self.held[feature] = new;
        let sum = self.step(child, &next);
        self.held[feature] = old;
        // A feature split again speaks with its later share only: what the earlier one will claim is taken back.
        let mut part = 0.0;
        for k in 0..K {
            let claim = (new.one - new.zero) / new_factor[k] - (old.one - old.zero) / old_factor[k];
            part += self.quadrature.weights[k] * sum[k] * claim;
        }
        self.out[feature] += part;
        sum
    }
}

impl<const K: usize> Quadrature<K> {
    /// Roots of the Legendre polynomial of degree `K` by Newton's method.
    fn new() -> Self {
        let (mut points, mut weights) = ([0.0; K], [0.0; K]);
        for (i, (point, weight)) in points.iter_mut().zip(&mut weights).enumerate() {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (K as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut before, mut value) = (1.0, x);
                for n in 2..=K {
                    let n = n as f64;
                    (before, value) = (value, ((2.0 * n - 1.0) * x * value - (n - 1.0) * before) / n);
                }
                slope = K as f64 * (x * value - before) / (x * x - 1.0);
                let step = value / slope;
                x -= step;
                if step.abs() < 1e-16 {
                    break;
                }
            }
            *point = (1.0 - x) / 2.0;
            *weight = 1.0 / ((1.0 - x * x) * slope * slope);
        }
        Quadrature { points, weights }
    }

    fn factor(&self, held: Held) -> [f64; K] {
        self.points.map(|t| t * held.one + (1.0 - t) * held.zero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integrates<const K: usize>() {
        let quadrature = Quadrature::<K>::new();
        for power in 0..2 * K {
            let terms = quadrature.points.iter().zip(quadrature.weights);
            let got: f64 = terms.map(|(t, w)| w * t.powi(power as i32)).sum();
            let want = 1.0 / (power as f64 + 1.0);
            assert!((got - want).abs() < 1e-13, "{K} points, t^{power}: {got} {want}");
        }
    }

    #[test]
    fn quadrature_is_exact_for_polynomials_below_twice_its_points() {
        integrates::<1>();
        integrates::<POINTS>();
        integrates::<POINTS_MAX>();
    }
}
