//! The outbox's pen: one write, and so one fsync, for all that came while the last one was under way.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::queue::{Done, Put, Written};
use crate::Draft;
use crate::call::Share;
use crate::clock::now_ms;
use crate::store::end_process;
use crate::tasks::Tasks;

/// What one write holds at most.
const GROUP_MAX: usize = 1024;

pub(super) enum Work {
    /// Puts one message in.
    Put(Taken),
    /// Takes committed ones out.
    Remove(Vec<Done>),
    /// From here on nothing is put until it is released.
    Hold(Hold),
}

pub(super) struct Hold {
    /// Told once nothing waits on the disk.
    pub(super) empty: Option<oneshot::Sender<()>>,
    /// Its other end dropped: released.
    pub(super) released: oneshot::Receiver<()>,
}

/// One message that has room.
pub(super) struct Taken {
    pub(super) drafts: Vec<Draft>,
    pub(super) answer: oneshot::Sender<Put>,
    pub(super) _share: Share,
}

pub(super) struct Keeper {
    shared: Arc<Shared>,
    work: mpsc::Receiver<Work>,
    tasks: Tasks,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, work: mpsc::Receiver<Work>, tasks: Tasks) -> Keeper {
        Keeper { shared, work, tasks }
    }

    pub(super) async fn run(mut self) {
        let mut group = Vec::new();
        let mut hold = None;
        // No more than fits into the limit of bytes that were taken and are not on the disk.
        let mut later = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = released(&mut hold), if hold.is_some() => {
                    hold = None;
                    group.append(&mut later);
                }
                received = self.work.recv_many(&mut group, GROUP_MAX) => if received == 0 { return },
            }
            let mut now = Vec::with_capacity(group.len());
            for work in group.drain(..) {
                match work {
                    Work::Hold(next) => hold = Some(next),
                    Work::Put(_) if hold.is_some() => later.push(work),
                    Work::Put(_) | Work::Remove(_) => now.push(work),
                }
            }
            let shared = self.shared.clone();
            if self.tasks.blocking(move || write(&shared, now)).await.is_none() {
                return;
            }
            if let Some(hold) = &mut hold
                && self.shared.queue.ends().entries() == 0
                && let Some(empty) = hold.empty.take()
            {
                // Whoever asked may have given up.
                let _ = empty.send(());
            }
            if self.shared.queue.wants_compaction() {
                let (shared, tasks) = (self.shared.clone(), self.tasks.clone());
                self.tasks.spawn(async move {
                    tasks.blocking(move || shared.queue.compact()).await;
                });
            }
        }
    }
}

async fn released(hold: &mut Option<Hold>) {
    if let Some(hold) = hold {
        // Nothing is ever sent: its sender is dropped.
        let _ = (&mut hold.released).await;
    }
}

/// Answers come after the write: what is answered is on the disk.
fn write(shared: &Shared, group: Vec<Work>) {
    let (mut taken, mut done) = (Vec::new(), Vec::new());
    for work in group {
        match work {
            Work::Put(message) => taken.push(message),
            Work::Remove(committed) => done.extend(committed),
            Work::Hold(_) => {}
        }
    }
    let messages: Vec<&[Draft]> = taken.iter().map(|message| message.drafts.as_slice()).collect();
    let Written { puts, freed_bytes } = match shared.queue.write(&done, &messages, now_ms()) {
        Ok(written) => written,
        // What the disk holds is not known any more.
        Err(error) => end_process("outbox write", &error),
    };
    if freed_bytes > 0 {
        shared.change_room(|room| room.give_back(freed_bytes));
    }
    shared.tail.send_replace(shared.queue.ends().tail);
    for (message, put) in taken.into_iter().zip(puts) {
        // Its feed may have stopped; the message stays and is forwarded.
        let _ = message.answer.send(put);
    }
}
