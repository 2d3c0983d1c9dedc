//! The keys of one site's subjects, in the order of their ids.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{KeyId, SubjectKey};
use crate::keys::Secret;
use crate::types::Subject;

#[derive(Default)]
pub(super) struct Ring {
    by_id: BTreeMap<KeyId, (Subject, Secret)>,
    fold: KeyId,
}

/// Tells two sets of keys apart: ids are random, so sets of equal folds are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) count: u64,
    /// Of all ids.
    pub(crate) fold: KeyId,
}

impl Ring {
    pub(super) fn insert(&mut self, SubjectKey { subject, id, key }: SubjectKey) {
        if self.by_id.insert(id, (subject, key)).is_none() {
            self.turn(&id);
        }
    }

    pub(super) fn remove(&mut self, id: &KeyId) -> Option<(Subject, Secret)> {
        let gone = self.by_id.remove(id)?;
        self.turn(id);
        Some(gone)
    }

    pub(super) fn get(&self, id: &KeyId) -> Option<&(Subject, Secret)> {
        self.by_id.get(id)
    }

    pub(super) fn key(&self, id: &KeyId) -> Option<SubjectKey> {
        let (subject, key) = self.by_id.get(id)?;
        Some(SubjectKey { subject: *subject, id: *id, key: key.clone() })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&KeyId, &(Subject, Secret))> {
        self.by_id.iter()
    }

    /// Those behind `after` and not behind `upto`; without one, from the first and to the last.
    pub(super) fn ids_between(
        &self,
        after: Option<KeyId>,
        upto: Option<KeyId>,
    ) -> impl Iterator<Item = &KeyId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let to = upto.map_or(Bound::Unbounded, Bound::Included);
        let is_range = after.zip(upto).is_none_or(|(after, upto)| after < upto);
        is_range.then(|| self.by_id.range((from, to)).map(|(id, _)| id)).into_iter().flatten()
    }

    pub(super) fn digest(&self) -> Digest {
        Digest { count: self.by_id.len() as u64, fold: self.fold }
    }

    fn turn(&mut self, id: &KeyId) {
        self.fold.iter_mut().zip(id).for_each(|(byte, other)| *byte ^= other);
    }
}
