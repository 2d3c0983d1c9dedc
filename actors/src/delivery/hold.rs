//! A sink that stands at an alert which its receiver refused, and the person who lets it go.

use std::time::Duration;

use raft_ledger::AppendError;
use tokio::sync::mpsc;

use super::Run;
use crate::entry::{self, Alert, Kind, Release, Released};
use crate::handle::Handle;
use crate::sinks::{HeldAlert, RunningSink};
use crate::{clock, outgoing};

/// Between two looks whether the alert can still be read.
const LOOK: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub alert: HeldAlert,
    release: mpsc::Sender<Release>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("there is no sink {0} here; `medulla sink list` names them")]
    UnknownSink(String),
    #[error("sink {0} holds nothing; `medulla sink list` says how it stands")]
    NotHeld(String),
    #[error("sink {sink} holds the alert of entry {held}, not that of {named}; look at it again")]
    Another { sink: String, held: u64, named: u64 },
    #[error("nothing was done: {0}")]
    Append(AppendError),
}

impl Run {
    /// Until a person lets it go; `None` where its patient was shredded meanwhile, or the sink is told to stop. A restart
    /// sends it once more, as does a reload that exchanges the sink.
    pub(super) async fn hold(&self, index: u64, alert: &Alert, reason: &str) -> Option<Release> {
        let (release, mut released) = mpsc::channel(1);
        let held = HeldAlert {
            alert: alert.facts.id.clone(),
            index,
            reason: reason.to_owned(),
            since: clock::now(),
        };
        let gauge = self.metrics.sink_held.with_label_values(&[&*self.sink.name]);
        gauge.set(1);
        // `release` is kept here as well: the channel ends with this function only.
        self.progress.lock().expect("progress lock").held =
            Some(Held { alert: held, release: release.clone() });
        tracing::error!(sink = %self.sink.name, index, reason, "the sink holds: `medulla sink release` lets it go");
        let how = loop {
            let look = tokio::time::timeout(LOOK, released.recv());
            match self.stop.run_until_cancelled(look).await {
                Some(Ok(how)) => break how,
                Some(Err(_)) if self.is_gone(index) => break None,
                Some(Err(_)) => {}
                // What was let go in this moment is let go: the ledger says so.
                None => break released.try_recv().ok(),
            }
        };
        self.progress.lock().expect("progress lock").held = None;
        gauge.set(0);
        how
    }
}

impl Handle {
    /// Lets a sink go that holds the alert of entry `index`, or whichever it holds. The index of the ledger entry that
    /// says so, which comes first.
    pub async fn release_sink(
        &self,
        name: &str,
        index: Option<u64>,
        how: Release,
        by: &str,
        reason: &str,
    ) -> Result<u64, ReleaseError> {
        let sink = self.inner.sinks.get(name);
        let sink = sink.ok_or_else(|| ReleaseError::UnknownSink(name.to_owned()))?;
        let _one = sink.releasing.lock().await;
        let not_held = || ReleaseError::NotHeld(name.to_owned());
        let held = held(&sink).ok_or_else(not_held)?;
        if let Some(named) = index.filter(|named| *named != held.alert.index) {
            return Err(ReleaseError::Another { sink: name.to_owned(), held: held.alert.index, named });
        }
        let at = clock::now();
        let released = Released {
            alert: held.alert.alert.clone(),
            sink: name.to_owned(),
            how,
            by: by.to_owned(),
            at,
            reason: reason.to_owned(),
            refused: held.alert.reason.clone(),
        };
        let subject = self.subject_of(held.alert.index).ok_or_else(not_held)?;
        let ledger = self.ledger();
        let mut draft = outgoing::draft(ledger, Kind::Released, &subject, entry::encode(&released, b""), at);
        draft.tags.push(ledger.tag("alert", held.alert.alert.as_bytes()));
        let outcomes = ledger.append(vec![draft]).await.map_err(ReleaseError::Append)?;
        // Taken out first: what the sink holds from here on is another refusal.
        let is_this = |now: &Held| now.alert.index == held.alert.index;
        drop(sink.progress.lock().expect("progress lock").held.take_if(|now| is_this(now)));
        held.release.send(how).await.map_err(|_| not_held())?;
        Ok(outcomes.first().map(|outcome| outcome.index).unwrap_or_default())
    }
}

fn held(sink: &RunningSink) -> Option<Held> {
    sink.progress.lock().expect("progress lock").held.clone()
}
