//! Several boosters as one model file whose margin is the mean of theirs: every tree with its leaves divided by the
//! number of boosters.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The model of `base` with the mean of so many boosters added to its margin; one without a file adds nothing. `base` keeps
/// its own base score; the boosters were trained from its margins, so theirs plays no part.
pub(super) fn onto(base: &[u8], files: &[Vec<u8>], boosters: usize) -> Result<Vec<u8>> {
    let mut merged: Value = serde_json::from_slice(base).context("the model's file")?;
    let mut all = trees(&mut merged)?;
    for file in files {
        let mut document = serde_json::from_slice(file).context("a member's file")?;
        let mut more = trees(&mut document)?;
        for tree in &mut more {
            scale(tree, 1.0 / boosters as f32)?;
        }
        all.append(&mut more);
    }
    assemble(merged, all)
}

/// The same model with that share of its trees' weight; its base score stays.
pub(super) fn scaled(file: &[u8], share: f32) -> Result<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(file).context("the model's file")?;
    let mut trees = trees(&mut document)?;
    trees.iter_mut().try_for_each(|tree| scale(tree, share))?;
    assemble(document, trees)
}

/// Takes and gives JSON model files of one libxgboost, with the same features and the same `base_score`.
pub(super) fn mean(files: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut documents =
        files.iter().map(|file| serde_json::from_slice::<Value>(file).context("a member's file"));
    let mut merged = documents.next().context("no member to merge")??;
    let share = 1.0 / files.len() as f32;
    let base = base_score(&merged).clone();
    let mut trees = trees(&mut merged)?;
    for document in documents {
        let mut document = document?;
        ensure!(*base_score(&document) == base, "the members begin at different base scores");
        trees.append(&mut self::trees(&mut document)?);
    }
    for tree in &mut trees {
        scale(tree, share)?;
    }
    assemble(merged, trees)
}

fn assemble(mut merged: Value, mut trees: Vec<Value>) -> Result<Vec<u8>> {
    for (id, tree) in trees.iter_mut().enumerate() {
        tree["id"] = json!(id);
    }
    // How many rounds were the best is a word about fewer trees than these.
    merged["learner"]["attributes"] = json!({});
    let model = &mut merged["learner"]["gradient_booster"]["model"];
    model["gbtree_model_param"]["num_trees"] = json!(trees.len().to_string());
    model["iteration_indptr"] = (0..=trees.len()).collect();
    model["tree_info"] = json!(vec![0; trees.len()]);
    model["trees"] = Value::Array(trees);
    Ok(serde_json::to_vec(&merged)?)
}

fn base_score(document: &Value) -> &Value {
    &document["learner"]["learner_model_param"]["base_score"]
}

fn trees(document: &mut Value) -> Result<Vec<Value>> {
    match document["learner"]["gradient_booster"]["model"]["trees"].take() {
        Value::Array(trees) => Ok(trees),
        _ => anyhow::bail!("a member's file has no trees"),
    }
}

/// A leaf's value stands where the others have their threshold.
fn scale(tree: &mut Value, share: f32) -> Result<()> {
    let is_leaf: Vec<bool> = tree["left_children"]
        .as_array()
        .context("a tree has no children")?
        .iter()
        .map(|child| child.as_i64() == Some(-1))
        .collect();
    for name in ["split_conditions", "base_weights"] {
        let numbers = tree[name].as_array_mut().with_context(|| format!("a tree has no {name}"))?;
        for (number, is_leaf) in numbers.iter_mut().zip(&is_leaf) {
            if *is_leaf || name == "base_weights" {
                *number = json!(number.as_f64().context("a number")? as f32 * share);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: f64 = 7.5;

    /// A stump with these leaves.
    fn file(leaves: [f64; 2]) -> Vec<u8> {
        let tree = json!({
            "id": 0,
            "left_children": [1, -1, -1],
            "split_conditions": [THRESHOLD, leaves[0], leaves[1]],
            "base_weights": [0.5, leaves[0], leaves[1]],
        });
        let model = json!({ "gbtree_model_param": { "num_trees": "1" }, "trees": [tree] });
        let learner = json!({
            "learner_model_param": { "base_score": "2.5E-1" },
            "gradient_booster": { "model": model },
        });
        serde_json::to_vec(&json!({ "learner": learner })).unwrap()
    }

    fn stumps(file: &[u8]) -> Vec<Value> {
        let mut document: Value = serde_json::from_slice(file).unwrap();
        assert_eq!(*base_score(&document), "2.5E-1");
        let trees = trees(&mut document).unwrap();
        let number = &document["learner"]["gradient_booster"]["model"]["gbtree_model_param"]["num_trees"];
        assert_eq!(*number, trees.len().to_string());
        trees.iter().map(|tree| tree["split_conditions"].clone()).collect()
    }

    #[test]
    fn a_share_of_the_weight_is_one_of_the_leaves_alone() {
        let half = scaled(&file([1.0, -3.0]), 0.5).unwrap();
        assert_eq!(stumps(&half), [json!([THRESHOLD, 0.5, -1.5])]);
    }

    #[test]
    fn the_mean_of_boosters_is_added_to_a_model_as_it_is() {
        let model = file([1.0, -3.0]);
        let merged = onto(&model, &[file([2.0, 4.0]), file([6.0, 8.0])], 2).unwrap();
        let expected =
            [[1.0, -3.0], [1.0, 2.0], [3.0, 4.0]].map(|[left, right]| json!([THRESHOLD, left, right]));
        assert_eq!(stumps(&merged), expected);
        assert_eq!(stumps(&onto(&model, &[], 2).unwrap()), stumps(&model), "no round was any good");
        let halves = stumps(&onto(&model, &[file([2.0, 4.0])], 2).unwrap());
        assert_eq!(halves[1], json!([THRESHOLD, 1.0, 2.0]), "of one of two boosters none was");
    }

    #[test]
    fn boosters_alone_are_merged_to_their_mean() {
        let merged = mean(&[file([2.0, 4.0]), file([6.0, 8.0])]).unwrap();
        assert_eq!(stumps(&merged), [json!([THRESHOLD, 1.0, 2.0]), json!([THRESHOLD, 3.0, 4.0])]);
    }
}
