//! What this site vouches for, and what it refuses to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::watch;

use super::blame::Blame;
use super::evidence::Suspicion;
use super::testimony::Witness;
use crate::LedgerError;
use crate::blocking;
use crate::checkpoint::{Checkpoint, Note, NoteVerifier};
use crate::keys::SiteKeys;
use crate::merkle::{consistency_proof, root_at, verify_consistency};
use crate::observer::Observer;
use crate::record::Hash;
use crate::store::SiteDb;
use crate::store::applied::load_applied;
use crate::store::generation::Generation;
use crate::store::ledger_store::LedgerStore;

const RECORD: &[u8] = b"cosign/record";
/// How long a request waits until this site has applied as many leaves.
const APPLY_WAIT: Duration = Duration::from_millis(1500);

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this site has applied {known} leaves, size {size} is beyond")]
    Ahead { size: u64, known: u64 },
    #[error("this site has cosigned size {cosigned} and never cosigns a smaller one, such as {size}")]
    Smaller { size: u64, cosigned: u64 },
    #[error("at size {size} this site computes another root: one of the two replicas is wrong")]
    OtherRoot { size: u64 },
    #[error(
        "this site's leaves do not continue the tree that it cosigned at size {cosigned}: run `ledger verify`"
    )]
    Inconsistent { cosigned: u64 },
    #[error(
        "site {site} has signed what contradicts itself; this site holds the evidence and never cosigns for it"
    )]
    Blamed { site: String },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The largest tree that this site ever vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    size: u64,
    root: Hash,
}

/// A checkpoint with this site's signature lines.
#[derive(Clone, Debug)]
pub(crate) struct Vouched {
    pub(crate) checkpoint: Checkpoint,
    /// By the log key.
    pub(crate) signature: String,
    /// By the cosigner key.
    pub(crate) cosignature: String,
}

impl Vouched {
    /// The note with the log's signature alone.
    pub(crate) fn note(&self) -> String {
        format!("{}\n{}", self.checkpoint.text(), self.signature)
    }
}

pub(crate) struct Cosigner {
    keys: Arc<SiteKeys>,
    store: Arc<LedgerStore>,
    observer: Arc<Observer>,
    site_db: Arc<SiteDb>,
    pub(crate) blame: Blame,
    pub(crate) witness: Witness,
    /// Held while the next is checked and kept, so that no two requests can roll it back.
    record: Mutex<Option<Record>>,
    /// The largest size that another site asked for and got.
    asked: watch::Sender<u64>,
}

impl Cosigner {
    pub(crate) fn open(
        keys: Arc<SiteKeys>,
        store: Arc<LedgerStore>,
        observer: Arc<Observer>,
        site_db: Arc<SiteDb>,
        blame: Blame,
    ) -> Result<Cosigner, LedgerError> {
        let record = site_db.get(RECORD)?.map(|bytes| Record::decode(&bytes)).transpose()?;
        Ok(Cosigner {
            witness: Witness::new(keys.clone()),
            keys,
            store,
            observer,
            site_db,
            blame,
            record: Mutex::new(record),
            asked: watch::Sender::new(0),
        })
    }

    /// Signs and cosigns this site's own tree at `size`. Blocks.
    pub(crate) fn sign(&self, size: u64) -> Result<Vouched, Refusal> {
        let root = computed(&self.store.generation(), size)?;
        self.vouch(size, root)
    }

    /// The checkpoint, if the site that signed it is to be answered. Blocks.
    fn admit(&self, request: &Request) -> Result<Checkpoint, Refusal> {
        let verifiers = self.keys.verifiers();
        let logs = &verifiers.logs;
        let (checkpoint, _) = Checkpoint::verify(request.note.as_bytes(), logs)?;
        if let Some(gathered) = &request.gathered {
            // Whoever showed the other site another tree than this one is found here.
            self.blame.see(gathered)?;
        }
        if let Some(site) = self.blame.see(&request.note)? {
            return Err(Refusal::Blamed { site });
        }
        let signed = Note::parse(request.note.as_bytes());
        let by = |key: &&NoteVerifier| {
            signed.as_ref().is_some_and(|note| note.signatures.iter().any(|s| s.is_by(key)))
        };
        match logs
            .iter()
            .filter(by)
            .find_map(|key| self.blame.site_of(key).filter(|s| self.blame.is_blamed(s)))
        {
            Some(site) => Err(Refusal::Blamed { site }),
            None => Ok(checkpoint),
        }
    }

    /// Checks another site's signed checkpoint and returns this site's signature lines for it. Blocks.
    fn cosign(&self, checkpoint: &Checkpoint) -> Result<String, Refusal> {
        let Checkpoint { size, root, .. } = *checkpoint;
        let vouched = match self.vouch(size, root) {
            // What came before is the log key's alone to sign: so a site can be outvoted at any size.
            Err(Refusal::Smaller { .. }) if computed(&self.store.generation(), size)? == root => {
                return self.log_line(size, root);
            }
            Err(Refusal::Smaller { size, .. }) => return Err(Refusal::OtherRoot { size }),
            vouched => vouched?,
        };
        self.asked.send_if_modified(|size| {
            let larger = checkpoint.size > *size;
            *size = checkpoint.size.max(*size);
            larger
        });
        Ok(vouched.signature + &vouched.cosignature)
    }

    /// For a checkpoint that the log key alone signs, of any size up to what is applied here. Blocks.
    pub(crate) fn sign_as_log(&self, size: u64) -> Result<String, Refusal> {
        let root = computed(&self.store.generation(), size)?;
        Ok(format!("{}\n{}", self.checkpoint(size, root).text(), self.log_line(size, root)?))
    }

    /// This site's own checkpoint of the size that `note` has. Blocks.
    pub(crate) fn sign_beside(&self, note: &str) -> Result<String, Refusal> {
        let (checkpoint, _) = Checkpoint::verify(note.as_bytes(), &self.keys.verifiers().logs)?;
        self.sign_as_log(checkpoint.size)
    }

    /// The log key's signature line under this site's own root at `size`. Blocks.
    fn log_line(&self, size: u64, root: Hash) -> Result<String, Refusal> {
        let db = self.store.generation();
        let larger = self.record().filter(|record| record.size > size);
        match larger {
            // A tree that the one vouched for continues: one signature cannot contradict the other.
            Some(record) if continues(&db, Record { size, root }, record)? => {
                #[cfg(any(test, feature = "sim"))]
                crate::sim::signed(size, &root);
                Ok(self.checkpoint(size, root).signature(&self.keys.log)?)
            }
            Some(record) => Err(Refusal::Inconsistent { cosigned: record.size }),
            None => Ok(self.vouch(size, root)?.signature),
        }
    }

    pub(crate) fn watch_asked(&self) -> watch::Receiver<u64> {
        self.asked.subscribe()
    }

    /// 0 if there is none yet.
    pub(crate) fn cosigned_size(&self) -> u64 {
        self.record().map_or(0, |record| record.size)
    }

    fn record(&self) -> Option<Record> {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keys(&self) -> &SiteKeys {
        &self.keys
    }

    /// Signs once it is on the disk that this site vouches for `root` at `size`. Under the lock, so that also the
    /// times of its cosignatures grow with their sizes.
    fn vouch(&self, size: u64, root: Hash) -> Result<Vouched, Refusal> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Record { size: cosigned, .. }) = *record
            && size < cosigned
        {
            return Err(Refusal::Smaller { size, cosigned });
        }
        let db = self.store.generation();
        if computed(&db, size)? != root {
            return Err(Refusal::OtherRoot { size });
        }
        let next = Record { size, root };
        if let Some(last) = *record
            && !continues(&db, last, next)?
        {
            return Err(Refusal::Inconsistent { cosigned: last.size });
        }
        if *record != Some(next) {
            self.site_db.put(RECORD, &next.encode(), true)?;
            *record = Some(next);
        }
        #[cfg(any(test, feature = "sim"))]
        crate::sim::signed(size, &root);
        let checkpoint = self.checkpoint(size, root);
        let signature = checkpoint.signature(&self.keys.log)?;
        let cosignature = self.keys.cosigner.cosign(&checkpoint.text(), now_s());
        Ok(Vouched { checkpoint, signature, cosignature })
    }

    fn checkpoint(&self, size: u64, root: Hash) -> Checkpoint {
        Checkpoint { origin: self.keys.origin().to_owned(), size, root }
    }
}

/// What a site asks another.
pub(crate) struct Request {
    /// Its signed checkpoint, to be cosigned.
    pub(crate) note: String,
    /// The newest one that it has gathered cosignatures for, to be compared with what the other has seen.
    pub(crate) gathered: Option<String>,
}

impl Request {
    /// Notes hold no control characters: a zero byte stands between the two.
    pub(crate) fn encode(self) -> Bytes {
        match self.gathered {
            Some(gathered) => (self.note + "\0" + &gathered).into(),
            None => self.note.into(),
        }
    }

    fn decode(bytes: &Bytes) -> Request {
        let text = String::from_utf8_lossy(bytes);
        match text.split_once('\0') {
            Some((note, gathered)) => Request { note: note.to_owned(), gathered: Some(gathered.to_owned()) },
            None => Request { note: text.into_owned(), gathered: None },
        }
    }
}

/// What a peer's request gets: signature lines of this site.
pub(crate) async fn answer(cosigner: Arc<Cosigner>, request: Bytes) -> Result<String, Refusal> {
    let request = Request::decode(&request);
    let note = request.note.clone();
    let judge = cosigner.clone();
    let checkpoint = blocking::attempt(move || judge.admit(&request)).await?;
    // A size that does not come in time is refused below, by what is applied then.
    let _ = tokio::time::timeout(APPLY_WAIT, cosigner.observer.reaches(checkpoint.size)).await;
    let signer = cosigner.clone();
    let answer = blocking::attempt(move || signer.cosign(&checkpoint)).await;
    if let Err(Refusal::OtherRoot { .. }) = &answer {
        cosigner.observer.suspect(Suspicion::OtherRoot(note));
    }
    answer
}

/// The root of this site's own first `size` leaves.
fn computed(db: &Generation, size: u64) -> Result<Hash, Refusal> {
    let known = load_applied(db)?.size;
    if size > known {
        return Err(Refusal::Ahead { size, known });
    }
    Ok(root_at(db, size)?)
}

/// Whether the tree `new` begins with the tree `old`, by a proof over the tiles that are stored here.
fn continues(db: &Generation, old: Record, new: Record) -> Result<bool, Refusal> {
    let known = load_applied(db)?.size;
    if new.size > known {
        return Err(Refusal::Ahead { size: new.size, known });
    }
    let proof = consistency_proof(db, old.size, new.size)?;
    Ok(verify_consistency(old.size, new.size, &proof, &old.root, &new.root))
}

impl Record {
    const VERSION: u8 = 1;

    fn encode(self) -> Vec<u8> {
        [&[Record::VERSION], self.size.to_be_bytes().as_slice(), &self.root].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Record, LedgerError> {
        let read = || {
            let (size, root) = bytes.strip_prefix(&[Record::VERSION])?.split_first_chunk::<8>()?;
            Some(Record { size: u64::from_be_bytes(*size), root: root.try_into().ok()? })
        };
        read().ok_or_else(|| LedgerError::Damaged("sitedb: the record of what was cosigned".into()))
    }
}

/// Unix time.
pub(super) fn now_s() -> u64 {
    #[cfg(any(test, feature = "sim"))]
    if let Some(now_s) = crate::sim::unix_s() {
        return now_s;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
