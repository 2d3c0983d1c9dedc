//! The facts of one alert, from which every outgoing form (FHIR Bundle, ORU^R01, care board) is written.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{PatientId, Time};

/// Stored in the alert's ledger entry: add optional fields, never rename or reuse one.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertFacts {
    /// Lowercase hex of hash(model, patient, trigger index): receivers deduplicate by it.
    pub id: String,
    pub patient: PatientId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visit: Option<String>,
    pub ward: String,
    /// Event time of the trigger.
    pub at: Time,
    /// `sepsis`, `news2` …
    pub task: String,
    /// The model's name.
    pub model: String,
    /// SHA-256 of the model, lowercase hex.
    pub model_hash: String,
    /// 0 to 1.
    pub risk: f64,
    /// The risk from which the model alerts, 0 to 1.
    pub threshold: f64,
    /// `watch` or `interruptive`.
    pub tier: String,
    /// The largest contributions in words, largest first.
    pub reasons: Vec<String>,
    /// Ledger indices of the evidence; the trigger is last.
    pub indices: Vec<u64>,
    /// The site that scored.
    pub site: String,
    /// The site this one stands in for, when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takeover_for: Option<String>,
}

impl fmt::Debug for AlertFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlertFacts({}, {}, patient redacted)", self.id, self.task)
    }
}
