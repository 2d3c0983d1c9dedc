use anyhow::Context;
use ml_scoring::{Bedside, Scorer};

use crate::config::Scoring;
use crate::models;

/// Rules first, then models, in the order of the configuration.
pub fn make(scoring: &Scoring) -> anyhow::Result<Vec<Scorer>> {
    let rules = scoring.rules.iter().map(|name| {
        let score = Bedside::from_name(name).with_context(|| format!("no rule `{name}` in this build"))?;
        Ok(Scorer::bedside(score))
    });
    rules.chain(scoring.models.iter().map(|folder| models::scorer(folder))).collect()
}
