//! What the routes share: limits, the way to the pipeline, answers to be asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pending::Pending;
use super::source::Config;
use crate::{Format, Inbound, Receipt, Reply, SourceStatus, Verdict};

/// Reads that the node answers; bodies are FHIR JSON.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// `GET /fhir/metadata`: the CapabilityStatement.
    async fn metadata(&self) -> Reply;
    /// `GET /fhir/{resource_type}/{id}`, of a version with `/_history/{version}`; all are well-formed names.
    async fn read(&self, resource_type: &str, id: &str, version: Option<&str>) -> Reply;
}

/// Cheap to clone; one for all of the web server's workers.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    config: Config,
    lookup: Arc<dyn Lookup>,
    intake: mpsc::Sender<Inbound>,
    status: Arc<SourceStatus>,
    stop: CancellationToken,
    tasks: TaskTracker,
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    pending: Pending,
    count: AtomicU64,
}

/// Room for one request: held until its verdict has come.
pub(super) struct Room {
    _request: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// One request as it is handed to the pipeline.
pub(super) struct Request {
    /// Who sent it: messages of one sender keep their order.
    pub(super) peer: String,
    pub(super) format: Format,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Bytes,
}

impl Endpoint {
    pub(super) fn new(
        config: Config,
        lookup: Arc<dyn Lookup>,
        intake: mpsc::Sender<Inbound>,
        status: Arc<SourceStatus>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Endpoint {
        let permits = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Endpoint(Arc::new(Inner {
            requests: permits(config.max_in_flight),
            bytes: permits(config.max_in_flight_bytes),
            pending: Pending::new(config.max_async_answers),
            count: AtomicU64::new(0),
            config,
            lookup,
            intake,
            status,
            stop,
            tasks,
        }))
    }

    pub(super) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(super) fn lookup(&self) -> &dyn Lookup {
        self.0.lookup.as_ref()
    }

    pub(super) fn pending(&self) -> &Pending {
        &self.0.pending
    }

    pub(super) fn status(&self) -> &SourceStatus {
        &self.0.status
    }

    /// Room for a body of so many bytes; `None`: overload, or the feed is stopped.
    pub(super) fn room(&self, bytes: usize) -> Option<Room> {
        if self.0.stop.is_cancelled() {
            return None;
        }
        let bytes = bytes.clamp(1, self.0.config.max_in_flight_bytes.max(1));
        Some(Room {
            _request: self.0.requests.clone().try_acquire_owned().ok()?,
            _bytes: self.0.bytes.clone().try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()?,
        })
    }

    /// Hands it to the pipeline. The verdict comes even if nobody waits for it any more.
    pub(super) fn submit(&self, request: Request, room: Room) -> oneshot::Receiver<Verdict> {
        let (tell, verdict) = oneshot::channel();
        let (receipt, verdicts) = Receipt::new();
        let number = self.0.count.fetch_add(1, Ordering::Relaxed) + 1;
        let inbound = Inbound {
            key: Arc::from(request.peer),
            position: format!("http#{number}"),
            payload: request.body,
            format: Some(request.format),
            fault: None,
            doubt: None,
            headers: request.headers,
            received_at: SystemTime::now(),
            receipt,
        };
        self.0.status.count();
        let status = self.0.status.clone();
        self.0.tasks.spawn(async move {
            let verdict = verdicts.last().await;
            status.settle(&verdict);
            drop(room);
            let _ = tell.send(verdict);
        });
        // As many places as requests in flight: it fails only when the feed is stopped, and then the receipt,
        // dropped, says Retry.
        let _ = self.0.intake.try_send(inbound);
        verdict
    }

    /// Runs until its end even if the client goes away.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(work);
    }
}
