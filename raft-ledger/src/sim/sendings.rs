//! What sites sign as leaders: never two entries for one place.

use std::collections::{BTreeMap, HashMap};

use super::model::Verdict;
use crate::authors::Sending;
use crate::record::Hash;

#[derive(Default)]
pub(super) struct Sendings {
    /// By leader and index: in which term which entry.
    signed: HashMap<(String, u64), BTreeMap<u64, Hash>>,
    /// Entries that their leader had signed in an earlier term.
    pub(super) again: u64,
    /// Places of which their leader had signed another entry in an earlier term.
    pub(super) replaced: u64,
}

impl Sendings {
    /// A leader's signature under this was taken for good.
    pub(super) fn sent(&mut self, sending: &Sending) -> Verdict {
        for (index, hash) in (sending.first..).zip(&sending.entries) {
            let terms = self.signed.entry((sending.leader.clone(), index)).or_default();
            match terms.get(&sending.term) {
                Some(before) if before == hash => {}
                Some(_) => {
                    let Sending { leader, term, .. } = sending;
                    return Err(format!("{leader} has signed two entries {index} in term {term}"));
                }
                None => {
                    let known = terms.values().next_back();
                    self.again += u64::from(known == Some(hash));
                    self.replaced += u64::from(known.is_some_and(|before| before != hash));
                    terms.insert(sending.term, *hash);
                }
            }
        }
        Ok(())
    }
}
