//! Reads the site's own replica behind the commit and brings each entry to whom it concerns. After the ledger,
//! slowness is lag (a gauge) and delays no acknowledgement.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::prelude::*;
use bytes::Bytes;
use clinical::{EventKind, Merge, Merges, PatientId, Time};
use ml_scoring::{AlertPolicy, Scorer, WardBudgets};
use raft_ledger::{Entry, Ledger, LedgerError, Payload, Subject, TAKEOVER};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::alerter::{self, Alerter};
use crate::board::Board;
use crate::checkpoint::{self, Checkpoint};
use crate::drift::{ClosedHour, Windows};
use crate::entry::{self, Acknowledged, Alert, Delivered, Kind, Message, Tick};
use crate::keeping::Keeping;
use crate::metrics::Metrics;
use crate::patient::{Duty, Proposal};
use crate::reading;
use crate::registry::notes::{self, Note};
use crate::registry::standing::{Configured, Role, Standing, model_hashes};
use crate::shadow::Tallies;
use crate::shard::{
    Absorb, Close, Cover, Done, Fold, Forget, IsMeant, Quiet, Restore, Shard, Stand, Take, Work,
};
use crate::{clock, told};

const PAGE: usize = 512;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// How long a lost cold file is waited for: from a peer, or put back by hand.
const COLD_PATIENCE: Duration = Duration::from_secs(600);

pub(crate) struct Tail {
    parts: Option<TailParts>,
}

pub(crate) struct TailParts {
    pub site: String,
    pub ledger: Ledger,
    pub shards: Vec<Addr<Shard>>,
    pub alerter: Addr<Alerter>,
    pub board: Arc<Mutex<Board>>,
    pub budgets: Arc<Mutex<WardBudgets>>,
    pub scorers: Arc<Vec<Scorer>>,
    pub configured: Arc<Configured>,
    /// Changed by a reload of the configuration.
    pub policy: watch::Receiver<AlertPolicy>,
    pub tallies: Arc<Mutex<Tallies>>,
    pub windows: Arc<Mutex<Windows>>,
    pub metrics: Metrics,
    /// Raised to the index of each committed alert of this site.
    pub alerts: watch::Sender<u64>,
    /// Raised to the index before which everything is folded and every alert of it is in the ledger.
    pub settled: watch::Sender<u64>,
    pub stop: CancellationToken,
    pub finished: tokio::sync::oneshot::Sender<()>,
}

impl Tail {
    pub fn new(parts: TailParts) -> Tail {
        Tail { parts: Some(parts) }
    }
}

impl Actor for Tail {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(parts) = self.parts.take() {
            context.spawn(run(parts).into_actor(self));
        }
    }
}

async fn run(parts: TailParts) {
    let mut size = parts.ledger.watch_size();
    let keeping = Keeping::new(parts.alerter.clone());
    let duty = Duty { own: parts.site.clone(), covered: BTreeSet::new() };
    let mut follower = Follower {
        cursor: 0,
        cold_since: None,
        merges: Merges::default(),
        duty,
        standing: Standing::new(parts.configured.clone()),
        keeping,
        parts,
    };
    if !follower.restore().await {
        let _ = follower.parts.finished.send(());
        return;
    }
    let mut saved = (Instant::now(), follower.cursor);
    let mut policy = follower.parts.policy.clone();
    loop {
        if policy.has_changed().unwrap_or_default() {
            policy.mark_unchanged();
            follower.stand((follower.cursor, clock::now())).await;
        }
        let applied = *size.borrow_and_update();
        let lag = applied.saturating_sub(follower.cursor) + follower.keeping.len() as u64;
        follower.parts.metrics.tail_lag.set(lag as i64);
        if follower.keeping.len() == 0 {
            follower.parts.settled.send_replace(follower.cursor);
        }
        if follower.cursor >= applied {
            tokio::select! {
                () = follower.parts.stop.cancelled() => break,
                changed = size.changed() => if changed.is_err() { break },
                // Looked at above. Whoever sets it is there as long as the site is.
                Ok(()) = policy.changed() => policy.mark_changed(),
                () = follower.keeping.next(), if follower.keeping.len() > 0 => {}
                () = tokio::time::sleep(CHECKPOINT_EVERY) => {}
            }
        } else if !follower.page().await {
            // Nothing could be read; storage says why on each try.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if saved.0.elapsed() >= CHECKPOINT_EVERY && saved.1 != follower.cursor {
            follower.save().await;
            saved = (Instant::now(), follower.cursor);
        }
        if follower.parts.stop.is_cancelled() {
            break;
        }
    }
    follower.save().await;
    let _ = follower.parts.finished.send(());
}

struct Follower {
    parts: TailParts,
    /// The next index to be read.
    cursor: u64,
    /// Since when entries in lost cold files hold it up. Once it has waited long enough, further ones cost no wait.
    cold_since: Option<Instant>,
    /// A40: key of a patient that no longer stands for itself → key of the one that does.
    merges: Merges<String>,
    /// Whom this site alerts for at the cursor.
    duty: Duty,
    /// What its scorers may do at the cursor.
    standing: Standing,
    keeping: Keeping,
}

impl Follower {
    /// Whether it came any further.
    async fn page(&mut self) -> bool {
        let entries = match self.read() {
            Ok(entries) => entries,
            Err(error) => return self.pass_over(&error).await,
        };
        let Some(last) = entries.last() else { return false };
        self.cursor = last.index + 1;
        let mut work: Vec<Vec<Work>> = self.parts.shards.iter().map(|_| Vec::new()).collect();
        for entry in entries {
            self.take(entry, &mut work).await;
        }
        self.fold(work).await;
        true
    }

    /// From the cursor on; before a lost cold file, what stands before it.
    fn read(&mut self) -> Result<Vec<Entry>, LedgerError> {
        let ledger = &self.parts.ledger;
        match ledger.read_from(self.cursor, PAGE) {
            Err(LedgerError::Cold(_)) => {}
            Err(error) => return Err(error),
            Ok(entries) => {
                // It came back in time: the next loss is waited for again.
                self.cold_since = self.cold_since.filter(|since| since.elapsed() >= COLD_PATIENCE);
                return Ok(entries);
            }
        }
        let mut entries = ledger.read_from(self.cursor, 1)?;
        while let Some(last) = entries.last()
            && entries.len() < PAGE
            && let Ok(next) = ledger.read_from(last.index + 1, 1)
            && !next.is_empty()
        {
            entries.extend(next);
        }
        Ok(entries)
    }

    /// One lost cold file must not stop all scoring for ever. Whether an entry was passed over.
    async fn pass_over(&mut self, error: &LedgerError) -> bool {
        let index = self.cursor;
        if matches!(error, LedgerError::Cold(_))
            && self.cold_since.get_or_insert_with(Instant::now).elapsed() >= COLD_PATIENCE
        {
            match notes::unread(&self.parts.ledger, index, &model_hashes(&self.parts.scorers)) {
                Ok(Some(note)) => self.obey(&note).await,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, index, "what the tags of an entry say cannot be read");
                    return false;
                }
            }
            tracing::error!(%error, index, "entry is passed over: its cold file stays lost");
            self.cursor += 1;
            return true;
        }
        tracing::error!(%error, index, "entries cannot be read");
        false
    }

    /// Messages gather in `work`; what must not overtake them folds them first.
    async fn take(&mut self, entry: Entry, work: &mut [Vec<Work>]) {
        let own = entry.site == self.parts.site;
        if entry.kind == Kind::ModelRegistered as u16 {
            // Also one that is sealed: its tags say whether it concerns a scorer of this site.
            self.fold(drain(work)).await;
            return self.decided(&entry).await;
        }
        let payload = match &entry.payload {
            Payload::Open(payload) | Payload::Entrusted(payload) => payload,
            // What another site shredded, this one may have heard of elsewhere, and under its own keys.
            Payload::Shred { subjects, .. } => {
                self.fold(drain(work)).await;
                return self.forget(&entry.site, subjects).await;
            }
            Payload::Shredded | Payload::Sealed => return,
        };
        if entry.kind == TAKEOVER {
            self.fold(drain(work)).await;
            return self.cover(&entry).await;
        }
        match Kind::from_u16(entry.kind) {
            // Also those of a site that this one may have to stand in for: who stands in must know its patients.
            Some(Kind::Message) => match entry::decode::<Message>(payload) {
                Ok((message, _)) => self.message(&entry, message, work).await,
                Err(error) => unreadable(&entry, &error),
            },
            Some(Kind::Tick) if own => match entry::decode::<Tick>(payload) {
                Ok((tick, _)) => {
                    self.fold(drain(work)).await;
                    self.close(entry.index, tick.at).await;
                }
                Err(error) => unreadable(&entry, &error),
            },
            Some(Kind::Alert) => {
                // The board names the patient, so its row must stand first.
                self.fold(drain(work)).await;
                self.show(&entry, payload);
                if own {
                    self.parts.alerts.send_replace(entry.index);
                }
            }
            Some(Kind::Acknowledged) => {
                self.fold(drain(work)).await;
                self.quiet(payload).await;
                if let Some(waited_ms) = self.show(&entry, payload)
                    && own
                {
                    self.parts.metrics.acknowledge_seconds.observe(waited_ms as f64 / 1000.0);
                }
            }
            Some(Kind::Delivered) => {
                self.show(&entry, payload);
            }
            _ => {}
        }
    }

    /// What a person who answered wants of the alerts to come counts from here on.
    async fn quiet(&self, payload: &Bytes) {
        // What cannot be read is told of where the board shows it.
        let Ok((answer, _)) = entry::decode::<Acknowledged>(payload) else { return };
        let about = self.board(|board| board.about(&answer.alert));
        if let Some((key, hash)) = about {
            let key = self.merges.survivor(&key).clone();
            let shard = &self.parts.shards[self.shard_of(&key)];
            let _ = shard.send(Quiet { key, hash, answer: answer.answered() }).await;
        }
    }

    /// What the board shows of alerts. For a first answer: how long the alert had waited for it.
    fn show(&self, entry: &Entry, payload: &Bytes) -> Option<i64> {
        let shown = match Kind::from_u16(entry.kind) {
            Some(Kind::Alert) => entry::decode::<Alert>(payload).map(|(alert, _)| {
                let key = self.key(&alert.facts.patient);
                let kept_at = Time(entry.received_time_ms);
                let home = told::home(&alert.facts);
                let origin = (home != self.duty.own).then(|| home.to_owned());
                let subject = self.parts.ledger.subject(&reading::subject_key(&alert.facts.patient));
                self.board(|board| board.add_alert(entry.index, kept_at, key, origin, subject, &alert));
                None
            }),
            Some(Kind::Delivered) => entry::decode::<Delivered>(payload).map(|(delivered, _)| {
                self.board(|board| board.delivered(&delivered));
                None
            }),
            _ => entry::decode::<Acknowledged>(payload).map(|(answer, _)| {
                let kept_at = self.board(|board| board.acknowledged(&answer))?;
                Some(answer.at.0.saturating_sub(kept_at.0).max(0))
            }),
        };
        shown.unwrap_or_else(|error| {
            unreadable(entry, &error);
            None
        })
    }

    async fn message(&mut self, entry: &Entry, message: Message, work: &mut [Vec<Work>]) {
        let mut by_patient: Vec<(String, Vec<clinical::Event>)> = Vec::new();
        // A message mostly speaks of one patient, and a key costs a MAC.
        let mut last: Option<(PatientId, String)> = None;
        let again = message.again.clone();
        for event in message.into_news() {
            // A FHIR Patient says each time what its logical id is: what is known moves nothing.
            if let EventKind::Merged { from } = &event.kind
                && !self.knows(from, &event.patient)
            {
                self.fold(drain(work)).await;
                self.merge(entry.index, from, &event.patient).await;
                last = None;
            }
            let key = match last.take() {
                Some((patient, key)) if patient == event.patient => key,
                _ => self.key(&event.patient),
            };
            last = Some((event.patient.clone(), key.clone()));
            match by_patient.iter_mut().find(|(known, _)| *known == key) {
                Some((_, events)) => events.push(event),
                None => by_patient.push((key, vec![event])),
            }
        }
        for (key, events) in by_patient {
            let received_at = Time(entry.received_time_ms);
            let shard = self.shard_of(&key);
            let site = entry.site.clone();
            work[shard].push(Work {
                key,
                index: entry.index,
                site,
                received_at,
                events,
                again: again.clone(),
            });
        }
    }

    async fn fold(&mut self, work: Vec<Vec<Work>>) {
        let folded = self.parts.shards.iter().zip(work).filter(|(_, work)| !work.is_empty());
        let folded = futures_util::future::join_all(folded.map(|(shard, work)| shard.send(Fold(work))));
        let (mut shadow, mut closed) = (Vec::new(), Vec::new());
        for done in folded.await {
            let mut done = done.unwrap_or_default();
            shadow.append(&mut done.shadow);
            closed.append(&mut done.closed);
            self.finish(done).await;
        }
        self.tallies(|tallies, _| tallies.count(shadow));
        self.count_closed(closed);
    }

    async fn close(&mut self, index: u64, at: Time) {
        for shard in self.parts.shards.clone() {
            self.finish(shard.send(Close { index, at }).await.unwrap_or_default()).await;
        }
    }

    /// From this entry on this site stands in for others, or for others than before.
    async fn cover(&mut self, entry: &Entry) {
        let covered = match self.covered_before(entry.index + 1) {
            Ok(covered) if covered == self.duty.covered => return,
            Ok(covered) => covered,
            Err(error) => return tracing::error!(%error, index = entry.index, "leases cannot be read"),
        };
        self.take_over(covered, Time(entry.received_time_ms)).await;
    }

    fn covered_before(&self, index: u64) -> Result<BTreeSet<String>, LedgerError> {
        let leases = self.parts.ledger.leases_before(index)?;
        let own = leases.into_iter().filter(|lease| lease.holder == self.duty.own);
        Ok(own.map(|lease| lease.site).collect())
    }

    async fn take_over(&mut self, covered: BTreeSet<String>, at: Time) {
        tracing::info!(sites = ?covered, "this site stands in for");
        let active = &self.parts.metrics.takeover_active;
        for site in &self.duty.covered {
            active.with_label_values(&[site]).set(0);
        }
        for site in &covered {
            active.with_label_values(&[site]).set(1);
        }
        self.duty.covered.clone_from(&covered);
        // Before the alerts, which name what the board then shows.
        self.board(|board| board.cover(covered.clone()));
        for shard in self.parts.shards.clone() {
            let cover = Cover { sites: covered.clone(), at };
            self.finish(shard.send(cover).await.unwrap_or_default()).await;
        }
    }

    /// From this entry on other scorers may score.
    async fn decided(&mut self, entry: &Entry) {
        let known = model_hashes(&self.parts.scorers);
        let note = self.insist(|ledger| notes::of(ledger, entry, &known)).await;
        if let Some(note) = note {
            self.obey(&note).await;
        }
    }

    async fn obey(&mut self, note: &Note) {
        let alerting = self.alerting();
        self.standing.take(note);
        for task in alerting.difference(&self.alerting()) {
            tracing::error!(task, index = note.index, "from this entry on nothing alerts for this task here");
        }
        self.stand((note.index, note.at)).await;
    }

    /// Tasks for which something alerts here.
    fn alerting(&self) -> BTreeSet<String> {
        let live = self.parts.scorers.iter().filter(|scorer| self.standing.role(scorer) == Role::Live);
        live.map(|scorer| scorer.task().to_owned()).collect()
    }

    /// What entries about models say, however often it takes to read them: without it a retired model might alert.
    /// `None`: the site stops.
    async fn insist<T>(&self, read: impl Fn(&Ledger) -> Result<T, LedgerError>) -> Option<T> {
        loop {
            match read(&self.parts.ledger) {
                Ok(found) => return Some(found),
                Err(error) => {
                    tracing::error!(%error, "entries about models cannot be read; nothing is scored until then")
                }
            }
            tokio::select! {
                () = self.parts.stop.cancelled() => return None,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// `now`: the place in the ledger.
    async fn stand(&mut self, now: (u64, Time)) {
        let mut places = self.standing.places(&self.parts.scorers);
        let policy = self.parts.policy.borrow().clone();
        self.tallies(|tallies, parts| {
            tallies.stand(&parts.scorers, &mut places, &self.standing, &policy, now);
        });
        self.parts.windows.lock().expect("windows lock").stand(&self.parts.scorers, &places);
        for shard in self.parts.shards.clone() {
            self.finish(shard.send(Stand(places.clone(), policy.clone())).await.unwrap_or_default()).await;
        }
    }

    fn tallies<T>(&self, change: impl FnOnce(&mut Tallies, &TailParts) -> T) -> T {
        change(&mut self.parts.tallies.lock().expect("tallies lock"), &self.parts)
    }

    fn count_closed(&self, hours: Vec<ClosedHour>) {
        self.parts.windows.lock().expect("windows lock").count(&self.parts.scorers, hours);
    }

    /// Shows what changed and has the alerts kept.
    async fn finish(&mut self, done: Done) {
        self.tallies(|tallies, _| tallies.count(done.shadow));
        self.count_closed(done.closed);
        self.board(|board| done.rows.into_iter().for_each(|row| board.set_patient(row)));
        let alerts: Vec<Alert> = done.proposals.into_iter().map(|proposal| self.identify(proposal)).collect();
        self.keeping.add(alerts).await;
    }

    /// Drops what this site has made of entries that are shredded now. It stands at its place in the ledger: what came
    /// before goes, also when it is folded again after a restart, and what comes after begins a new state.
    async fn forget(&mut self, site: &str, subjects: &[Subject]) {
        let ledger = self.parts.ledger.clone();
        let meant: BTreeSet<[u8; 32]> = subjects.iter().map(|subject| subject.0).collect();
        let is_meant = move |subject_key: &[u8]| meant.contains(&ledger.subject(subject_key).0);
        let is_meant: IsMeant = Arc::new(is_meant);
        self.keeping.forget(|alert| {
            told::home(&alert.facts) == site && is_meant(&reading::subject_key(&alert.facts.patient))
        });
        let mut gone = Vec::new();
        for shard in &self.parts.shards {
            let forget = Forget { site: site.to_owned(), is_meant: is_meant.clone() };
            gone.extend(shard.send(forget).await.unwrap_or_default());
        }
        gone.iter().for_each(|key| checkpoint::forget(&self.parts.ledger, key));
        let alerts: Vec<u64> = self.board(|board| board.alert_indices());
        let is_shredded = |index: &u64| {
            let read = self.parts.ledger.read_from(*index, 1).unwrap_or_default();
            read.first().is_some_and(|entry| matches!(entry.payload, Payload::Shredded))
        };
        let alerts: Vec<u64> = alerts.into_iter().filter(is_shredded).collect();
        self.board(|board| board.forget(&gone, &alerts, (site, subjects)));
    }

    fn identify(&self, Proposal { trigger, mut alert }: Proposal) -> Alert {
        alert.facts.site.clone_from(&self.parts.site);
        alert.facts.id = alerter::alert_id(&self.parts.ledger, &alert.facts, trigger);
        alert
    }

    async fn merge(&mut self, index: u64, from: &PatientId, into: &PatientId) {
        let [from, into] = [from, into].map(|patient| reading::patient_key(&self.parts.ledger, patient));
        let (from, into) = match self.merges.merge(&from, &into) {
            Merge::Joined { from, into } => (from, into),
            Merge::Known => return,
            refused => {
                let code = if refused == Merge::Circle { "merge-cycle" } else { "merge-contradicts" };
                tracing::warn!(
                    index,
                    code,
                    "a merge contradicts earlier ones and is not followed; see the message"
                );
                self.parts.metrics.merges_refused.with_label_values(&[code]).inc();
                return;
            }
        };
        let (source, target) = (self.shard_of(&from), self.shard_of(&into));
        let taken = self.parts.shards[source].send(Take(from.clone())).await;
        if let Ok(Some(patient)) = taken {
            let _ = self.parts.shards[target].send(Absorb(into.clone(), patient)).await;
        }
        self.board(|board| board.merge(&from, &into));
    }

    fn knows(&self, from: &PatientId, into: &PatientId) -> bool {
        let [from, into] = [from, into].map(|patient| reading::patient_key(&self.parts.ledger, patient));
        self.merges.knows(&from, &into)
    }

    /// The key under which this patient's state stands: that of the last survivor of its merges.
    fn key(&self, patient: &PatientId) -> String {
        self.merges.survivor(&reading::patient_key(&self.parts.ledger, patient)).clone()
    }

    fn shard_of(&self, key: &str) -> usize {
        let hash =
            key.bytes().fold(0usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
        hash % self.parts.shards.len().max(1)
    }

    fn board<T>(&self, change: impl FnOnce(&mut Board) -> T) -> T {
        change(&mut self.parts.board.lock().expect("board lock"))
    }

    /// False: the site stops before it was done.
    async fn restore(&mut self) -> bool {
        let Checkpoint { cursor, merges, patients } = checkpoint::load(&self.parts.ledger);
        self.cursor = cursor;
        self.merges = merges;
        let known = model_hashes(&self.parts.scorers);
        let Some(notes) = self.insist(|ledger| notes::all(ledger, ledger.size(), &known)).await else {
            return false;
        };
        let before = notes.iter().filter(|note| note.index < cursor);
        self.standing = Standing::after(self.parts.configured.clone(), before);
        self.standing.await_promotions(&notes);
        self.tallies(|tallies, parts| *tallies = checkpoint::load_tallies(&parts.ledger, cursor));
        *self.parts.windows.lock().expect("windows lock") =
            checkpoint::load_windows(&self.parts.ledger, cursor);
        self.stand((cursor, clock::now())).await;
        // Before there are patients: those were scored when the lease began.
        match self.covered_before(cursor) {
            Ok(covered) if covered.is_empty() => {}
            Ok(covered) => self.take_over(covered, Time::default()).await,
            Err(error) => tracing::error!(%error, "leases cannot be read"),
        }
        let mut by_shard: Vec<Vec<_>> = self.parts.shards.iter().map(|_| Vec::new()).collect();
        for (key, patient) in patients {
            let shard = self.shard_of(&key);
            by_shard[shard].push((key, patient));
        }
        for (shard, patients) in self.parts.shards.iter().zip(by_shard) {
            for row in shard.send(Restore(patients)).await.unwrap_or_default() {
                self.board(|board| board.set_patient(row));
            }
        }
        checkpoint::for_each_answered_alert(&self.parts.ledger, cursor, |entry| {
            if let Payload::Open(payload) | Payload::Entrusted(payload) = &entry.payload {
                self.show(&entry, payload);
            }
        });
        true
    }

    async fn save(&mut self) {
        // A checkpoint says that every alert before its cursor is in the ledger.
        self.keeping.all().await;
        let mut changed = Vec::new();
        for shard in &self.parts.shards {
            changed.extend(shard.send(crate::shard::Dirty).await.unwrap_or_default());
        }
        let budgets = self.parts.budgets.lock().expect("budgets lock").clone();
        let tallies = self.tallies(|tallies, _| tallies.clone());
        let windows = self.parts.windows.lock().expect("windows lock").clone();
        checkpoint::save(
            &self.parts.ledger,
            self.cursor,
            &self.merges,
            &budgets,
            &tallies,
            &windows,
            changed,
        );
    }
}

fn drain(work: &mut [Vec<Work>]) -> Vec<Vec<Work>> {
    work.iter_mut().map(std::mem::take).collect()
}

fn unreadable(entry: &Entry, error: &entry::EntryError) {
    tracing::error!(index = entry.index, kind = entry.kind, %error, "entry is passed over; it stays in the ledger");
}
