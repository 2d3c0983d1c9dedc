use ml_scoring::Scorer;

use crate::config::Scoring;
use crate::models;

/// Rules first, then models, in the order of the configuration.
pub fn make(scoring: &Scoring) -> anyhow::Result<Vec<Scorer>> {
    // The configuration knows no other rule.
    let rules = scoring.rules.iter().map(|_| Ok(Scorer::news2()));
    rules.chain(scoring.models.iter().map(|folder| models::scorer(folder))).collect()
}
