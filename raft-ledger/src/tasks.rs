//! The background tasks of one ledger: stopped together, and waited for.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blocking;

#[derive(Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs until it is done or `stop` drops it at an await.
    pub(crate) fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            let _ = stop.run_until_cancelled(task).await;
        });
    }

    /// Work that blocks; `stop` waits for its end. `None`: the runtime is going down.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let running = self.tracker.token();
        let work = move || {
            let done = work();
            drop(running);
            done
        };
        blocking::run(work).await.ok()
    }

    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
