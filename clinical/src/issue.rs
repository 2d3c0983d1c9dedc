//! What a reader noticed: a stable code, the place, and what to do. Never a patient's data.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Information,
    Warning,
    /// The message cannot be used: it becomes a `Rejected` entry.
    Error,
}

/// One finding about one message. `code` is stable: metrics and scripts count by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    pub severity: Severity,
    /// Stable and kebab-case, for example `segment-name-invalid`.
    pub code: std::borrow::Cow<'static, str>,
    /// `PID-3.1`, `OBX[2]-5` (HL7 v2) or a FHIRPath such as `Observation.value`.
    pub location: String,
    /// Lowercase, says what to do; holds no value taken from the message.
    pub text: String,
}
