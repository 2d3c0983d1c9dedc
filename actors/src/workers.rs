//! What runs under a name and on a thread of its own, and is ended while the rest of the site goes on: feeds and sinks.

use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::handle::{Stopping, Threads};

/// At the site's stop: what is in flight has a quorum by then, or gets none.
const SETTLE_MAX: Duration = Duration::from_secs(35);
/// Between two words about those that are waited for.
const TELL: Duration = Duration::from_secs(10);

pub(crate) struct Workers {
    stop: CancellationToken,
    /// One change at a time; `None` once the site stops.
    at_work: Mutex<Option<Vec<Worker>>>,
}

struct Worker {
    name: String,
    stop: CancellationToken,
    /// `None` once it has.
    ended: Option<oneshot::Receiver<()>>,
    thread: Threads,
}

/// What a new one is given.
pub(crate) struct Place {
    pub thread: ArbiterHandle,
    pub stop: CancellationToken,
    /// To be dropped once it has ended after `stop`.
    pub ended: oneshot::Sender<()>,
}

impl Workers {
    pub fn new() -> Workers {
        Workers { stop: CancellationToken::new(), at_work: Mutex::new(Some(Vec::new())) }
    }

    /// Cancelled when all of them end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// `set_to_work` is given each of `parts` with its name's place; a former one of its name must have ended. Must be called
    /// inside an actix system.
    pub async fn start<P, W>(
        &self,
        parts: Vec<P>,
        name: impl Fn(&P) -> &str,
        mut set_to_work: impl FnMut(P, Place) -> W,
    ) -> Result<Vec<W>, Stopping> {
        let mut at_work = self.at_work.lock().await;
        let workers = at_work.as_mut().ok_or(Stopping)?;
        let mut started = Vec::with_capacity(parts.len());
        for part in parts {
            let (name, stop, mut thread) =
                (name(&part).to_owned(), self.stop.child_token(), Threads::default());
            let (tell, ended) = oneshot::channel();
            let place = Place { thread: thread.start(), stop: stop.clone(), ended: tell };
            started.push(set_to_work(part, place));
            workers.push(Worker { name, stop, ended: Some(ended), thread });
        }
        Ok(started)
    }

    /// Tells these to end and waits for it; the names of those that have not by `wait`. They go on ending, and whoever shall
    /// take the place of one waits for it here again. The threads of the others are gone then.
    pub async fn end(&self, names: &[String], wait: Duration) -> Result<Vec<String>, Stopping> {
        let mut at_work = self.at_work.lock().await;
        let Some(workers) = at_work.as_mut() else { return Err(Stopping) };
        let is_meant = |worker: &Worker| names.contains(&worker.name);
        let (mut ending, rest): (Vec<Worker>, Vec<Worker>) =
            std::mem::take(workers).into_iter().partition(is_meant);
        let settled = self.stop.run_until_cancelled(settle(&mut ending, wait)).await;
        let (have_ended, still): (Vec<Worker>, Vec<Worker>) = ending.into_iter().partition(Worker::has_ended);
        let names = still.iter().map(|worker| worker.name.clone()).collect();
        *workers = rest;
        workers.extend(still);
        let _ = tokio::task::spawn_blocking(move || threads(have_ended).end()).await;
        settled.map(|()| names).ok_or(Stopping)
    }

    /// Waits until all have ended, and whether they have in time. Nothing is started afterwards.
    pub async fn end_all(&self) -> (Threads, bool) {
        self.stop.cancel();
        let mut ending = self.at_work.lock().await.take().unwrap_or_default();
        settle(&mut ending, SETTLE_MAX).await;
        let have_ended = ending.iter().all(Worker::has_ended);
        (threads(ending), have_ended)
    }

    /// Tells all to end, and waits for none of them.
    pub async fn leave(&self) -> Threads {
        self.stop.cancel();
        threads(self.at_work.lock().await.take().unwrap_or_default())
    }
}

impl Worker {
    fn has_ended(&self) -> bool {
        self.ended.is_none()
    }

    async fn ended(&mut self) {
        if let Some(ended) = &mut self.ended {
            // An error also says so.
            let _ = ended.await;
            self.ended = None;
        }
    }
}

async fn settle(ending: &mut [Worker], wait: Duration) {
    ending.iter().for_each(|worker| worker.stop.cancel());
    let until = Instant::now() + wait;
    while !ending.iter().all(Worker::has_ended) {
        let all = join_all(ending.iter_mut().map(Worker::ended));
        if tokio::time::timeout_at(until.min(Instant::now() + TELL), all).await.is_ok() {
            return;
        }
        let still: Vec<&Worker> = ending.iter().filter(|worker| !worker.has_ended()).collect();
        let names: Vec<&str> = still.iter().map(|worker| worker.name.as_str()).collect();
        if Instant::now() >= until {
            tracing::warn!(?names, waited_s = wait.as_secs(), "not ended in time; they go on ending");
            return;
        }
        tracing::info!(?names, "waiting until what they took is settled");
    }
}

fn threads(workers: Vec<Worker>) -> Threads {
    let mut threads = Threads::default();
    workers.into_iter().for_each(|worker| threads.add(worker.thread));
    threads
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(3600);

    /// Ends only once it is let go.
    async fn start(workers: &Workers, name: &str) -> oneshot::Sender<()> {
        let started =
            workers.start(vec![name.to_owned()], |name| name.as_str(), |_, place| place.ended).await;
        started.expect("not stopping").pop().expect("one")
    }

    #[actix::test]
    async fn who_has_not_ended_in_time_is_waited_for_again() {
        let workers = Workers::new();
        let (slow, quick) = (start(&workers, "slow").await, start(&workers, "quick").await);
        drop(quick);
        let names = ["slow".to_owned(), "quick".to_owned()];
        assert_eq!(workers.end(&names, SHORT).await.expect("not stopping"), ["slow"]);
        let still = workers.end(&names, SHORT).await.expect("not stopping");
        assert_eq!(still, ["slow"], "it still has its name");
        drop(slow);
        assert!(workers.end(&names, LONG).await.expect("not stopping").is_empty());
        assert!(workers.at_work.lock().await.as_ref().is_some_and(Vec::is_empty));
    }

    #[actix::test]
    async fn the_sites_stop_does_not_wait_for_a_reload_that_waits() {
        let workers = Workers::new();
        let slow = start(&workers, "slow").await;
        let names = ["slow".to_owned()];
        let reload = workers.end(&names, LONG);
        let stop = async {
            tokio::task::yield_now().await;
            workers.stop.cancel();
        };
        let (told, ()) = tokio::join!(reload, stop);
        assert!(told.is_err());
        drop(slow);
        let (threads, have_ended) = workers.end_all().await;
        assert!(have_ended);
        tokio::task::spawn_blocking(move || threads.end()).await.expect("ends");
        assert!(workers.start(vec![String::new()], |name| name.as_str(), |_, _| ()).await.is_err());
    }
}
