//! Exact TreeSHAP, path-dependent (Lundberg et al. 2018, algorithm 2), as libxgboost's `pred_contribs`.
//!
//! The weights of a path are polynomials that every leaf unwinds once a feature. Features whose branch the row does not
//! take all unwind to the same sum, which is computed once a leaf: that halves the work.

use super::ensemble::{Parts, goes_right};
use super::tree::{Split, Step, Tree};

#[derive(Clone, Debug)]
pub(super) struct Explainer {
    feature_count: usize,
    /// Base margin plus the expected value of the trees, one a class.
    biases: Vec<f64>,
    trees: Vec<(usize, Steps)>,
    depth_max: usize,
}

/// A tree with what the walk needs beside each step.
#[derive(Clone, Debug)]
struct Steps {
    steps: Vec<Step>,
    /// Share of the parent's training weight that came to this step.
    share: Vec<f64>,
}

/// One feature on the path: which share of the training weight (`zero`) and whether the row (`one`) goes this way, and
/// the weight of the subsets of the path by their size.
#[derive(Clone, Copy, Debug, Default)]
struct Element {
    feature: u32,
    zero: f64,
    one: bool,
    weight: f64,
}

const NO_FEATURE: u32 = u32::MAX;

impl Explainer {
    pub fn new(parts: &Parts) -> Self {
        let mut biases: Vec<f64> = parts.base_margins.iter().map(|margin| f64::from(*margin)).collect();
        let mut trees = Vec::with_capacity(parts.trees.len());
        for (tree, group) in parts.trees.iter().zip(&parts.groups) {
            let steps = Steps::new(tree);
            biases[*group as usize] += steps.mean();
            trees.push((*group as usize, steps));
        }
        let depth_max = parts.trees.iter().map(|tree| tree.depth).max().unwrap_or(0);
        Explainer { feature_count: parts.feature_count, biases, trees, depth_max }
    }

    /// For each class `feature_count` values and the bias.
    pub fn explain(&self, row: &[f32]) -> Vec<f64> {
        let width = self.feature_count + 1;
        let mut out = vec![0.0; width * self.biases.len()];
        // One path for each level of the deepest tree, one behind the other.
        let length = self.depth_max + 2;
        let mut paths = vec![Element::default(); length * (length + 1) / 2 + length];
        for (group, steps) in &self.trees {
            let out = &mut out[group * width..(group + 1) * width];
            let start = Element { feature: NO_FEATURE, zero: 1.0, one: true, weight: 0.0 };
            steps.walk(0, row, &mut paths, 0, start, out);
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
        Steps { steps: tree.steps.clone(), share }
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

    /// `paths[..length]` is the parent's path; this step's own is built behind it.
    fn walk(
        &self,
        at: usize,
        row: &[f32],
        paths: &mut [Element],
        length: usize,
        new: Element,
        out: &mut [f64],
    ) {
        let (parent, rest) = paths.split_at_mut(length);
        rest[..length].copy_from_slice(parent);
        extend(&mut rest[..=length], new);
        let mut length = length + 1;
        match &self.steps[at] {
            Step::Leaf(value) => add_leaf(&rest[..length], f64::from(*value), out),
            Step::Branch { feature, split, missing_right, left } => {
                let (mut zero, mut one) = (1.0, true);
                // A feature stands on a path once: the later split narrows the earlier one.
                if let Some(earlier) = rest[1..length].iter().position(|element| element.feature == *feature)
                {
                    (zero, one) = (rest[earlier + 1].zero, rest[earlier + 1].one);
                    unwind(&mut rest[..length], earlier + 1);
                    length -= 1;
                }
                let value = row[*feature as usize];
                let right = match split {
                    _ if value.is_nan() => *missing_right,
                    Split::Below(threshold) => value >= *threshold,
                    Split::In(set) => goes_right(set, value),
                };
                let left = *left as usize;
                for (child, taken) in [(left, !right), (left + 1, right)] {
                    let zero = zero * self.share[child];
                    let new = Element { feature: *feature, zero, one: one && taken, weight: 0.0 };
                    // No training weight and not taken: nothing there moves anything.
                    if zero > 0.0 || new.one {
                        self.walk(child, row, rest, length, new, out);
                    }
                }
            }
        }
    }
}

/// Adds the last element of `path` to it (EXTEND).
fn extend(path: &mut [Element], new: Element) {
    let last = path.len() - 1;
    path[last] = Element { weight: if last == 0 { 1.0 } else { 0.0 }, ..new };
    let scale = 1.0 / (last + 1) as f64;
    for i in (0..last).rev() {
        let weight = path[i].weight;
        if new.one {
            path[i + 1].weight += weight * (i + 1) as f64 * scale;
        }
        path[i].weight = new.zero * weight * (last - i) as f64 * scale;
    }
}

/// Takes element `index` out again (UNWIND); the path is one shorter afterwards.
fn unwind(path: &mut [Element], index: usize) {
    let last = path.len() - 1;
    let Element { zero, one, .. } = path[index];
    let count = (last + 1) as f64;
    let mut next = path[last].weight;
    for i in (0..last).rev() {
        if one {
            let weight = path[i].weight;
            path[i].weight = next * count / (i + 1) as f64;
            next = weight - path[i].weight * zero * (last - i) as f64 / count;
        } else {
            path[i].weight = path[i].weight * count / (zero * (last - i) as f64);
        }
    }
    for i in index..last {
        path[i] = Element { weight: path[i].weight, ..path[i + 1] };
    }
}

/// Gives each feature of the path its part of the leaf's value.
fn add_leaf(path: &[Element], value: f64, out: &mut [f64]) {
    let last = path.len() - 1;
    let count = (last + 1) as f64;
    // A feature that the row does not follow gets -zero × Σ w/zero: the same for each of them.
    let mut others = 0.0;
    for (i, element) in path[..last].iter().enumerate() {
        others += element.weight * count / (last - i) as f64;
    }
    for element in &path[1..] {
        let part = if element.one { sum_without(path, element.zero) * (1.0 - element.zero) } else { -others };
        out[element.feature as usize] += part * value;
    }
}

/// Sum of the path's weights without one followed element of share `zero`.
fn sum_without(path: &[Element], zero: f64) -> f64 {
    let last = path.len() - 1;
    let count = (last + 1) as f64;
    let mut next = path[last].weight;
    let mut total = 0.0;
    for i in (0..last).rev() {
        let weight = next * count / (i + 1) as f64;
        total += weight;
        next = path[i].weight - weight * zero * (last - i) as f64 / count;
    }
    total
}
