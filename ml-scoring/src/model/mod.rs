//! XGBoost models, read and evaluated in Rust, and the directory in which one ships.

mod card;
mod document;
mod ensemble;
mod error;
mod golden;
mod json;
mod loaded;
mod objective;
mod shap;
mod tree;
mod ubjson;
mod xgboost;

pub use card::{
    Beside, CARD_FORMAT, Calibration, Card, CardFeature, DataFile, Figures, Population, Setting, Subgroup,
    Threshold, TrainingData,
};
pub use ensemble::Ensemble;
pub use error::ModelError;
pub use golden::{Golden, GoldenRow};
pub use loaded::Model;
pub use objective::Objective;
