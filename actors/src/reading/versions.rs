//! Which version of a FHIR resource came last. A body that has come before is a resend only right behind itself: behind
//! another one it is an update that goes back to what was.

use std::sync::{Mutex, PoisonError};

use raft_ledger::{IndexKey, Ledger, LedgerError, Tag};

use super::recent::Recent;
use crate::entry::Kind;

/// More than what may be between receipt and the ledger: what is not remembered is in the ledger.
const REMEMBERED: usize = 16_384;
/// Indices that one scan brings.
const SCAN_MAX: usize = 1_000;

/// What tells a resource from others: feed, type and id.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    pub feed: &'a str,
    pub type_: &'a str,
    pub id: &'a str,
}

pub(super) struct Versions {
    ledger: Ledger,
    keys: IndexKey,
    /// What came last of each resource.
    latest: Mutex<Recent<[u8; 32], Version>>,
}

#[derive(Clone, Copy)]
struct Version {
    body: [u8; 32],
    dedupe: [u8; 32],
}

/// What a body is to the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// To be appended under this dedupe key, which a resend of it has as well.
    Version { dedupe: [u8; 32], tag: Tag },
    /// This entry holds it, and no other one came behind.
    Known(u64),
}

impl Versions {
    pub fn new(ledger: Ledger) -> Versions {
        Versions { keys: ledger.index_key(), ledger, latest: Mutex::new(Recent::new(REMEMBERED / 2)) }
    }

    /// Blocks where the resource has not come lately.
    pub fn stand(&self, name: Name, raw: &[u8]) -> Result<Standing, LedgerError> {
        let Name { feed, type_, id } = name;
        let hash = |domain, parts: &[&[u8]]| self.keys.keyed_hash(domain, parts);
        let resource = hash("fhir-resource", &[feed.as_bytes(), type_.as_bytes(), id.as_bytes()]);
        let body = hash("fhir-body", &[&resource, raw]);
        let tag = self.keys.tag("body", &body);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let before: Vec<u8> = match latest.get(&resource) {
            Some(last) if last.body == body => return Ok(Standing::Version { dedupe: last.dedupe, tag }),
            Some(last) => last.dedupe.to_vec(),
            None => match self.last_entry(name)? {
                Some(index) if self.ledger.by_tag(tag, index, 1)?.first() == Some(&index) => {
                    return Ok(Standing::Known(index));
                }
                Some(index) => index.to_be_bytes().to_vec(),
                None => Vec::new(),
            },
        };
        let dedupe = hash("fhir-version", &[&body, &before]);
        latest.replace(resource, Version { body, dedupe });
        Ok(Standing::Version { dedupe, tag })
    }

    /// The newest entry that holds a version of it.
    fn last_entry(&self, name: Name) -> Result<Option<u64>, LedgerError> {
        let tag = |field, value: &str| self.keys.tag(field, value.as_bytes());
        let also = [
            tag("feed", name.feed),
            tag(crate::search::TYPE_TAG, name.type_),
            self.keys.tag("kind", Kind::Message.tag()),
        ];
        let (mut last, mut from) = (None, 0);
        loop {
            let found = self.ledger.by_tag(tag("control", name.id), from, SCAN_MAX)?;
            for index in found.iter().rev() {
                if crate::search::has_all(&self.ledger, &also, *index)? {
                    last = Some(*index);
                    break;
                }
            }
            match found.last() {
                Some(index) if found.len() == SCAN_MAX => from = index + 1,
                _ => return Ok(last),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raft_ledger::Draft;

    use super::*;

    const NAME: Name = Name { feed: "f", type_: "Observation", id: "o1" };

    async fn take(ledger: &Ledger, versions: &Versions, body: &str) -> (u64, bool) {
        let (dedupe, tag) = match versions.stand(NAME, body.as_bytes()).unwrap() {
            Standing::Known(index) => return (index, true),
            Standing::Version { dedupe, tag } => (dedupe, tag),
        };
        let draft = Draft {
            kind: Kind::Message as u16,
            subject: ledger.subject(b"s"),
            tags: vec![
                ledger.tag("kind", Kind::Message.tag()),
                ledger.tag("feed", b"f"),
                ledger.tag("control", b"o1"),
                ledger.tag(crate::search::TYPE_TAG, b"Observation"),
                tag,
            ],
            dedupe: Some(dedupe),
            event_time_ms: 0,
            message_time_ms: 0,
            received_time_ms: 0,
            payload: Bytes::copy_from_slice(body.as_bytes()),
        };
        let outcome = ledger.append(vec![draft]).await.unwrap()[0];
        (outcome.index, outcome.duplicate)
    }

    #[actix::test]
    async fn a_body_is_a_resend_right_behind_itself_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = crate::test_ledger::one_site(dir.path()).await;
        // With and without what a restart forgets.
        for forgets in [false, true] {
            let mut versions = Versions::new(ledger.clone());
            let start = ledger.size();
            let mut seen = Vec::new();
            for body in ["140", "140", "70", "150", "70", "70", "140"] {
                if forgets {
                    versions = Versions::new(ledger.clone());
                }
                let (index, is_again) = take(&ledger, &versions, body).await;
                seen.push((body, index.checked_sub(start), is_again));
            }
            let (first, rest) = seen.split_first().unwrap();
            // The second round begins with the body that the first one ended with.
            assert_eq!(*first, if forgets { ("140", None, true) } else { ("140", Some(0), false) });
            let at = |n: u64| if forgets { n.checked_sub(1) } else { Some(n) };
            assert_eq!(
                rest,
                [
                    ("140", at(0), true),
                    ("70", at(1), false),
                    ("150", at(2), false),
                    ("70", at(3), false),
                    ("70", at(3), true),
                    ("140", at(4), false),
                ]
            );
        }
        ledger.close().await.unwrap();
    }
}
