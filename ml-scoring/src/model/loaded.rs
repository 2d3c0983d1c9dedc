//! A model with its card and golden rows, as it stands in a model directory.

use sha2::{Digest, Sha256};

use super::objective::sigmoid;
use super::{Card, Ensemble, Golden, ModelError, Objective};

/// A checked model: one that reads, fits its card and reproduces its golden rows.
#[derive(Clone, Debug)]
pub struct Model {
    ensemble: Ensemble,
    card: Card,
    hash: [u8; 32],
}

impl Model {
    /// Takes the files of a model directory as (name, bytes): `model.json` or `model.ubj`, `card.json`, `golden.json`;
    /// others are left alone.
    pub fn load(files: &[(&str, &[u8])]) -> Result<Model, ModelError> {
        let one = |names: &[&str]| {
            let found: Vec<_> = files.iter().filter(|(name, _)| names.contains(name)).collect();
            match found.as_slice() {
                [file] => Ok(**file),
                found => {
                    Err(ModelError::Files(format!("{} files named {}; one", found.len(), names.join(" or "))))
                }
            }
        };
        let (model, card, golden) =
            (one(&["model.json", "model.ubj"])?, one(&["card.json"])?, one(&["golden.json"])?);
        let ensemble = Ensemble::read(model.0, model.1)?;
        if !matches!(ensemble.objective(), Objective::Logistic | Objective::LogitRaw)
            || ensemble.group_count() != 1
        {
            return Err(ModelError::unsupported(
                "learner.objective",
                &format!("{:?}", ensemble.objective()),
                "one probability a row: binary:logistic, reg:logistic, binary:logitraw",
            ));
        }
        let model_hash = hash([model, card, golden]);
        let card = Card::read(card.1)?;
        check_features(&ensemble, &card)?;
        Golden::read(golden.1)?.check(&ensemble)?;
        Ok(Model { ensemble, card, hash: model_hash })
    }

    pub fn card(&self) -> &Card {
        &self.card
    }

    /// SHA-256 of what `sha256sum card.json golden.json model.ubj` prints in the model's directory.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The watch list begins at `risk >= threshold`.
    pub fn threshold(&self) -> f64 {
        self.card.threshold.value
    }

    /// An alert may interrupt at `risk >= interruptive_threshold`, which is at least [`Self::threshold`].
    pub fn interruptive_threshold(&self) -> f64 {
        self.card.interruptive_threshold.value
    }

    /// In the order in which a row holds them.
    pub fn feature_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.card.features.iter().map(|feature| feature.name.as_str())
    }

    /// For each of the model's features its place among `names`.
    pub fn columns_in<S: AsRef<str>>(&self, names: &[S]) -> Result<Vec<usize>, ModelError> {
        let place = |feature: &str| {
            let found = names.iter().position(|name| name.as_ref() == feature);
            found.ok_or_else(|| ModelError::UnknownFeature(feature.to_owned()))
        };
        self.feature_names().map(place).collect()
    }

    /// Calibrated risk, 0 to 1. NaN in `row` is missing. Errs only when the row is of another length.
    pub fn score(&self, row: &[f32]) -> Result<f64, ModelError> {
        Ok(self.risk(self.ensemble.margins(row)?[0]))
    }

    /// Like [`Self::score`] for rows that stand one behind the other.
    pub fn score_rows(&self, rows: &[f32]) -> Result<Vec<f64>, ModelError> {
        let margins = self.ensemble.margins_of_rows(rows)?;
        Ok(margins.into_iter().map(|margin| self.risk(margin)).collect())
    }

    /// The sum of the leaves and the base, in log-odds, before calibration.
    pub fn margin(&self, row: &[f32]) -> Result<f64, ModelError> {
        Ok(f64::from(self.ensemble.margins(row)?[0]))
    }

    /// Exact TreeSHAP: one value a feature and the bias last, in log-odds; they add up to the margin within 1e-5.
    pub fn explain(&self, row: &[f32]) -> Result<Vec<f64>, ModelError> {
        self.ensemble.contributions(row)
    }

    fn risk(&self, margin: f32) -> f64 {
        self.card.calibration.risk(f64::from(margin), f64::from(sigmoid(margin)))
    }
}

fn check_features(ensemble: &Ensemble, card: &Card) -> Result<(), ModelError> {
    if card.features.len() != ensemble.feature_count() {
        let (named, taken) = (card.features.len(), ensemble.feature_count());
        return Err(ModelError::Card(format!("{named} features, the model takes {taken}")));
    }
    for (i, feature) in card.features.iter().enumerate() {
        if card.features[..i].iter().any(|earlier| earlier.name == feature.name) {
            return Err(ModelError::Card(format!("feature {:?} twice", feature.name)));
        }
        if let Some(name) = ensemble.feature_names().get(i)
            && *name != feature.name
        {
            let what = format!("feature {i} is {:?}, in the model file {name:?}", feature.name);
            return Err(ModelError::Card(what));
        }
    }
    Ok(())
}

fn hash(mut files: [(&str, &[u8]); 3]) -> [u8; 32] {
    files.sort_by_key(|(name, _)| *name);
    let mut listing = Sha256::new();
    for (name, bytes) in files {
        listing.update(format!("{}  {name}\n", hex::encode(Sha256::digest(bytes))));
    }
    listing.finalize().into()
}
