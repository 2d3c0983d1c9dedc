//! Patient state → explained risk. The scoring half is pure: no I/O, no clock, no randomness.

pub mod dataset;
pub mod features;
mod model;
pub mod news2;

pub use features::Features;
pub use model::{
    CARD_FORMAT, Calibration, Card, CardFeature, DataFile, Ensemble, Figures, Golden, GoldenRow, Model, ModelError,
    Objective, Subgroup, Threshold, TrainingData,
};
