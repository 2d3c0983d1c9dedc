//! The registry of models: what people decided about them, and which site scores with which, all of it in the ledger.
//! The files of a model stay where the configuration names them; the ledger knows a model by its hash.

mod announce;
mod decide;
mod list;
pub(crate) mod notes;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod standing;

pub(crate) use announce::announce;
pub use decide::{ModelDecision, Promotion, RegistryError};
pub use list::{ModelDetail, ModelRow, ModelStepRow, ModelsListed};
pub(crate) use standing::configured;
