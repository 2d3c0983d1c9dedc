//! The running pipeline as the API's site.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors::entry::Release;
use actors::{
    AlertExplained, AlertRow, DriftReport, ErrorDetail, Errors, ExplainError, FeedStatus, Found, Handle,
    Listed, ModelDecision, ModelDetail, ModelsListed, PatientDetail, PatientRow, PatientShredded,
    RegistryError, ReleaseError, RepairError, Repairs, Replay, Replays, Retried, Search, ShadowReport,
    SinkStatus, Tapped, Trace, TraceError, Tried, View,
};
use async_trait::async_trait;
use clinical::PatientId;
use futures_util::StreamExt;
use ml_scoring::Answered;
use raft_ledger::{
    Archived, Backup, CosignedCheckpoint, Entry, KeyBackup, KeysRotated, Lease, LedgerError, MemberChange,
    MemberStatus, OutboxStatus, Report, Status, Watch,
};
use tokio::sync::broadcast::Receiver;
use tokio_stream::wrappers::BroadcastStream;

use super::site::{AcknowledgeError, BoardEvent, BoardStream, Lagged, Site};

#[async_trait]
impl Site for Handle {
    fn name(&self) -> String {
        self.site().to_owned()
    }

    fn is_ready(&self) -> bool {
        Handle::is_ready(self)
    }

    fn outbox(&self) -> OutboxStatus {
        Handle::outbox(self)
    }

    fn metrics(&self) -> Vec<prometheus::proto::MetricFamily> {
        Handle::metrics(self)
    }

    fn feeds(&self) -> Vec<FeedStatus> {
        Handle::feeds(self)
    }

    fn tap(&self) -> Receiver<Arc<Tapped>> {
        Handle::tap(self)
    }

    fn sinks(&self) -> Vec<SinkStatus> {
        Handle::sinks(self)
    }

    async fn release_sink(
        &self,
        name: &str,
        index: Option<u64>,
        how: Release,
        by: &str,
        reason: &str,
    ) -> Result<u64, ReleaseError> {
        Handle::release_sink(self, name, index, how, by, reason).await
    }

    fn board(&self) -> (Vec<PatientRow>, u64) {
        Handle::board(self)
    }

    async fn patient(&self, key: &str) -> Option<PatientDetail> {
        Handle::patient(self, key).await
    }

    async fn shred(&self, patient: &PatientId, by: &str) -> Result<PatientShredded, LedgerError> {
        Handle::shred(self, patient, by).await
    }

    fn alerts(&self, limit: usize) -> Vec<AlertRow> {
        Handle::alerts(self, limit)
    }

    async fn acknowledge(
        &self,
        alert: &str,
        by: &str,
        reason: &str,
        then: Answered,
    ) -> Result<u64, AcknowledgeError> {
        Handle::acknowledge(self, alert, by, reason, then).await.map_err(|error| match error {
            actors::AcknowledgeError::UnknownAlert(_) => AcknowledgeError::NotFound,
            actors::AcknowledgeError::Ledger(error) => AcknowledgeError::Unavailable(error.to_string()),
        })
    }

    fn explain(&self, alert: &str) -> Result<AlertExplained, ExplainError> {
        Handle::explain(self, alert)
    }

    fn trace(&self, index: u64, with_scores: bool) -> Result<Option<Trace>, TraceError> {
        Handle::trace(self, index, with_scores)
    }

    fn models(&self) -> Result<ModelsListed, LedgerError> {
        Handle::models(self)
    }

    fn model(&self, hash: &str) -> Result<Option<ModelDetail>, LedgerError> {
        Handle::model(self, hash)
    }

    fn shadow(&self, hash: &str) -> Option<ShadowReport> {
        Handle::shadow(self, hash)
    }

    fn drift(&self, hash: &str) -> Option<DriftReport> {
        Handle::drift(self, hash)
    }

    async fn decide_model(&self, decision: ModelDecision, by: &str, why: &str) -> Result<u64, RegistryError> {
        Handle::decide_model(self, decision, by, why).await
    }

    fn entries(&self, from: u64, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        Handle::ledger(self).read_from(from, limit)
    }

    fn search(&self, search: &Search) -> Result<Found, LedgerError> {
        Handle::search(self, search)
    }

    fn errors(&self, search: &Search, code: Option<&str>, listed: Listed) -> Result<Errors, LedgerError> {
        Handle::errors(self, search, code, listed)
    }

    fn error(&self, index: u64) -> Result<ErrorDetail, RepairError> {
        Handle::error(self, index)
    }

    fn error_view(&self, index: u64, view: View) -> Result<String, RepairError> {
        Handle::error_view(self, index, view)
    }

    async fn retry_error(&self, index: u64, how: Repairs, by: &str) -> Result<Retried, RepairError> {
        Handle::retry(self, index, how, by).await
    }

    fn try_error(&self, index: u64, how: &Repairs) -> Result<Tried, RepairError> {
        Handle::try_retry(self, index, how)
    }

    async fn replay(&self, how: Replay, by: &str) -> Result<Replays, RepairError> {
        Handle::replay(self, how, by).await
    }

    async fn discard_error(&self, index: u64, reason: &str, by: &str) -> Result<u64, RepairError> {
        Handle::discard(self, index, reason, by).await
    }

    async fn catch_up(&self) -> Result<(), LedgerError> {
        Handle::ledger(self).catch_up().await.map(drop)
    }

    fn ledger(&self) -> Status {
        Handle::ledger(self).status()
    }

    fn leases(&self) -> Result<Vec<Lease>, LedgerError> {
        let ledger = Handle::ledger(self);
        ledger.leases_before(ledger.size())
    }

    async fn members(&self) -> Vec<MemberStatus> {
        Handle::ledger(self).members().await
    }

    async fn change_members(&self, change: MemberChange, by: &str) -> Result<Vec<MemberStatus>, LedgerError> {
        Handle::change_members(self, change, by).await
    }

    fn verifier_keys(&self) -> String {
        Handle::ledger(self).verifier_keys()
    }

    fn admissions(&self) -> String {
        Handle::ledger(self).admissions()
    }

    async fn upgrade_ledger(&self, by: &str) -> Result<u32, LedgerError> {
        Handle::upgrade_ledger(self, by).await
    }

    fn checkpoint(&self) -> Option<CosignedCheckpoint> {
        Handle::ledger(self).checkpoint()
    }

    fn prove(&self, index: u64) -> Result<String, LedgerError> {
        Handle::ledger(self).prove(index)
    }

    fn prove_consistency(&self, old: u64, new: u64) -> Result<String, LedgerError> {
        Handle::ledger(self).prove_consistency(old, new)
    }

    fn verify(&self, watch: Watch<'_>) -> anyhow::Result<Report> {
        Ok(Handle::ledger(self).verify(&mut |at| watch("leaves verified", at))?)
    }

    fn export(&self, folder: &Path, watch: Watch<'_>) -> anyhow::Result<(u64, [u8; 32])> {
        Ok(Handle::ledger(self).export(folder, &mut |at| watch("leaves written", at))?)
    }

    fn backup(&self, folder: &Path, watch: Watch<'_>) -> Result<Backup, LedgerError> {
        Handle::ledger(self).backup(folder, watch)
    }

    fn archive(&self, older_than: Duration, watch: Watch<'_>) -> Result<Archived, LedgerError> {
        Handle::ledger(self).archive(older_than, &mut |at| watch("entries are in cold files", at))
    }

    fn rotate_keys(&self, subjects: bool) -> Result<KeysRotated, LedgerError> {
        let ledger = Handle::ledger(self);
        if subjects { ledger.rotate_subjects() } else { ledger.rotate_master() }
    }

    fn backup_keys(&self, file: &Path, days: u32) -> Result<KeyBackup, LedgerError> {
        let valid = Duration::from_secs(u64::from(days) * 24 * 3_600);
        Handle::ledger(self).backup_keys(file, valid)
    }

    fn subscribe(&self, seq: u64) -> (Vec<BoardEvent>, BoardStream) {
        let (missed, coming) = Handle::subscribe(self, seq);
        let coming =
            BroadcastStream::new(coming).map(|event| event.map(|event| to_send(&event)).map_err(|_| Lagged));
        (missed.iter().map(to_send).collect(), coming.boxed())
    }
}

fn to_send(event: &actors::BoardEvent) -> BoardEvent {
    // Plain data with string keys: serialising it cannot fail; were it to, the reader is told to load anew.
    let value = serde_json::to_value(event).unwrap_or_default();
    let name = value.get("type").and_then(|name| name.as_str()).unwrap_or("reset").to_owned();
    let json = value.get("data").map_or_else(|| "{}".to_owned(), ToString::to_string);
    BoardEvent { seq: event.seq, name, json }
}
