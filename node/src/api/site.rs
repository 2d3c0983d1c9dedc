//! What the API needs of a running site.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors::entry::Release;
use actors::{
    AlertExplained, AlertRow, DriftReport, ErrorDetail, Errors, ExplainError, FeedStatus, Found, Listed,
    ModelDecision, ModelDetail, ModelsListed, PatientDetail, PatientRow, PatientShredded, RegistryError,
    ReleaseError, RepairError, Repairs, Replay, Replays, Retried, Search, ShadowReport, SinkStatus, Tapped,
    Trace, TraceError, Tried, View,
};
use async_trait::async_trait;
use clinical::PatientId;
use futures_util::stream::BoxStream;
use ml_scoring::Answered;
use raft_ledger::{
    Archived, Backup, CosignedCheckpoint, Entry, KeyBackup, KeysRotated, Lease, LedgerError, MemberChange,
    MemberStatus, OutboxStatus, Report, Status, Watch,
};
use tokio::sync::broadcast::Receiver;

/// One event of the care board, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardEvent {
    /// Grows by one; higher after a restart.
    pub seq: u64,
    /// `patients`, `alert` or `reset`.
    pub name: String,
    /// One line of JSON.
    pub json: String,
}

/// The reader was too slow: it must subscribe again after the last event it got.
#[derive(Clone, Copy, Debug)]
pub struct Lagged;

pub type BoardStream = BoxStream<'static, Result<BoardEvent, Lagged>>;

#[derive(Debug, thiserror::Error)]
pub enum AcknowledgeError {
    #[error("there is no such alert on this site's board; load the board again")]
    NotFound,
    /// The acknowledgement is a ledger entry: without a quorum there is none.
    #[error("not kept: {0}; try again")]
    Unavailable(String),
}

/// A running site. The pipeline's handle is one; tests bring their own.
#[async_trait]
pub trait Site: Send + Sync + 'static {
    fn name(&self) -> String;

    /// It can commit.
    fn is_ready(&self) -> bool;

    /// What waits for a quorum at this site.
    fn outbox(&self) -> OutboxStatus;

    fn metrics(&self) -> Vec<prometheus::proto::MetricFamily>;

    fn feeds(&self) -> Vec<FeedStatus>;

    /// Messages of all feeds from here on.
    fn tap(&self) -> Receiver<Arc<Tapped>>;

    fn sinks(&self) -> Vec<SinkStatus>;

    /// Lets a sink go that holds an alert. The index of the entry that says so.
    async fn release_sink(
        &self,
        name: &str,
        index: Option<u64>,
        how: Release,
        by: &str,
        reason: &str,
    ) -> Result<u64, ReleaseError>;

    /// By falling risk, and the event number that the list stands at.
    fn board(&self) -> (Vec<PatientRow>, u64);

    async fn patient(&self, key: &str) -> Option<PatientDetail>;

    /// Destroys the keys of a patient; the ledger says that `by` ordered it.
    async fn shred(&self, patient: &PatientId, by: &str) -> Result<PatientShredded, LedgerError>;

    /// Newest first.
    fn alerts(&self, limit: usize) -> Vec<AlertRow>;

    /// In the ledger when this returns, at the given index.
    async fn acknowledge(
        &self,
        alert: &str,
        by: &str,
        reason: &str,
        then: Answered,
    ) -> Result<u64, AcknowledgeError>;

    /// The alert's score computed again from the ledger. Blocks.
    fn explain(&self, alert: &str) -> Result<AlertExplained, ExplainError>;

    /// What followed from a message. `None`: no message that this site can open. Blocks.
    fn trace(&self, index: u64, with_scores: bool) -> Result<Option<Trace>, TraceError>;

    /// The models that the ledger knows. Blocks.
    fn models(&self) -> Result<ModelsListed, LedgerError>;

    /// By its hash. Blocks.
    fn model(&self, hash: &str) -> Result<Option<ModelDetail>, LedgerError>;

    /// In the ledger when this returns, at the given index.
    async fn decide_model(&self, decision: ModelDecision, by: &str, why: &str) -> Result<u64, RegistryError>;
    /// `None`: it is not in shadow here.
    fn shadow(&self, hash: &str) -> Option<ShadowReport>;

    /// `None`: it does not score here.
    fn drift(&self, hash: &str) -> Option<DriftReport>;

    /// Entries from a ledger index on, at most so many; none beyond the end.
    fn entries(&self, from: u64, limit: usize) -> Result<Vec<Entry>, LedgerError>;

    /// One page of what is sought. Blocks.
    fn search(&self, search: &Search) -> Result<Found, LedgerError>;

    /// Refused messages of this site. Blocks.
    fn errors(&self, search: &Search, code: Option<&str>, listed: Listed) -> Result<Errors, LedgerError>;

    /// Blocks.
    fn error(&self, index: u64) -> Result<ErrorDetail, RepairError>;

    /// Blocks.
    fn error_view(&self, index: u64, view: View) -> Result<String, RepairError>;

    /// In the ledger when this returns: that it was tried, by whom, and what it became.
    async fn retry_error(&self, index: u64, how: Repairs, by: &str) -> Result<Retried, RepairError>;

    /// What a retry would come to; nothing is written. Blocks.
    fn try_error(&self, index: u64, how: &Repairs) -> Result<Tried, RepairError>;

    /// One page of messages, read again as their feeds read now.
    async fn replay(&self, how: Replay, by: &str) -> Result<Replays, RepairError>;

    /// The index of the entry that says so.
    async fn discard_error(&self, index: u64, reason: &str, by: &str) -> Result<u64, RepairError>;

    /// Waits until everything is here that was committed anywhere before this call.
    async fn catch_up(&self) -> Result<(), LedgerError>;

    fn ledger(&self) -> Status;

    /// Blocks.
    fn leases(&self) -> Result<Vec<Lease>, LedgerError>;

    /// The sites that take part, as the leader sees them where there is one.
    async fn members(&self) -> Vec<MemberStatus>;

    /// The members after a change that `by` asked for.
    async fn change_members(&self, change: MemberChange, by: &str) -> Result<Vec<MemberStatus>, LedgerError>;

    /// C2SP verifier keys of every site that takes or took part, one a line.
    fn verifier_keys(&self) -> String;

    /// The authority's word for each site that joined after the founding, one a line.
    fn admissions(&self) -> String;

    /// Asked for by `by`: the latest rules of apply that every voter knows. The version of those that hold then.
    async fn upgrade_ledger(&self, by: &str) -> Result<u32, LedgerError>;

    /// The newest cosigned one.
    fn checkpoint(&self) -> Option<CosignedCheckpoint>;

    /// A receipt for the entry. Blocks.
    fn prove(&self, index: u64) -> Result<String, LedgerError>;

    /// That the ledger of size `new` begins with that of size `old`. Blocks.
    fn prove_consistency(&self, old: u64, new: u64) -> Result<String, LedgerError>;

    /// Recomputes everything that is stored. Blocks for as long as that takes.
    fn verify(&self, watch: Watch<'_>) -> anyhow::Result<Report>;

    /// Writes the ledger into an empty or new folder: leaves and root. Blocks.
    fn export(&self, folder: &Path, watch: Watch<'_>) -> anyhow::Result<(u64, [u8; 32])>;

    /// Writes a verified backup into a folder that is new, empty or holds an earlier one. Blocks.
    fn backup(&self, folder: &Path, watch: Watch<'_>) -> Result<Backup, LedgerError>;

    /// Moves the payloads of entries that are older than this into cold files. Blocks for as long as that takes.
    fn archive(&self, older_than: Duration, watch: Watch<'_>) -> Result<Archived, LedgerError>;

    /// Another master key, or new keys for subjects. Blocks.
    fn rotate_keys(&self, subjects: bool) -> Result<KeysRotated, LedgerError>;

    /// A backup of the key store, refused after so many days. Blocks.
    fn backup_keys(&self, file: &Path, days: u32) -> Result<KeyBackup, LedgerError>;

    /// What happened after event `seq`, and what is to come, without a gap.
    fn subscribe(&self, seq: u64) -> (Vec<BoardEvent>, BoardStream);
}
