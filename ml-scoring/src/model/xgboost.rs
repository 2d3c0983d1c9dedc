//! XGBoost's own model files, 1.0 to 3.x, as `save_model` writes them.
//!
//! What is not known here is refused by name: a score that is nearly right is worse than none.
//! Exceptions: `attributes` and the parameters of the objective, which say how the model was trained.

use super::document::{Document, View};
use super::ensemble::{Ensemble, Parts};
use super::objective::Objective;
use super::tree::{NODES_MAX, Tree};
use super::{ModelError, json, ubjson};

const FILE_BYTES_MAX: usize = 64 << 20;
const FEATURES_MAX: usize = 1 << 16;
const CLASSES_MAX: usize = 1_000;

/// Reads `model.json` or `model.ubj`; the name's ending says which it is.
pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Ensemble, ModelError> {
    if bytes.len() > FILE_BYTES_MAX {
        let what = format!("{file} has {} bytes, more than {FILE_BYTES_MAX}", bytes.len());
        return Err(ModelError::Files(what));
    }
    let document = match file.rsplit('.').next() {
        Some("json") => json::read(file, bytes)?,
        Some("ubj") => ubjson::read(file, bytes)?,
        _ => return Err(ModelError::unsupported(file, "the file type", "model.json, model.ubj")),
    };
    read_document(&document)
}

fn read_document(document: &Document) -> Result<Ensemble, ModelError> {
    let root = View::root(document);
    // Written by `Booster.save_config` and by pickles, beside the model.
    root.only(&["learner", "version"])?;
    let version = read_version(&root.field("version")?)?;
    let learner = root.field("learner")?;
    learner.only(&[
        "attributes",
        "feature_names",
        "feature_types",
        "gradient_booster",
        "learner_model_param",
        "objective",
    ])?;
    let name = learner.field("objective")?.field("name")?;
    let objective = Objective::named(name.text()?, name.place())?;
    let parameters = Parameters::read(&learner.field("learner_model_param")?, objective)?;
    let feature_names = match learner.optional("feature_names")? {
        Some(names) => names.texts()?,
        None => Vec::new(),
    };
    if !feature_names.is_empty() && feature_names.len() != parameters.feature_count {
        let what = format!("{} names for {} features", feature_names.len(), parameters.feature_count);
        return Err(learner.error(what));
    }
    let booster = Booster::read(&learner.field("gradient_booster")?, &parameters)?;
    let used = trees_in_use(&learner, &booster, parameters.base_scores.len())?;
    // Until 1.2 the raw scores, too, began at the log-odds of `base_score`.
    let base_space = match objective {
        Objective::LogitRaw if version < (1, 3) => Objective::Logistic,
        _ => objective,
    };
    let base_margins = base_margins(&learner, base_space, &parameters.base_scores)?;
    let unused_trees = booster.trees.len() - used;
    let trees = booster.trees.into_iter().take(used).collect();
    let groups = booster.groups.into_iter().take(used).collect();
    let feature_count = parameters.feature_count;
    Ok(Ensemble::new(Parts {
        feature_count,
        feature_names,
        objective,
        base_margins,
        trees,
        unused_trees,
        groups,
    }))
}

/// Major and minor version of the library that wrote the file.
fn read_version(version: &View) -> Result<(i64, i64), ModelError> {
    let numbers = version.integers()?;
    match numbers.as_slice() {
        [major @ 1..=3, minor, _] => Ok((*major, *minor)),
        _ => Err(ModelError::unsupported(version.place(), &format!("XGBoost {numbers:?}"), "1.0 to 3.x")),
    }
}

struct Parameters {
    feature_count: usize,
    /// As written, one for each class (one where there are no classes).
    base_scores: Vec<f32>,
}

impl Parameters {
    fn read(view: &View, objective: Objective) -> Result<Self, ModelError> {
        view.only(&["base_score", "boost_from_average", "num_class", "num_feature", "num_target"])?;
        let feature_count: usize = view.field("num_feature")?.parameter()?;
        if feature_count == 0 || feature_count > FEATURES_MAX {
            return Err(view.error(format!("num_feature is {feature_count}, outside 1 to {FEATURES_MAX}")));
        }
        if let Some(targets) = view.optional("num_target")?
            && targets.parameter::<u32>()? > 1
        {
            return Err(ModelError::unsupported(targets.place(), "more than one target", "num_target 1"));
        }
        let classes = view.field("num_class")?.parameter::<usize>()?;
        let fits = if objective.multiclass() { (2..=CLASSES_MAX).contains(&classes) } else { classes <= 1 };
        if !fits {
            return Err(view.error(format!("num_class {classes} does not fit the objective {objective:?}")));
        }
        let base_scores = read_base_scores(&view.field("base_score")?, classes.max(1))?;
        Ok(Parameters { feature_count, base_scores })
    }
}

/// `0.500000` (1.0), `5E-1` (to 3.0) or `[5E-1]` and one a class (since 3.1).
fn read_base_scores(view: &View, groups: usize) -> Result<Vec<f32>, ModelError> {
    let text = view.text()?.trim();
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let parsed: Result<Vec<f32>, _> = inner.split(',').map(|part| part.trim().parse()).collect();
    match parsed {
        Ok(scores) if scores.len() == groups => Ok(scores),
        Ok(scores) if scores.len() == 1 => Ok(vec![scores[0]; groups]),
        Ok(scores) => Err(view.error(format!("{} values for {groups} classes", scores.len()))),
        Err(_) => Err(view.error("neither a number nor a list of numbers")),
    }
}

fn base_margins(learner: &View, objective: Objective, scores: &[f32]) -> Result<Vec<f32>, ModelError> {
    let margin = |score: &f32| {
        let margin = objective.base_margin(*score);
        margin.ok_or_else(|| learner.error(format!("base_score {score} has no margin for {objective:?}")))
    };
    scores.iter().map(margin).collect()
}

struct Booster {
    trees: Vec<Tree>,
    /// The class of each tree, 0 where there are none.
    groups: Vec<u32>,
    /// Where each round's trees begin (since 2.0), else the number of trees a class and round.
    rounds: Option<Vec<i64>>,
    parallel_trees: usize,
}

impl Booster {
    fn read(view: &View, parameters: &Parameters) -> Result<Self, ModelError> {
        let name = view.field("name")?;
        if name.text()? != "gbtree" {
            return Err(ModelError::unsupported(name.place(), name.text()?, "gbtree"));
        }
        view.only(&["model", "name"])?;
        let model = view.field("model")?;
        model.only(&["cats", "gbtree_model_param", "iteration_indptr", "tree_info", "trees"])?;
        if let Some(cats) = model.optional("cats")? {
            // How a data frame's categories were numbered: the splits already hold the numbers.
            cats.only(&["enc", "feature_segments", "sorted_idx"])?;
        }
        let sizes = model.field("gbtree_model_param")?;
        sizes.only(&["num_parallel_tree", "num_trees", "size_leaf_vector"])?;
        let parallel_trees = match sizes.optional("num_parallel_tree")? {
            Some(count) => count.parameter()?,
            None => 1,
        };
        let trees = read_trees(&model.field("trees")?, parameters.feature_count)?;
        let count: usize = sizes.field("num_trees")?.parameter()?;
        let groups = read_groups(&model.field("tree_info")?, parameters.base_scores.len())?;
        if count != trees.len() || groups.len() != trees.len() {
            let what = format!("num_trees {count}, {} trees, {} in tree_info", trees.len(), groups.len());
            return Err(model.error(what));
        }
        let rounds = model.optional("iteration_indptr")?.map(|list| list.integers()).transpose()?;
        Ok(Booster { trees, groups, rounds, parallel_trees })
    }
}

fn read_trees(view: &View, feature_count: usize) -> Result<Vec<Tree>, ModelError> {
    let mut nodes = 0;
    let mut trees = Vec::new();
    for item in view.items()? {
        let tree = Tree::read(&item, feature_count)?;
        nodes += tree.steps.len();
        if nodes > NODES_MAX {
            return Err(item.error(format!("more than {NODES_MAX} nodes in all")));
        }
        trees.push(tree);
    }
    Ok(trees)
}

fn read_groups(view: &View, groups: usize) -> Result<Vec<u32>, ModelError> {
    let group = |value: i64| match u32::try_from(value) {
        Ok(group) if (group as usize) < groups => Ok(group),
        _ => Err(view.error(format!("class {value} of {groups}"))),
    };
    view.integers()?.into_iter().map(group).collect()
}

/// After early stopping the rounds behind the best one are no part of the model: `best_iteration` is the last that
/// counts, as for XGBoost's scikit-learn interface.
fn trees_in_use(learner: &View, booster: &Booster, groups: usize) -> Result<usize, ModelError> {
    let best = match learner.optional("attributes")? {
        Some(attributes) => attributes.optional("best_iteration")?,
        None => None,
    };
    let Some(best) = best else { return Ok(booster.trees.len()) };
    let round: usize = best.parameter()?;
    let end = match &booster.rounds {
        Some(starts) => starts.get(round.saturating_add(1)).and_then(|end| usize::try_from(*end).ok()),
        None => booster.parallel_trees.checked_mul(groups).and_then(|n| n.checked_mul(round.checked_add(1)?)),
    };
    match end {
        Some(end) if end <= booster.trees.len() => Ok(end),
        _ => Err(best.error(format!("round {round} is not among the {} trees", booster.trees.len()))),
    }
}
