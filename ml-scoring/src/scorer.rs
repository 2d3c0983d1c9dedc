//! Scorers: a rule, or a model with its card.

use clinical::{PatientState, Time};

use crate::bedside::Bedside;
use crate::eval::{Hour, Prediction, Predictor};
use crate::features::{self, Features, Group};
use crate::{Assessment, Card, Contribution, Insufficient, Model, ModelError, Setting, Thresholds};

/// Judges a patient at a time. Cheap to share: it holds no state of patients.
pub struct Scorer(Inner);

enum Inner {
    Bedside(Bedside),
    Model {
        model: Box<Model>,
        /// For each of the model's features its index in [`features::NAMES`].
        columns: Vec<usize>,
    },
}

impl Scorer {
    /// A bedside score. Its "risk" is the total as a share of the highest one, with NEWS2's single parameter in the red
    /// counted like the total that asks for the same response.
    pub fn bedside(score: Bedside) -> Scorer {
        Scorer(Inner::Bedside(score))
    }

    pub fn news2() -> Scorer {
        Scorer::bedside(Bedside::News2)
    }

    /// The rule that alerts cite by this hash, also where it is an earlier release's; a rule needs no file.
    pub fn rule(hash: &[u8; 32]) -> Option<Scorer> {
        Bedside::from_hash(hash).map(Scorer::bedside)
    }

    /// Errs when the model is not for the stream or asks for a feature that this release does not compute.
    pub fn model(model: Model) -> Result<Scorer, ModelError> {
        let card = model.card();
        if card.setting == Some(Setting::EndOfHour48) {
            return Err(ModelError::NotForStream { name: card.name.clone(), task: card.task.clone() });
        }
        let columns = model.columns_in(&features::NAMES)?;
        Ok(Scorer(Inner::Model { model: Box::new(model), columns }))
    }

    pub fn name(&self) -> &str {
        match &self.0 {
            Inner::Bedside(score) => score.name(),
            Inner::Model { model, .. } => &model.card().name,
        }
    }

    pub fn task(&self) -> &str {
        match &self.0 {
            Inner::Bedside(score) => score.task(),
            Inner::Model { model, .. } => &model.card().task,
        }
    }

    pub fn hash(&self) -> [u8; 32] {
        match &self.0 {
            Inner::Bedside(score) => score.hash(),
            Inner::Model { model, .. } => model.hash(),
        }
    }

    /// Its own: a site may have set others.
    pub fn thresholds(&self) -> Thresholds {
        match &self.0 {
            Inner::Bedside(score) => of_rule(*score),
            Inner::Model { model, .. } => {
                Thresholds { watch: model.threshold(), interruptive: model.interruptive_threshold() }
            }
        }
    }

    /// A model's card; rules have none.
    pub fn card(&self) -> Option<&Card> {
        match &self.0 {
            Inner::Bedside(_) => None,
            Inner::Model { model, .. } => Some(model.card()),
        }
    }

    /// The risk without its reasons: for every event.
    pub fn score(&self, state: &PatientState, at: Time) -> Assessment {
        self.judge(state, at, false)
    }

    /// The risk with its reasons: for alerts and for people who look. TreeSHAP makes it the dearer one.
    pub fn assess(&self, state: &PatientState, at: Time) -> Assessment {
        self.judge(state, at, true)
    }

    fn judge(&self, state: &PatientState, at: Time, explained: bool) -> Assessment {
        let assessment = Assessment {
            scorer: self.name().to_owned(),
            task: self.task().to_owned(),
            model_hash: self.hash(),
            ..Assessment::default()
        }
        .at_thresholds(self.thresholds());
        match &self.0 {
            Inner::Bedside(score) => of_bedside(assessment, *score, state, at),
            Inner::Model { model, columns } => of_model(assessment, model, columns, state, at, explained),
        }
    }
}

fn of_rule(rule: Bedside) -> Thresholds {
    let share = |total: u8| rule.share(f64::from(total));
    Thresholds {
        watch: share(rule.watch()),
        interruptive: rule.interruptive().map_or(Thresholds::NEVER, share),
    }
}

fn of_bedside(mut assessment: Assessment, rule: Bedside, state: &PatientState, at: Time) -> Assessment {
    let Some(score) = rule.score(state, at) else {
        assessment.insufficient = Some(match rule.is_for(state) {
            true => Insufficient::TooFewMeasurements,
            false => Insufficient::NotAnAdult,
        });
        return assessment;
    };
    assessment.risk = Some(rule.share(f64::from(score.level)));
    assessment.total = Some(score.total);
    let parts = score.parts.into_iter().map(|part| Contribution {
        feature: part.name.to_owned(),
        value: f64::from(part.value),
        weight: f64::from(part.points),
        group: Group::Physiology,
        words: part.words,
    });
    assessment.contributions = strongest_first(parts.collect());
    assessment
}

fn of_model(
    mut assessment: Assessment,
    model: &Model,
    columns: &[usize],
    state: &PatientState,
    at: Time,
    explained: bool,
) -> Assessment {
    if model.card().setting == Some(Setting::IntensiveCare) && !state.stay().in_icu(at) {
        assessment.insufficient = Some(Insufficient::NotInIntensiveCare);
        return assessment;
    }
    if !model.card().is_for(state.age_years()) {
        assessment.insufficient = Some(Insufficient::NotAnAdult);
        return assessment;
    }
    let features = Features::from_state(state, at);
    if !features.sufficient() {
        assessment.insufficient = Some(Insufficient::TooFewMeasurements);
        return assessment;
    }
    let row = row_of(columns, &features);
    // A row of the model's own length is never refused; were it, no risk would be the honest answer.
    assessment.risk = model.score(&row).ok();
    if explained && let Ok(weights) = model.explain(&row) {
        let all = columns
            .iter()
            .zip(&weights)
            .filter_map(|(index, weight)| contribution(*index, *weight, &features));
        assessment.contributions = strongest_first(all.collect());
        assessment.rests_on_care_process = assessment.shares().rests_on_care_process();
    }
    assessment
}

fn row_of(columns: &[usize], features: &Features) -> Vec<f32> {
    columns.iter().map(|i| features.values.get(*i).copied().unwrap_or(f32::NAN)).collect()
}

fn contribution(index: usize, weight: f64, features: &Features) -> Option<Contribution> {
    let value = *features.values.get(index)?;
    Some(Contribution {
        feature: (*features::NAMES.get(index)?).to_owned(),
        value: f64::from(value),
        weight,
        group: features::group_in(index, &features.values)?,
        words: features::words(index, &features.values),
    })
}

/// By size, whichever way it speaks; what says nothing is left out.
fn strongest_first(mut all: Vec<Contribution>) -> Vec<Contribution> {
    all.retain(|c| c.weight != 0.0);
    all.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    all
}

/// On the 2019 set, a scorer judges as it does on the stream: `insufficient data` raises no alarm. All hours of the set
/// are in intensive care.
impl Predictor for Scorer {
    fn predict(&self, hour: &Hour<'_>) -> Prediction {
        match &self.0 {
            Inner::Bedside(rule) => {
                let level = rule.score(hour.state, hour.at()).map(|score| score.level);
                Prediction::of_bedside(*rule, level, f64::from(rule.watch()))
            }
            Inner::Model { model, columns } => {
                let p = model.score(&row_of(columns, hour.features)).unwrap_or(0.0);
                let speaks = hour.features.sufficient() && model.card().is_for(hour.state.age_years());
                Prediction::of_model(p, model.threshold(), speaks)
            }
        }
    }

    fn thresholds(&self) -> Thresholds {
        Scorer::thresholds(self)
    }

    fn on_stream(&self) -> Option<&Scorer> {
        Some(self)
    }
}
