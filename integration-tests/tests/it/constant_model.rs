//! The model and not a rule fires: the same messages alert with the sepsis model and stay silent with a model that
//! says the same low risk about everybody.

use std::path::Path;
use std::time::Duration;

use integration_tests::{Listing, Site, SiteOptions, eventually, medulla, workspace_root};
use ml_scoring::{Golden, GoldenRow};
use serde_json::{Value, json};

/// Log-odds of the constant model: p = 0.0067, below the sepsis model's threshold.
const MARGIN: f32 = -5.0;

#[tokio::test]
async fn a_constant_model_alerts_nobody() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("traffic.hl7");
    let target = file.display().to_string();
    medulla(&["simulate", "--to", &target, "--patients", "25", "--septic", "0.5", "--seed", "3"])?;
    let sepsis = workspace_root().join("ml-scoring/models/sepsis");
    let constant = folder.path().join("constant");
    write_constant_model(&sepsis, &constant)?;

    let (alerts, scores) = play(&folder.path().join("a"), &sepsis, &file).await?;
    let (silent, same_scores) = play(&folder.path().join("b"), &constant, &file).await?;
    println!("{alerts} alerts of {scores} scores with the sepsis model, {silent} with the constant one");
    assert!(alerts > 0, "the sepsis model must have something to say");
    assert_eq!(silent, 0);
    assert_eq!(scores, same_scores, "both models were asked the same");
    assert!(scores > 0.0);
    Ok(())
}

/// Alerts and scores that one site with this model makes of the file's messages.
async fn play(folder: &Path, model: &Path, file: &Path) -> anyhow::Result<(usize, f64)> {
    std::fs::create_dir(folder)?;
    let scoring = format!("[scoring]\nrules = []\nmodels = [{:?}]\n", model.display().to_string());
    let mut site = Site::alone(folder, &SiteOptions { scoring, ..SiteOptions::default() }).await?;
    let address = format!("127.0.0.1:{}", site.mllp);
    // Exits with 1 because some messages are broken and refused.
    integration_tests::run(&["send", &file.display().to_string(), "--to", &address, "--json"])?;
    // Ends when the pipeline has scored everything that was in the ledger before it.
    let caught_up = eventually("scores of all messages", Duration::from_secs(60), async || {
        let before = scores(&site).await.ok().filter(|scores| *scores > 0.0)?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        (scores(&site).await.ok()? == before).then_some(before)
    });
    let scores = caught_up.await?;
    let alerts = Listing::of(&site).await?.of_kind("alert", "a").count();
    site.stop()?;
    Ok((alerts, scores))
}

async fn scores(site: &Site) -> anyhow::Result<f64> {
    let text = site.text("/metrics").await?;
    let samples = text.lines().filter(|line| line.starts_with("medulla_scores_total"));
    Ok(samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// One tree of one leaf, over the same columns and with the same thresholds as the sepsis model.
fn write_constant_model(like: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut card: Value = serde_json::from_slice(&std::fs::read(like.join("card.json"))?)?;
    let columns = card["features"].as_array().map_or(0, Vec::len);
    card["name"] = json!("constant");
    card["calibration"] = json!({ "method": "none" });
    let tree = json!({
        "base_weights": [0.0], "categories": [], "categories_nodes": [], "categories_segments": [],
        "categories_sizes": [], "default_left": [0], "id": 0, "left_children": [-1], "loss_changes": [0.0],
        "parents": [2_147_483_647], "right_children": [-1], "split_conditions": [0.0], "split_indices": [0],
        "split_type": [0], "sum_hessian": [1.0],
        "tree_param": {
            "num_deleted": "0", "num_feature": columns.to_string(), "num_nodes": "1", "size_leaf_vector": "1"
        }
    });
    let probability = 1.0 / (1.0 + (-MARGIN).exp());
    let model = json!({
        "learner": {
            "attributes": {}, "feature_names": [], "feature_types": [],
            "gradient_booster": { "name": "gbtree", "model": {
                "gbtree_model_param": { "num_parallel_tree": "1", "num_trees": "1" },
                "iteration_indptr": [0, 1], "tree_info": [0], "trees": [tree]
            } },
            "learner_model_param": {
                "base_score": format!("[{probability:E}]"), "boost_from_average": "0", "num_class": "0",
                "num_feature": columns.to_string(), "num_target": "1"
            },
            "objective": { "name": "binary:logistic", "reg_loss_param": { "scale_pos_weight": "1" } }
        },
        "version": [3, 0, 0]
    });
    let mut contributions = vec![0.0; columns];
    contributions.push(MARGIN);
    let row = GoldenRow { features: vec![None; columns], margin: MARGIN, probability, contributions };
    let golden = Golden { made_by: "by hand: one leaf".into(), rows: vec![row] };
    std::fs::create_dir(folder)?;
    std::fs::write(folder.join("model.json"), model.to_string())?;
    std::fs::write(folder.join("card.json"), card.to_string())?;
    std::fs::write(folder.join("golden.json"), serde_json::to_string(&golden)?)?;
    Ok(())
}
