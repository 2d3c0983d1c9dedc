//! One thread that makes appends durable: many appends share one fdatasync.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use openraft::storage::IOFlushed;

use super::db::Db;
use super::fatal::end_process;
use crate::raft::Types;

/// Whom to tell once everything written before is on the disk.
pub(super) enum Waiter {
    Append(IOFlushed<Types>),
    Write(tokio::sync::oneshot::Sender<()>),
}

impl Waiter {
    fn done(self) {
        match self {
            Waiter::Append(callback) => callback.io_completed(Ok(())),
            // The waiting side may have been dropped with its task; the write is durable all the same.
            Waiter::Write(sender) => drop(sender.send(())),
        }
    }
}

pub(super) struct SyncThread {
    queue: Option<Sender<Waiter>>,
    thread: Option<JoinHandle<()>>,
    /// Under simulation a task takes its place: a thread would make the order of events depend on the machine.
    #[cfg(any(test, feature = "sim"))]
    task: Option<tokio::sync::mpsc::UnboundedSender<Waiter>>,
}

impl SyncThread {
    pub(super) fn start(db: Arc<Db>) -> std::io::Result<SyncThread> {
        #[cfg(any(test, feature = "sim"))]
        if crate::sim::is_running() {
            let (task, waiting) = tokio::sync::mpsc::unbounded_channel();
            tokio::spawn(simulated(db, waiting));
            return Ok(SyncThread { queue: None, thread: None, task: Some(task) });
        }
        let (queue, waiting) = channel();
        let thread =
            std::thread::Builder::new().name("raftdb-sync".into()).spawn(move || run(&db, &waiting))?;
        Ok(SyncThread {
            queue: Some(queue),
            thread: Some(thread),
            #[cfg(any(test, feature = "sim"))]
            task: None,
        })
    }

    pub(super) fn submit(&self, waiter: Waiter) {
        #[cfg(any(test, feature = "sim"))]
        if let Some(task) = &self.task {
            // Its task ends with this site's simulated process.
            let _ = task.send(waiter);
            return;
        }
        let queue = self.queue.as_ref();
        if queue.is_none_or(|queue| queue.send(waiter).is_err()) {
            end_process("raft log sync", &"its thread is gone");
        }
    }
}

impl Drop for SyncThread {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has ended in end_process already.
            let _ = thread.join();
        }
    }
}

/// As [`run`], with a disk that takes its time.
#[cfg(any(test, feature = "sim"))]
async fn simulated(db: Arc<Db>, mut waiting: tokio::sync::mpsc::UnboundedReceiver<Waiter>) {
    let mut batch = Vec::new();
    while let Some(first) = waiting.recv().await {
        batch.push(first);
        while let Ok(next) = waiting.try_recv() {
            batch.push(next);
        }
        tokio::time::sleep(crate::sim::disk::sync_time()).await;
        if let Err(error) = db.sync_wal() {
            end_process("raft log fsync", &error);
        }
        batch.drain(..).for_each(Waiter::done);
    }
}

fn run(db: &Db, waiting: &Receiver<Waiter>) {
    let mut batch = Vec::new();
    while let Ok(first) = waiting.recv() {
        batch.push(first);
        batch.extend(waiting.try_iter());
        if let Err(error) = db.sync_wal() {
            end_process("raft log fsync", &error);
        }
        batch.drain(..).for_each(Waiter::done);
    }
}
