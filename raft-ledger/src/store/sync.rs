//! One thread that makes appends durable: many appends share one fdatasync.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use openraft::storage::IOFlushed;

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
}

impl SyncThread {
    pub(super) fn start(db: Arc<rocksdb::DB>) -> std::io::Result<SyncThread> {
        let (queue, waiting) = channel();
        let thread =
            std::thread::Builder::new().name("raftdb-sync".into()).spawn(move || run(&db, &waiting))?;
        Ok(SyncThread { queue: Some(queue), thread: Some(thread) })
    }

    pub(super) fn submit(&self, waiter: Waiter) {
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

fn run(db: &rocksdb::DB, waiting: &Receiver<Waiter>) {
    let mut batch = Vec::new();
    while let Ok(first) = waiting.recv() {
        batch.push(first);
        batch.extend(waiting.try_iter());
        if let Err(error) = db.flush_wal(true) {
            end_process("raft log fsync", &error);
        }
        batch.drain(..).for_each(Waiter::done);
    }
}
