//! What must hold, judged by a second, naive reading of the committed log, and by what every site did with it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::proofs::Proofs;
use crate::Outcome;
use crate::apply::{Effect, Refusal};
use crate::raft::{Entry, Payload};
use crate::record::{Batch, Command, Hash, Item, OpenEpoch, Takeover, sha256};
use crate::rules::{NEXT, next_dedupe_window};
use crate::store::applied::Applied;
use crate::takeover::Leases;
use crate::types::TAKEOVER;

/// One committed entry and what it must do, on whichever site.
struct Committed {
    digest: Hash,
    did: Did,
    held: Held,
}

/// What a ledger is after an entry.
#[derive(Clone, Copy, PartialEq)]
struct Held {
    size: u64,
    root: Hash,
    /// By which it goes on.
    version: u32,
}

impl Held {
    fn of(applied: &Applied) -> Held {
        Held { size: applied.size, root: applied.root, version: applied.apply_version }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "size {} root {} version {}", self.size, hex::encode(self.root), self.version)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Did {
    Nothing,
    Applied(Vec<Outcome>),
    EpochOpened(u64),
    Refused,
}

impl Did {
    /// The first difference, in words.
    fn against(&self, expected: &Did) -> String {
        let (Did::Applied(did), Did::Applied(other)) = (self, expected) else {
            return format!("{self:?}, expected {expected:?}");
        };
        match did.iter().zip(other).position(|(did, expected)| did != expected) {
            Some(n) => format!("message {n} of its batch: {:?}, expected {:?}", did[n], other[n]),
            None => format!("{} outcomes, expected {}", did.len(), other.len()),
        }
    }
}

#[derive(Default)]
struct Site {
    epoch: u64,
    next_site_seq: u64,
    previous: Hash,
}

pub(super) struct Leaf {
    pub(super) hash: Hash,
    pub(super) dedupe: Option<[u8; 32]>,
    pub(super) site: String,
    /// What it says of who is gone.
    pub(super) takeover: Option<Takeover>,
}

#[derive(Default)]
pub(super) struct Model {
    log: Vec<Committed>,
    sites: BTreeMap<String, Site>,
    pub(super) leaves: Vec<Leaf>,
    /// Indices of the leaves of each dedupe key.
    by_dedupe: HashMap<[u8; 32], Vec<u64>>,
    /// Roots of perfect subtrees with their sizes, largest first.
    peaks: Vec<(u64, Hash)>,
    /// Per site the raft index that it applies next.
    next: BTreeMap<usize, u64>,
    acknowledged: Vec<([u8; 32], Outcome)>,
    leaders: BTreeMap<u64, u64>,
    votes: BTreeMap<(u64, u64), u64>,
    window: u64,
    /// Which the last raising entry has named.
    version: u32,
    /// Of the committed leaves in their order.
    pub(super) leases: Leases,
    pub(super) proofs: Proofs,
}

pub(super) type Verdict = Result<(), String>;

impl Model {
    pub(super) fn new(window: u64) -> Model {
        Model { window, ..Model::default() }
    }

    pub(super) fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// Leaves that a dedupe key is remembered for by now.
    pub(super) fn window(&self) -> u64 {
        if self.version >= NEXT { next_dedupe_window(self.window) } else { self.window }
    }

    fn held(&self) -> Held {
        Held { size: self.size(), root: self.root(), version: self.version }
    }

    /// RFC 6962 §2.1, from the peaks.
    pub(super) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev().map(|(_, hash)| *hash);
        let Some(last) = peaks.next() else { return sha256(&[]) };
        peaks.fold(last, |right, left| sha256(&[&[1], &left, &right]))
    }

    /// Raft entries known to be committed.
    pub(super) fn entries(&self) -> u64 {
        self.log.len() as u64
    }

    /// A site starts from what it has, or took a snapshot.
    pub(super) fn loaded(&mut self, site: usize, applied: &Applied) -> Verdict {
        let next = applied.last.as_ref().map_or(0, |last| last.index + 1);
        self.next.insert(site, next);
        match next.checked_sub(1) {
            Some(last) => self.check_held(site, last, applied),
            None => Ok(()),
        }
    }

    /// The disk of a site was wiped.
    pub(super) fn wiped(&mut self, site: usize) {
        self.next.insert(site, 0);
    }

    /// A site is about to apply an entry. Its power may go once that is written and before it can say so, and others may
    /// take the entry with its ledger: this is the last moment at which everyone's entries are sure to be heard of.
    pub(super) fn applying(&mut self, site: usize, entry: &Entry) -> Verdict {
        let (index, digest) = (entry.log_id.index, digest(entry));
        match self.log.get(index as usize) {
            Some(known) if known.digest == digest => Ok(()),
            Some(_) => Err(format!("site {site} applied another entry {index} than was committed")),
            None if index == self.entries() => {
                let did = self.commit(entry);
                self.log.push(Committed { digest, did, held: self.held() });
                Ok(())
            }
            None => {
                Err(format!("site {site} applied entry {index} where {} was next of all", self.entries()))
            }
        }
    }

    pub(super) fn applied(&mut self, site: usize, index: u64, effect: &Effect, applied: &Applied) -> Verdict {
        let next = self.next.insert(site, index + 1).unwrap_or(0);
        if index != next {
            return Err(format!("site {site} applied entry {index} where {next} was next"));
        }
        if let Effect::Refused { refusal, .. } = effect
            && !matches!(refusal, Refusal::Replay | Refusal::Gap | Refusal::WrongEpoch)
        {
            return Err(format!("site {site} refused entry {index} of an honest site: {refusal:?}"));
        }
        let did = match effect {
            Effect::Nothing => Did::Nothing,
            Effect::Applied { outcomes, .. } => Did::Applied(outcomes.clone()),
            Effect::EpochOpened { epoch, .. } => Did::EpochOpened(*epoch),
            Effect::Refused { .. } => Did::Refused,
        };
        let expected = &self.known(site, index)?.did;
        if did != *expected {
            return Err(format!("site {site} at entry {index}: {}", did.against(expected)));
        }
        self.check_held(site, index, applied)
    }

    fn known(&self, site: usize, index: u64) -> Result<&Committed, String> {
        self.log
            .get(index as usize)
            .ok_or_else(|| format!("site {site} holds entry {index}, which none has applied"))
    }

    fn check_held(&self, site: usize, index: u64, applied: &Applied) -> Verdict {
        let (held, expected) = (Held::of(applied), self.known(site, index)?.held);
        if held != expected {
            return Err(format!("site {site} after entry {index}: {held}, expected {expected}"));
        }
        Ok(())
    }

    pub(super) fn is_applied_by_all(&self) -> bool {
        self.next.values().all(|next| *next == self.entries())
    }

    pub(super) fn state(&self) -> String {
        format!("{} entries, applied up to {:?}", self.entries(), self.next)
    }

    /// Once all sites agree: nothing that was acknowledged may be unknown.
    pub(super) fn close(&self) -> Verdict {
        self.proofs.close()?;
        self.acknowledged.iter().try_for_each(|(dedupe, outcome)| self.check_acknowledged(*dedupe, *outcome))
    }

    /// What the next committed entry must do.
    fn commit(&mut self, entry: &Entry) -> Did {
        let Payload::Normal(proposal) = &entry.payload else { return Did::Nothing };
        match Command::decode(proposal.0.clone()) {
            Ok(Command::Batch(batch)) => self.batch(&batch),
            Ok(Command::OpenEpoch(open)) => self.open_epoch(&open),
            Ok(Command::ApplyVersion(raise)) => {
                self.version = self.version.max(raise.apply_version);
                Did::Nothing
            }
            Ok(_) => Did::Nothing,
            Err(_) => Did::Refused,
        }
    }

    fn open_epoch(&mut self, open: &OpenEpoch) -> Did {
        let site = self.sites.entry(open.site.to_string()).or_default();
        if open.previous_epoch != site.epoch {
            return Did::Refused;
        }
        site.epoch += 1;
        site.next_site_seq = 0;
        Did::EpochOpened(site.epoch)
    }

    /// Numbers and hashes follow one another without a gap, or the batch makes nothing.
    fn batch(&mut self, batch: &Batch) -> Did {
        let head = &batch.head;
        let site = self.sites.entry(head.site.to_string()).or_default();
        let place = (head.epoch, head.first_site_seq, head.previous);
        if site.epoch == 0 || place != (site.epoch, site.next_site_seq, site.previous) {
            return Did::Refused;
        }
        site.previous = batch.hash();
        let (first, mut outcomes) = (self.size(), Vec::new());
        for item in &batch.items {
            let Item::Message(message) = item else { continue };
            let site = self.sites.entry(head.site.to_string()).or_default();
            let leaf = message.leaf(head, site.next_site_seq).encode();
            site.next_site_seq += 1;
            let leaf = Leaf {
                hash: sha256(&[&[0], &leaf]),
                dedupe: message.private.dedupe,
                site: head.site.to_string(),
                takeover: (message.kind == TAKEOVER)
                    .then(|| Takeover::decode(message.ciphertext.clone()).ok())
                    .flatten(),
            };
            if let Some(takeover) = leaf.takeover.clone() {
                self.leases.take(self.size(), &head.site, takeover);
            }
            outcomes.push(self.message(leaf, first));
        }
        Did::Applied(outcomes)
    }

    fn message(&mut self, leaf: Leaf, batch: u64) -> Outcome {
        let (index, window) = (self.size(), self.window());
        if let Some(dedupe) = leaf.dedupe {
            let leaves = self.by_dedupe.entry(dedupe).or_default();
            // The window: the last `window` leaves, and all of the batch that begins at `batch`. Production's
            // window is longer than any batch.
            let known = |first: &u64| index - first < window || *first >= batch;
            if let Some(first) = leaves.iter().copied().find(known) {
                return Outcome { index: first, duplicate: true };
            }
            leaves.push(index);
        }
        self.peaks.push((1, leaf.hash));
        self.leaves.push(leaf);
        while let [.., (left_size, left), (right_size, right)] = self.peaks.as_slice()
            && left_size == right_size
        {
            let joined = (left_size + right_size, sha256(&[&[1], left, right]));
            self.peaks.truncate(self.peaks.len() - 2);
            self.peaks.push(joined);
        }
        self.proofs.grown(self.root());
        Outcome { index, duplicate: false }
    }

    /// A caller was told that the message with this dedupe key is at this index.
    pub(super) fn acknowledged(&mut self, dedupe: [u8; 32], outcome: Outcome) -> Verdict {
        self.acknowledged.push((dedupe, outcome));
        match outcome.index < self.size() {
            true => self.check_acknowledged(dedupe, outcome),
            false => Ok(()),
        }
    }

    fn check_acknowledged(&self, dedupe: [u8; 32], outcome: Outcome) -> Verdict {
        match self.leaves.get(outcome.index as usize) {
            Some(leaf) if leaf.dedupe == Some(dedupe) => Ok(()),
            Some(_) => Err(format!("acknowledged at index {}, where another message is", outcome.index)),
            None => Err(format!("acknowledged at index {}, which was lost", outcome.index)),
        }
    }

    pub(super) fn leads(&mut self, term: u64, leader: u64) -> Verdict {
        let known = *self.leaders.entry(term).or_insert(leader);
        if known != leader {
            return Err(format!("two leaders of term {term}: {known} and {leader}"));
        }
        Ok(())
    }

    pub(super) fn voted(&mut self, voter: u64, term: u64, candidate: u64) -> Verdict {
        let known = *self.votes.entry((voter, term)).or_insert(candidate);
        if known != candidate {
            return Err(format!("node {voter} voted for {known} and for {candidate} in term {term}"));
        }
        Ok(())
    }
}

fn digest(entry: &Entry) -> Hash {
    let id = [entry.log_id.leader_id.term.to_be_bytes(), entry.log_id.index.to_be_bytes()].concat();
    match &entry.payload {
        Payload::Normal(proposal) => sha256(&[&id, &[1], &proposal.0]),
        other => sha256(&[&id, &[2], format!("{other:?}").as_bytes()]),
    }
}
