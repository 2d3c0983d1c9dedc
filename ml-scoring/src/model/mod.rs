//! XGBoost models, read and evaluated in Rust.

mod document;
mod ensemble;
mod error;
mod json;
mod objective;
mod shap;
mod tree;
mod ubjson;
mod xgboost;

pub use ensemble::Ensemble;
pub use error::ModelError;
pub use objective::Objective;
