//! One tree of a model file, checked, in the order in which it is walked.
//!
//! The two children of a node stand beside each other, level by level from the root, so that a step is one addition.

use super::ModelError;
use super::document::View;

/// libxgboost itself stops at 2³¹; no model of tables comes near these.
pub(super) const NODES_MAX: usize = 1 << 22;
pub(super) const TREE_DEPTH_MAX: usize = 64;
/// Categories are encoded in `f32` and stored as bits (libxgboost allows 2²⁴).
const CATEGORY_MAX: i64 = 1 << 16;

const TREE_FIELDS: [&str; 17] = [
    "base_weights",
    "categories",
    "categories_nodes",
    "categories_segments",
    "categories_sizes",
    "default_left",
    "id",
    "leaf_child_counts",
    "left_children",
    "loss_changes",
    "parents",
    "right_children",
    "split_conditions",
    "split_indices",
    "split_type",
    "sum_hessian",
    "tree_param",
];

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Split {
    /// Left if `value < threshold`.
    Below(f32),
    /// Right if the value is one of these (sorted).
    In(Vec<u32>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Leaf(f32),
    /// The right child stands behind the left one.
    Branch {
        feature: u32,
        split: Split,
        missing_right: bool,
        left: u32,
    },
}

/// `steps[0]` is the root; `cover[i]` is the training weight (sum of Hessians) that reached `steps[i]`.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub steps: Vec<Step>,
    pub cover: Vec<f32>,
    pub depth: usize,
}

/// The columns of a tree as they are in the file.
struct Columns {
    left: Vec<i64>,
    right: Vec<i64>,
    feature: Vec<i64>,
    threshold: Vec<f32>,
    missing_left: Vec<bool>,
    cover: Vec<f32>,
    categorical: Vec<i64>,
}

impl Tree {
    pub fn read(view: &View, feature_count: usize) -> Result<Tree, ModelError> {
        view.only(&TREE_FIELDS)?;
        let columns = Columns::read(view)?;
        let categories = read_categories(view, columns.left.len())?;
        let mut tree = Tree { steps: Vec::new(), cover: Vec::new(), depth: 0 };
        let mut seen = vec![false; columns.left.len()];
        let mut level = vec![0_usize];
        while !level.is_empty() {
            if tree.depth > TREE_DEPTH_MAX {
                return Err(view.error(format!("deeper than {TREE_DEPTH_MAX} levels")));
            }
            let mut next = Vec::new();
            // Children of this level start behind it.
            let first_child = tree.steps.len() + level.len();
            for node in level {
                if std::mem::replace(&mut seen[node], true) {
                    return Err(view.error(format!("node {node} is reached twice")));
                }
                let left = first_child + next.len();
                let step = columns.step(view, node, left as u32, feature_count, &categories)?;
                if let Step::Branch { .. } = step {
                    next.extend(columns.children(view, node)?);
                }
                tree.steps.push(step);
                tree.cover.push(columns.cover[node]);
            }
            tree.depth += usize::from(!next.is_empty());
            level = next;
        }
        Ok(tree)
    }
}

impl Columns {
    fn read(view: &View) -> Result<Self, ModelError> {
        let parameters = view.field("tree_param")?;
        parameters.only(&["num_deleted", "num_feature", "num_nodes", "num_roots", "size_leaf_vector"])?;
        if let Some(size) = parameters.optional("size_leaf_vector")?
            && size.parameter::<u32>()? > 1
        {
            return Err(ModelError::unsupported(
                size.place(),
                "a vector in each leaf",
                "one value in each leaf",
            ));
        }
        let left = view.field("left_children")?.integers()?;
        let split_type = view.optional("split_type")?;
        let columns = Columns {
            right: view.field("right_children")?.integers()?,
            feature: view.field("split_indices")?.integers()?,
            threshold: view.field("split_conditions")?.floats()?,
            missing_left: view.field("default_left")?.flags()?,
            cover: view.field("sum_hessian")?.floats()?,
            // Before 1.2 there were no categories.
            categorical: split_type.map_or_else(|| Ok(vec![0; left.len()]), |split| split.integers())?,
            left,
        };
        let lengths = [
            columns.right.len(),
            columns.feature.len(),
            columns.threshold.len(),
            columns.missing_left.len(),
            columns.cover.len(),
            columns.categorical.len(),
        ];
        let count = columns.left.len();
        if count == 0 || count > NODES_MAX || lengths.iter().any(|length| *length != count) {
            return Err(view
                .error(format!("columns of {count} and {lengths:?} nodes; one length of 1 to {NODES_MAX}")));
        }
        Ok(columns)
    }

    fn step(
        &self,
        view: &View,
        node: usize,
        left: u32,
        feature_count: usize,
        categories: &[Option<Vec<u32>>],
    ) -> Result<Step, ModelError> {
        let threshold = self.threshold[node];
        if self.left[node] == -1 {
            return if threshold.is_finite() {
                Ok(Step::Leaf(threshold))
            } else {
                Err(view.error(format!("the leaf of node {node} is {threshold}")))
            };
        }
        let feature = match u32::try_from(self.feature[node]) {
            Ok(feature) if (feature as usize) < feature_count => feature,
            _ => return Err(view.error(format!("node {node} splits feature {}", self.feature[node]))),
        };
        let split = match (self.categorical[node], &categories[node]) {
            (0, None) if !threshold.is_nan() => Split::Below(threshold),
            (0, None) => return Err(view.error(format!("the threshold of node {node} is no number"))),
            (1, Some(set)) => Split::In(set.clone()),
            (kind, set) => {
                let count = set.as_ref().map_or(0, Vec::len);
                return Err(view.error(format!("node {node} has split type {kind} and {count} categories")));
            }
        };
        Ok(Step::Branch { feature, split, missing_right: !self.missing_left[node], left })
    }

    fn children(&self, view: &View, node: usize) -> Result<[usize; 2], ModelError> {
        let child = |index: i64| match usize::try_from(index) {
            Ok(child) if child < self.left.len() => Ok(child),
            _ => Err(view.error(format!("node {node} has child {index} of {} nodes", self.left.len()))),
        };
        Ok([child(self.left[node])?, child(self.right[node])?])
    }
}

/// For each node the categories that go right, where it has some.
fn read_categories(view: &View, count: usize) -> Result<Vec<Option<Vec<u32>>>, ModelError> {
    let mut of_node = vec![None; count];
    let column = |name: &str| match view.optional(name)? {
        Some(list) => list.integers(),
        None => Ok(Vec::new()),
    };
    let all = column("categories")?;
    let (nodes, starts, sizes) =
        (column("categories_nodes")?, column("categories_segments")?, column("categories_sizes")?);
    if nodes.len() != starts.len() || nodes.len() != sizes.len() {
        return Err(view.error("category columns of different lengths"));
    }
    let mut used = 0;
    for ((node, start), size) in nodes.iter().zip(&starts).zip(&sizes) {
        let range = usize::try_from(*start).ok().zip(usize::try_from(*size).ok());
        let found = range.and_then(|(start, size)| all.get(start..start.checked_add(size)?));
        let slot = usize::try_from(*node).ok().and_then(|node| of_node.get_mut(node));
        let (Some(found), Some(slot)) = (found, slot) else {
            return Err(view.error(format!("categories of node {node} are out of range")));
        };
        used += found.len();
        if slot.is_some() || used > all.len() {
            return Err(view.error(format!("categories of node {node} are used twice")));
        }
        if let Some(bad) = found.iter().find(|category| !(0..CATEGORY_MAX).contains(*category)) {
            return Err(view.error(format!("category {bad} of node {node} is outside 0 to {CATEGORY_MAX}")));
        }
        let mut set: Vec<u32> = found.iter().map(|category| *category as u32).collect();
        set.sort_unstable();
        *slot = Some(set);
    }
    Ok(of_node)
}
