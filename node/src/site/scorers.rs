use anyhow::Context;
use ml_scoring::{Bedside, Scorer};

use crate::config::Scoring;
use crate::models;

/// Those that alert (rules first, then models) and those in shadow, in the order of the configuration.
pub fn make(scoring: &Scoring) -> anyhow::Result<(Vec<Scorer>, Vec<Scorer>)> {
    let rules = scoring.rules.iter().map(|name| {
        let score = Bedside::from_name(name).with_context(|| format!("no rule `{name}` in this build"))?;
        Ok(Scorer::bedside(score))
    });
    let live = rules.chain(scoring.models.iter().map(|folder| models::scorer(folder)));
    let shadow = scoring.shadow_models.iter().map(|folder| models::scorer(folder));
    Ok((live.collect::<Result<_, _>>()?, shadow.collect::<Result<_, _>>()?))
}
