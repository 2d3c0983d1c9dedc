//! What the API needs of a running site.

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::{AlertView, BoardEvent, FeedView, LedgerView, MessageView, PatientDetail, PatientView};

#[derive(Debug, thiserror::Error)]
pub enum AcknowledgeError {
    #[error("there is no such alert at this site")]
    NotFound,
    #[error("somebody has answered it already")]
    Already,
    /// The acknowledgement is a ledger entry: without a quorum there is none.
    #[error("not kept: {0}")]
    Unavailable(String),
}

/// A running site. The pipeline's handle is one; tests bring their own.
#[async_trait]
pub trait Site: Send + Sync + 'static {
    fn name(&self) -> String;

    /// What keeps the site from taking messages, if anything.
    async fn ready(&self) -> Result<(), String>;

    /// Prometheus text format.
    fn metrics(&self) -> prometheus::Result<String>;

    fn feeds(&self) -> Vec<FeedView>;

    /// By falling risk.
    fn patients(&self) -> Vec<PatientView>;

    fn patient(&self, key: &str) -> Option<PatientDetail>;

    /// Those with `seq > since`, oldest first.
    fn alerts(&self, since: u64) -> Vec<AlertView>;

    async fn acknowledge(&self, alert: &str, by: &str, reason: &str) -> Result<(), AcknowledgeError>;

    /// The entry at a ledger index; `None` beyond the end.
    async fn message(&self, index: u64) -> anyhow::Result<Option<MessageView>>;

    async fn ledger(&self) -> anyhow::Result<LedgerView>;

    /// Board events after `since` that are still kept, and those to come. `None`: only those to come.
    fn subscribe(&self, since: Option<u64>) -> (Vec<BoardEvent>, broadcast::Receiver<BoardEvent>);
}
