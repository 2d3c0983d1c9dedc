//! The evaluator: trees packed into one array of 12-byte nodes, walked eight trees at a time.
//!
//! Bit for bit what libxgboost's CPU predictor computes: `f32` thresholds, `value < threshold`, leaves added to the
//! base margin in the order of the trees.

use super::objective::Objective;
use super::tree::{Split, Step, Tree};
use super::{ModelError, shap, xgboost};

/// Trees walked side by side: the loads of one hide behind those of the others.
const LANES: usize = 8;

const MISSING_RIGHT: u32 = 1 << 31;
const CATEGORICAL: u32 = 1 << 30;
const FEATURE: u32 = CATEGORICAL - 1;

/// A leaf leads to itself (`left` + 1, for no value is below NaN), so that all lanes can take the same number of steps.
#[derive(Clone, Copy, Debug)]
struct Node {
    threshold: f32,
    /// Feature index and the two flags above.
    feature: u32,
    left: u32,
}

#[derive(Clone, Copy, Debug)]
struct Root {
    node: u32,
    depth: u32,
    group: u32,
}

/// What a model file says, checked.
pub(super) struct Parts {
    pub feature_count: usize,
    pub feature_names: Vec<String>,
    pub objective: Objective,
    pub base_margins: Vec<f32>,
    pub trees: Vec<Tree>,
    /// Further ones in the file, of rounds behind the best one.
    pub unused_trees: usize,
    pub groups: Vec<u32>,
}

/// A boosted ensemble of trees as XGBoost means it, with no card: the reader and evaluator on its own.
#[derive(Clone, Debug)]
pub struct Ensemble {
    feature_count: usize,
    feature_names: Vec<String>,
    objective: Objective,
    base_margins: Vec<f32>,
    unused_trees: usize,
    roots: Vec<Root>,
    nodes: Vec<Node>,
    /// Of leaves; 0 elsewhere.
    values: Vec<f32>,
    /// For categorical nodes, by node index (sorted): the categories that go right.
    categories: Vec<(u32, Vec<u32>)>,
    explainer: shap::Explainer,
}

impl Ensemble {
    /// Reads a file of `save_model`, XGBoost 1.0 to 3.x; `file` ends with `.json` or `.ubj`.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, ModelError> {
        xgboost::read(file, bytes)
    }

    pub(super) fn new(parts: Parts) -> Self {
        let explainer = shap::Explainer::new(&parts);
        let mut ensemble = Ensemble {
            feature_count: parts.feature_count,
            feature_names: parts.feature_names,
            objective: parts.objective,
            base_margins: parts.base_margins,
            unused_trees: parts.unused_trees,
            roots: Vec::with_capacity(parts.trees.len()),
            nodes: Vec::new(),
            values: Vec::new(),
            categories: Vec::new(),
            explainer,
        };
        for (tree, group) in parts.trees.iter().zip(parts.groups) {
            ensemble.pack(tree, group);
        }
        ensemble
    }

    fn pack(&mut self, tree: &Tree, group: u32) {
        let first = self.nodes.len() as u32;
        self.roots.push(Root { node: first, depth: tree.depth as u32, group });
        for step in &tree.steps {
            let here = self.nodes.len() as u32;
            let (node, value) = match step {
                Step::Leaf(value) => {
                    let left = here.wrapping_sub(1);
                    (Node { threshold: f32::NAN, feature: MISSING_RIGHT, left }, *value)
                }
                Step::Branch { feature, split, missing_right, left } => {
                    let mut feature = *feature | if *missing_right { MISSING_RIGHT } else { 0 };
                    let threshold = match split {
                        Split::Below(threshold) => *threshold,
                        Split::In(set) => {
                            feature |= CATEGORICAL;
                            self.categories.push((here, set.clone()));
                            f32::NAN
                        }
                    };
                    (Node { threshold, feature, left: first + left }, 0.0)
                }
            };
            self.nodes.push(node);
            self.values.push(value);
        }
    }

    pub fn feature_count(&self) -> usize {
        self.feature_count
    }

    /// Empty where the file has none.
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// Margins a row: the number of classes, else 1.
    pub fn group_count(&self) -> usize {
        self.base_margins.len()
    }

    pub fn tree_count(&self) -> usize {
        self.roots.len()
    }

    /// Trees of the file that early stopping left behind its `best_iteration`: no part of the model.
    pub(super) fn unused_trees(&self) -> usize {
        self.unused_trees
    }

    /// One margin a class (one in all where there are none). NaN in `row` is missing; 0.0 is 0.0.
    pub fn margins(&self, row: &[f32]) -> Result<Vec<f32>, ModelError> {
        self.check_row(row)?;
        let mut margins = self.base_margins.clone();
        for roots in self.roots.chunks(LANES) {
            self.add_leaves(roots, row, &mut margins);
        }
        Ok(margins)
    }

    /// Like [`Self::margins`] for rows that stand one behind the other.
    pub fn margins_of_rows(&self, rows: &[f32]) -> Result<Vec<f32>, ModelError> {
        if !rows.len().is_multiple_of(self.feature_count) {
            return Err(ModelError::RowLength { got: rows.len(), want: self.feature_count });
        }
        let groups = self.group_count();
        let count = rows.len() / self.feature_count;
        let mut margins = self.base_margins.repeat(count);
        // Row by row: measured faster than showing eight trees to many rows, whose values then leave the cache.
        for (row, out) in rows.chunks(self.feature_count).zip(margins.chunks_mut(groups)) {
            for roots in self.roots.chunks(LANES) {
                self.add_leaves(roots, row, out);
            }
        }
        Ok(margins)
    }

    /// Prediction of one row: a probability, a value, or one a class, as the objective has it.
    pub fn predict(&self, row: &[f32]) -> Result<Vec<f32>, ModelError> {
        Ok(self.objective.predict(&self.margins(row)?))
    }

    /// Exact TreeSHAP (path-dependent): for each class one value a feature and the bias last; they add up to the margin.
    pub fn contributions(&self, row: &[f32]) -> Result<Vec<f64>, ModelError> {
        self.check_row(row)?;
        Ok(self.explainer.explain(row))
    }

    fn check_row(&self, row: &[f32]) -> Result<(), ModelError> {
        if row.len() == self.feature_count {
            Ok(())
        } else {
            Err(ModelError::RowLength { got: row.len(), want: self.feature_count })
        }
    }

    fn add_leaves(&self, roots: &[Root], row: &[f32], margins: &mut [f32]) {
        let leaves = if self.categories.is_empty() {
            self.walk::<false>(roots, row)
        } else {
            self.walk::<true>(roots, row)
        };
        for (root, leaf) in roots.iter().zip(leaves) {
            margins[root.group as usize] += self.values[leaf as usize];
        }
    }

    /// The leaf that `row` reaches in each of up to eight trees.
    fn walk<const CATEGORIES: bool>(&self, roots: &[Root], row: &[f32]) -> [u32; LANES] {
        let mut at = [roots[0].node; LANES];
        for (at, root) in at.iter_mut().zip(roots) {
            *at = root.node;
        }
        let depth = roots.iter().map(|root| root.depth).max().unwrap_or(0);
        for _ in 0..depth {
            for at in &mut at {
                let node = self.nodes[*at as usize];
                let value = row[(node.feature & FEATURE) as usize];
                let right = if value.is_nan() {
                    node.feature & MISSING_RIGHT != 0
                } else if CATEGORIES && node.feature & CATEGORICAL != 0 {
                    self.category_right(*at, value)
                } else {
                    // Not `>=`: a leaf's threshold is NaN.
                    let left = value < node.threshold;
                    !left
                };
                *at = node.left.wrapping_add(u32::from(right));
            }
        }
        at
    }

    fn category_right(&self, node: u32, value: f32) -> bool {
        let found = self.categories.binary_search_by_key(&node, |(node, _)| *node);
        found.is_ok_and(|i| goes_right(&self.categories[i].1, value))
    }
}

/// What is no category at all goes left, like one that is not in the set (libxgboost `common::Decision`).
pub(super) fn goes_right(set: &[u32], value: f32) -> bool {
    (0.0..16_777_216.0).contains(&value) && set.binary_search(&(value as u32)).is_ok()
}
