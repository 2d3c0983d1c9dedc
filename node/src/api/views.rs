//! What the API shows. JSON keys are stable; units stand last.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// One configured feed, for the integration engineer.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct FeedView {
    pub name: String,
    /// `mllp`, `kafka`, `amqp`, `http` or `file`.
    pub kind: String,
    /// `connecting`, `running`, `paused`, `held` or `stopped`.
    pub state: String,
    pub received: u64,
    pub committed: u64,
    pub rejected: u64,
    pub duplicates: u64,
    /// Messages waiting at the sender's side, where the transport can tell.
    pub lag: u64,
    /// Messages taken and not yet answered.
    pub in_flight: u64,
    /// Over the last minute.
    pub rate_per_s: f64,
    pub last_error: Option<String>,
}

/// One patient on the care board.
#[derive(Clone, Default, Serialize, ToSchema)]
pub struct PatientView {
    /// Opaque; `/api/patients/{key}`. Holds nothing of the patient's own identifiers.
    pub key: String,
    pub authority: String,
    pub id: String,
    pub name: Option<String>,
    pub ward: String,
    pub bed: String,
    /// `insufficient data` when absent.
    pub risk: Option<f64>,
    pub threshold: Option<f64>,
    pub task: String,
    pub model: String,
    /// `none`, `watch` or `interruptive`.
    pub tier: String,
    pub reasons: Vec<ReasonView>,
    /// Event time of the newest datum, milliseconds since the Unix epoch.
    pub newest_at_ms: Option<i64>,
    /// Unanswered alert, if any.
    pub alert: Option<String>,
}

/// One contribution to a risk.
#[derive(Clone, Default, Serialize, ToSchema)]
pub struct ReasonView {
    pub words: String,
    pub feature: String,
    pub value: Option<f64>,
    /// Of the margin (log-odds) or of the score's points; positive raises the risk.
    pub weight: f64,
}

/// One patient with the curve of the risk.
#[derive(Clone, Default, Serialize, ToSchema)]
pub struct PatientDetail {
    #[serde(flatten)]
    pub patient: PatientView,
    /// Oldest first.
    pub curve: Vec<RiskPoint>,
    pub alerts: Vec<AlertView>,
}

#[derive(Clone, Default, Serialize, ToSchema)]
pub struct RiskPoint {
    pub at_ms: i64,
    /// Absent: insufficient data.
    pub risk: Option<f64>,
    pub task: String,
}

#[derive(Clone, Default, Serialize, ToSchema)]
pub struct AlertView {
    pub id: String,
    /// Position in this site's board stream; `since` counts by it.
    pub seq: u64,
    pub patient: String,
    pub authority: String,
    pub patient_id: String,
    pub name: Option<String>,
    pub ward: String,
    pub at_ms: i64,
    pub task: String,
    pub model: String,
    pub model_hash: String,
    pub risk: f64,
    pub threshold: f64,
    pub tier: String,
    pub reasons: Vec<String>,
    /// Ledger indices of the evidence, the trigger last.
    pub indices: Vec<u64>,
    pub site: String,
    pub takeover_for: Option<String>,
    pub acknowledged_by: Option<String>,
    pub acknowledged_at_ms: Option<i64>,
    pub acknowledged_reason: Option<String>,
}

/// One ledger entry, opened where this site holds its key.
#[derive(Clone, Default, Serialize, ToSchema)]
pub struct MessageView {
    pub index: u64,
    /// `message`, `rejected`, `alert`, `delivered`, `acknowledged`, `tick`, `model-registered` or a number.
    pub kind: String,
    pub site: String,
    pub epoch: u64,
    pub site_seq: u64,
    pub event_time_ms: i64,
    pub message_time_ms: i64,
    pub received_time_ms: i64,
    /// The raw bytes as text (base64 where they are none); absent when sealed for this site.
    pub raw: Option<String>,
    /// `text` or `base64`.
    pub encoding: String,
    /// What the reader made of it.
    #[schema(value_type = Object)]
    pub content: serde_json::Value,
}

#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct LedgerView {
    pub site: String,
    pub role: String,
    pub leader: Option<String>,
    pub term: u64,
    /// Leaves applied here.
    pub size: u64,
    /// RFC 6962 root over them, lowercase hex.
    pub root: String,
    /// Raft entries that each peer has yet to receive.
    pub lag: BTreeMap<String, u64>,
    pub peers: Vec<PeerView>,
    pub duplicates: u64,
    pub in_flight_bytes: u64,
}

#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct PeerView {
    pub name: String,
    pub address: String,
    pub voter: bool,
    pub connected: bool,
}

/// One event of `/api/stream`.
#[derive(Clone)]
pub struct BoardEvent {
    /// Gapless at this site since its start.
    pub seq: u64,
    /// `patient`, `alert`, `acknowledged` …
    pub name: String,
    /// One line of JSON.
    pub json: String,
}
