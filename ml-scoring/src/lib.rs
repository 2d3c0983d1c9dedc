//! Patient state → explained risk. The scoring half is pure: no I/O, no clock, no randomness.

mod assessment;
mod bedside;
pub mod dataset;
pub mod drift;
pub mod eval;
pub mod features;
mod model;
mod policy;
pub mod report;
mod scorer;
pub mod stays;
mod task;
/// Training with libxgboost; nothing of it is in a build that scores.
#[cfg(feature = "train")]
pub mod train;

pub use assessment::{Assessment, Contribution, Insufficient, ReasonGroup, Shares, Thresholds};
pub use bedside::{Bedside, Part, Score};
pub use features::Features;
pub use model::{
    Beside, CARD_FORMAT, Calibration, Card, CardFeature, DataFile, Ensemble, Figures, Golden, GoldenRow,
    Model, ModelError, Objective, Population, Setting, Subgroup, Threshold, TrainingData,
};
pub use policy::{AlertPolicy, Answered, Decision, PolicyState, Tier, WardBudgets};
pub use scorer::Scorer;
pub use task::{Task, TaskError, Truth};
