//! The registry of models: what people decided about them, and which site scores with which, all of it in the ledger.
//! The files of a model stay where the configuration names them; the ledger knows a model by its hash.

mod announce;
mod decide;
mod list;
pub(crate) mod notes;
pub(crate) mod standing;

pub(crate) use announce::announce;
pub use decide::{ModelDecision, RegistryError};
pub use list::{ModelDetail, ModelRow, ModelStepRow, ModelsListed};
