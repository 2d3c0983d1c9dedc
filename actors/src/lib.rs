//! Runs one site's pipeline. The only crate that knows all the others.
//!
//! Work is pushed up to the ledger and pulled after it:
//!
//! ```text
//! push  Source → Intake → Normaliser → Committer → LEDGER (quorum)
//!                              └→ Storer → OUTBOX (this site) → LEDGER
//! ack   offset/ack/AA ◄── Receipt ◄── own apply ◄─────┘
//! pull  LEDGER → Tail → PatientShard (fold, score, decide) → Alerter → LEDGER → Delivery, Board
//! ```
//!
//! Actors are thin shells; what they decide stands in plain modules beside them
//! ([`reading`](self), `patient`, `board`). `pipeline.rs` wires them, last to first, on one page.

mod alerter;
mod application_acks;
mod blocking;
mod board;
mod breaker;
mod checkpoint;
mod clock;
mod committer;
mod compression;
mod delivery;
mod drift;
pub mod entry;
mod errors;
mod explain;
mod feeds;
mod handle;
mod intake;
mod keeping;
mod metrics;
mod normaliser;
mod outgoing;
mod parts;
mod patient;
mod pipeline;
mod reading;
mod registry;
mod replay;
pub mod resources;
mod rested;
mod search;
mod shadow;
mod shard;
mod shredding;
mod silence;
mod sinks;
mod storer;
mod tail;
mod tap;
#[cfg(test)]
mod test_feed;
#[cfg(test)]
mod test_ledger;
mod ticker;
mod told;
mod trace;
mod window;
mod workers;

pub use board::{AlertRow, Answer, BoardEvent, PatientDetail, PatientRow, RiskNow, RiskPoint};
pub use delivery::ReleaseError;
pub use drift::{DriftFinding, DriftReport, DriftStatus};
pub use errors::{
    ErrorDetail, ErrorRow, ErrorState, Errors, Listed, RepairError, Repairs, Retried, Tried, View,
};
pub use explain::{AlertExplained, Evidence, ExplainError, SetAsideValue};
pub use feeds::FeedStatus;
pub use handle::{AcknowledgeError, Handle, Stopping};
pub use metrics::Metrics;
pub use parts::{Ack, Feed, OnError, OnNack, Parts, Sink, SinkForm};
pub use pipeline::Pipeline;
pub use registry::{
    ModelDecision, ModelDetail, ModelRow, ModelStepRow, ModelsListed, Promotion, RegistryError,
};
pub use replay::{Difference, Replay, ReplayOutcome, ReplayRow, Replays, Said};
pub use rested::AlertsRested;
pub use search::{Found, Search};
pub use shadow::{ShadowAgainst, ShadowAgreement, ShadowReport, ShadowThreshold};
pub use shredding::PatientShredded;
pub use silence::{FeedSilent, Silence};
pub use sinks::{HeldAlert, SinkStatus};
pub use tap::Tapped;
pub use trace::{Trace, TraceError};
