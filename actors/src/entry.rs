//! What a ledger entry's payload holds. The ledger itself sees opaque bytes with a kind.
//!
//! Layout: version byte (1), length of the head (u32, big-endian), head (MessagePack map with field names),
//! then the message's raw bytes to the end. A payload that compression makes smaller begins with version 2; a
//! payload of version 1, compressed, follows (`compression.rs`). Field names are a stable format: add optional
//! fields, never rename or reuse one. The head says which reader and which code table made the events, so that a
//! later release explains an old alert with the same number.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use clinical::{AlertFacts, Event, Issue, Time};
use ml_scoring::{Answered, Card};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::compression;

/// Raised whenever the same bytes would be read into other events.
pub const READER: u16 = 5;

/// Names a FHIR resource by the id that its answer said, as `Type/id` where its sender gave that id, or by an identifier.
pub const RESOURCE_TAG: &str = "resource";

const VERSION: u8 = 1;
const COMPRESSED: u8 = 2;
/// Room for the head of an ordinary message: a dozen results.
const HEAD_BYTES: usize = 4096;

/// The ledger's `kind` of each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    Message = 1,
    Rejected = 2,
    Alert = 3,
    Delivered = 4,
    Acknowledged = 5,
    Tick = 6,
    ModelRegistered = 7,
    MembersChanged = 16,
    Repaired = 17,
    Released = 18,
    Reloaded = 19,
}

impl Kind {
    pub const ALL: [Kind; 11] = [
        Kind::Message,
        Kind::Rejected,
        Kind::Alert,
        Kind::Delivered,
        Kind::Acknowledged,
        Kind::Tick,
        Kind::ModelRegistered,
        Kind::MembersChanged,
        Kind::Repaired,
        Kind::Released,
        Kind::Reloaded,
    ];

    /// `None` for kinds of a later release: they are kept and passed over.
    pub fn from_u16(kind: u16) -> Option<Kind> {
        Kind::ALL.into_iter().find(|known| *known as u16 == kind)
    }

    /// What its `kind` tag says. A stable format.
    pub(crate) fn tag(self) -> &'static [u8] {
        match self {
            Kind::Message => b"message",
            Kind::Rejected => b"rejected",
            Kind::Alert => b"alert",
            Kind::Delivered => b"delivered",
            Kind::Acknowledged => b"acknowledged",
            Kind::Tick => b"tick",
            Kind::ModelRegistered => b"model",
            Kind::MembersChanged => b"members",
            Kind::Repaired => b"repaired",
            Kind::Released => b"released",
            Kind::Reloaded => b"reloaded",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Hl7v2,
    Fhir,
    Unknown,
}

/// A message that was read. Its raw bytes follow the head.
#[derive(Clone, Serialize, Deserialize)]
pub struct Message {
    pub feed: String,
    pub format: Format,
    pub reader: u16,
    /// SHA-256 of the feed's code table, lowercase hex.
    pub codes: String,
    /// `ADT^A01`, `Observation`, `Bundle/transaction`.
    #[serde(rename = "type")]
    pub type_: String,
    pub control_id: String,
    /// Where it stood at its source, for people.
    pub position: String,
    /// As Kafka or AMQP brought them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    pub events: Vec<Event>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<Issue>,
    /// Absent where it came from its sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
}

impl Message {
    /// What it says that a former reading of it has not said already. Said twice, that would stand against what its
    /// sender has told since.
    pub fn into_news(self) -> impl Iterator<Item = Event> {
        let same = self.again.as_ref().map_or(0, |again| again.same as usize);
        self.events.into_iter().skip(same)
    }

    /// The entry that holds it as it first was read, where this one is a later reading.
    pub fn first_read(&self) -> Option<u64> {
        self.again.as_ref().filter(|again| again.replaces.is_some()).map(|again| again.of)
    }
}

/// A message that was in the ledger before: refused and now repaired, or read otherwise and now replayed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Again {
    /// Index of the entry that it came with.
    pub of: u64,
    /// When a person had it read again.
    pub at: Time,
    /// Index of the reading that this one takes the place of; absent where it had been refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<u64>,
    /// So many events at the front stood in that reading as well.
    #[serde(default)]
    pub same: u32,
    /// It raises no alert by itself.
    #[serde(default)]
    pub quiet: bool,
}

/// A message that could not be used. Its raw bytes follow the head.
#[derive(Clone, Serialize, Deserialize)]
pub struct Rejected {
    pub feed: String,
    pub format: Format,
    pub position: String,
    /// As Kafka or AMQP brought them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    pub control_id: String,
    /// Stable, kebab-case: the first error's.
    pub code: String,
    pub issues: Vec<Issue>,
    /// The transport could not take all of it: the raw bytes are a part.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// It waits for a person: no query retries it unless it asks for what is held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Names how its feed read, where it is read again by itself once the feed reads otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub read_by: String,
}

/// A person has worked on a refused message, or had one read again that its reader had misread. The bytes of an edit
/// that was refused again follow the head; of one that was taken they are in the message's own entry.
#[derive(Clone, Serialize, Deserialize)]
pub struct Repaired {
    /// Index of the refused message, or of the one that was replayed.
    pub original: u64,
    pub act: Act,
    /// From the sign-in.
    pub by: String,
    pub at: Time,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The feed that it was read for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub feed: String,
    /// SHA-256 of the bytes that were refused first and of those that were tried, lowercase hex.
    pub original_sha256: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repaired_sha256: String,
    /// Why a retry was refused again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<Issue>,
    /// It was held, and is so no longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// The query that found it, as it was asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// Of a replay: what changed, and SHA-256 of the events before and after, lowercase hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Changed>,
}

/// How two readings of one message differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub added: u32,
    pub removed: u32,
    pub changed: u32,
    pub before_sha256: String,
    pub after_sha256: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Tried again, and taken.
    Accepted,
    /// Tried again, and refused again.
    Refused,
    /// Not to be tried again.
    Discarded,
    /// A message that had been taken was read again, and otherwise.
    Replayed,
}

/// An alert: kept before it is delivered.
#[derive(Clone, Serialize, Deserialize)]
pub struct Alert {
    pub facts: AlertFacts,
    /// What the scorer saw, so that the number can be had again.
    pub contributions: Vec<Contribution>,
    /// Receipt of the triggering message: what the alert's latency is measured from.
    pub received_at: Time,
    /// The trigger was repaired or replayed: its receipt says nothing of a latency.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Contribution {
    pub feature: String,
    /// Absent where it was missing.
    pub value: Option<f64>,
    pub weight: f64,
    /// `physiology`, `trend` or `care-process`.
    pub group: ml_scoring::features::Group,
    pub words: String,
}

/// A person asked for a change of the sites that take part; what came of it is in the members themselves.
#[derive(Clone, Serialize, Deserialize)]
pub struct MembersChanged {
    /// `add`, `promote`, `remove`, `lead`, or `upgrade` of the rules that entries are applied by, which names no site.
    pub change: String,
    pub site: String,
    /// Who asked, from the sign-in.
    pub by: String,
    pub at: Time,
}

/// A sink's receiver has confirmed the alert.
#[derive(Clone, Serialize, Deserialize)]
pub struct Delivered {
    pub alert: String,
    pub sink: String,
    pub at: Time,
    /// The receiver's refusal, where it answered with one; the alert is then not sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A person has let go a sink that stood at an alert which its receiver refused.
#[derive(Clone, Serialize, Deserialize)]
pub struct Released {
    pub alert: String,
    pub sink: String,
    pub how: Release,
    /// From the sign-in.
    pub by: String,
    pub at: Time,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The receiver's refusal that it was held for.
    pub refused: String,
}

/// A person has the running site take over a changed configuration. Written before anything changes; where that failed,
/// a second one says why the former configuration stayed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// From the sign-in, or `SIGHUP`.
    pub by: String,
    pub at: Time,
    /// SHA-256 of the file, lowercase hex.
    pub sha256: String,
    /// In words and names, without values: `feed adt changed: authority`.
    pub changes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What becomes of an alert that a sink holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Release {
    /// It is sent once more.
    Retry,
    /// It is not sent again.
    Skip,
}

/// A person has answered the alert.
#[derive(Clone, Serialize, Deserialize)]
pub struct Acknowledged {
    pub alert: String,
    /// From the sign-in.
    pub by: String,
    pub reason: String,
    pub at: Time,
    /// No further alert of the patient by this scorer for so many hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snooze_h: Option<u32>,
    /// The patient has what the alert warned of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirmed: bool,
}

impl Acknowledged {
    pub(crate) fn answered(&self) -> Answered {
        match self.snooze_h {
            _ if self.confirmed => Answered::Confirmed,
            Some(hours) => Answered::Snoozed { hours },
            None => Answered::Seen,
        }
    }
}

/// The site's clock: hours close for patients who send nothing.
#[derive(Clone, Serialize, Deserialize)]
pub struct Tick {
    pub at: Time,
}

/// One step of a model at a site. Entries of a release that knew no steps say that the site scores with it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct ModelRegistered {
    pub name: String,
    /// SHA-256, lowercase hex.
    pub hash: String,
    /// JSON; empty where it stands in the entry that the step goes back to.
    pub card: String,
    #[serde(default)]
    pub step: ModelStep,
    #[serde(default)]
    pub task: String,
    /// Risk from which a patient is on the watch list: the card's, of a promotion the site's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruptive_threshold: Option<f64>,
    /// Of a promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaced>,
    /// Who decided, from the sign-in; empty where the site notes what its configuration says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl ModelRegistered {
    /// `text`: the card as it is kept.
    pub(crate) fn with_card(step: ModelStep, hash: String, card: &Card, text: String) -> ModelRegistered {
        ModelRegistered {
            name: card.name.clone(),
            hash,
            card: text,
            step,
            task: card.task.clone(),
            threshold: Some(card.threshold.value),
            interruptive_threshold: Some(card.interruptive_threshold.value),
            ..ModelRegistered::default()
        }
    }

    /// The next step of the same model. Its card stands in this entry.
    pub(crate) fn step_on(&self, step: ModelStep) -> ModelRegistered {
        let (name, hash, task) = (self.name.clone(), self.hash.clone(), self.task.clone());
        ModelRegistered { name, hash, task, step, ..ModelRegistered::default() }
    }
}

/// The model of the same site whose place another one takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// SHA-256, lowercase hex.
    pub hash: String,
    pub then: ReplacedThen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplacedThen {
    /// It scores on and alerts nobody.
    Shadow,
    /// It scores no longer at this site.
    Off,
}

/// A stable format: each is said by a tag, too, for sites that cannot open the entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelStep {
    /// The site's configuration names it.
    #[default]
    Loaded,
    /// The site's configuration no longer names it.
    Unloaded,
    /// A person has registered it, after a retirement once more.
    Registered,
    /// A person has retired it: it scores at no site.
    Retired,
    /// The site's configuration names it among those that score and alert nobody.
    Shadow,
    /// A person has it alert at the entry's site, from the entry's thresholds on.
    Promoted,
}

impl ModelStep {
    pub const ALL: [ModelStep; 6] = [
        ModelStep::Loaded,
        ModelStep::Unloaded,
        ModelStep::Registered,
        ModelStep::Retired,
        ModelStep::Shadow,
        ModelStep::Promoted,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ModelStep::Loaded => "loaded",
            ModelStep::Unloaded => "unloaded",
            ModelStep::Registered => "registered",
            ModelStep::Retired => "retired",
            ModelStep::Shadow => "shadow",
            ModelStep::Promoted => "promoted",
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("entry payload: {0}; written by a later release, or damaged")]
pub struct EntryError(String);

pub fn encode<T: Serialize>(head: &T, raw: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(HEAD_BYTES + raw.len());
    out.extend_from_slice(&[VERSION, 0, 0, 0, 0]);
    // Writing a map of strings and numbers to memory has no way to fail.
    let _ = rmp_serde::encode::write_named(&mut out, head);
    let length = u32::try_from(out.len() - 5).unwrap_or(u32::MAX);
    out[1..5].copy_from_slice(&length.to_be_bytes());
    out.extend_from_slice(raw);
    match compression::compress(&out) {
        Some(packed) => [&[COMPRESSED], &packed[..]].concat().into(),
        None => out.into(),
    }
}

/// The head and the raw bytes, without copying these.
pub fn decode<T: DeserializeOwned>(payload: &Bytes) -> Result<(T, Bytes), EntryError> {
    let payload = match payload.first() {
        Some(&COMPRESSED) => {
            let plain = compression::decompress(&payload[1..]);
            &plain.ok_or_else(|| EntryError("does not decompress".into()))?.into()
        }
        _ => payload,
    };
    let version = payload.first().ok_or_else(|| EntryError("is empty".into()))?;
    if *version != VERSION {
        return Err(EntryError(format!(
            "has version {version}, this release reads {VERSION} and {COMPRESSED}"
        )));
    }
    let length = payload.get(1..5).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let end = length.and_then(|length| 5usize.checked_add(length as usize));
    let head = end.and_then(|end| payload.get(5..end)).ok_or_else(|| EntryError("is cut short".into()))?;
    let parsed = rmp_serde::from_slice(head).map_err(|e| EntryError(e.to_string()))?;
    Ok((parsed, payload.slice(5 + head.len()..)))
}

macro_rules! redacted {
    ($($type:ident),*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($type), "(redacted)"))
            }
        }
    )*};
}
redacted!(
    Message,
    Again,
    Rejected,
    Alert,
    Contribution,
    Delivered,
    Acknowledged,
    Tick,
    ModelRegistered,
    Repaired,
    Released
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let tick = Tick { at: Time(1_700_000_000_000) };
        let payload = encode(&tick, b"raw \xff bytes");
        let (read, raw) = decode::<Tick>(&payload).unwrap();
        assert_eq!((read.at, &raw[..]), (tick.at, &b"raw \xff bytes"[..]));
    }

    #[test]
    fn the_layout_is_stable() {
        let payload = encode(&Tick { at: Time(1) }, b"r");
        assert_eq!(hex::encode(&payload), "010000000581a26174".to_owned() + "01" + "72");
    }

    #[test]
    fn a_large_payload_is_compressed_and_read_again() {
        let raw = b"OBX|1|NM|8867-4^Heart rate^LN||72|/min\r".repeat(40);
        let payload = encode(&Tick { at: Time(1) }, &raw);
        assert!(payload[0] == COMPRESSED && payload.len() < raw.len() / 4);
        let (read, raw_again) = decode::<Tick>(&payload).unwrap();
        assert_eq!((read.at, &raw_again[..]), (Time(1), &raw[..]));
        for cut in 0..payload.len() {
            assert!(decode::<Tick>(&payload.slice(..cut)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_model_of_a_release_without_steps_is_loaded() {
        #[derive(Serialize)]
        struct Former {
            name: &'static str,
            hash: &'static str,
            card: &'static str,
        }
        let payload = encode(&Former { name: "sepsis", hash: "ab", card: "{}" }, b"");
        let (model, _) = decode::<ModelRegistered>(&payload).unwrap();
        assert_eq!((model.step, model.threshold, &*model.by), (ModelStep::Loaded, None, ""));
    }

    #[test]
    fn damaged_payloads_are_errors() {
        let payload = encode(&Tick { at: Time(1) }, b"");
        for cut in 0..payload.len() {
            assert!(decode::<Tick>(&payload.slice(..cut)).is_err(), "cut at {cut}");
        }
        let mut other = payload.to_vec();
        other[0] = 2;
        assert!(decode::<Tick>(&other.into()).is_err());
    }
}
