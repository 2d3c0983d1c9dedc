//! Patient state → explained risk. The scoring half is pure: no I/O, no clock, no randomness.

mod model;

pub use model::{Ensemble, ModelError, Objective};
