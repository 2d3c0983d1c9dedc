//! The keys that are on the disk, as they are used.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::file::{Record, Role};
use super::ring::Ring;
use super::{Home, KeyId, ReadyKeys, SubjectKey};
use crate::keys::Secret;
use crate::record::SiteName;
use crate::types::Subject;

#[derive(Default)]
pub(super) struct Keys {
    in_use: HashMap<Subject, KeyId>,
    own: Ring,
    held: BTreeMap<SiteName, Ring>,
    /// Own keys that are not known to be at every site where they belong, and whether enough other sites hold them
    /// for an entry to be sealed with them.
    pending: HashMap<KeyId, bool>,
}

impl Keys {
    pub(super) fn ring(&self, home: Home) -> Option<&Ring> {
        home.map_or(Some(&self.own), |site| self.held.get(site))
    }

    pub(super) fn held(&self) -> impl Iterator<Item = (&SiteName, &Ring)> {
        self.held.iter()
    }

    pub(super) fn insert(&mut self, Record { key, role }: Record) {
        let (subject, id) = (key.subject, key.id);
        match &role {
            Role::Held(home) => return self.held.entry(home.clone()).or_default().insert(key),
            Role::InUse => drop(self.in_use.insert(subject, id)),
            Role::Retired if self.in_use.get(&subject) == Some(&id) => drop(self.in_use.remove(&subject)),
            Role::Retired => {}
        }
        if self.own.get(&id).is_none() {
            self.pending.insert(id, role == Role::Retired);
        }
        self.own.insert(key);
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, home: Home, id: &KeyId) -> bool {
        let Some(site) = home else {
            let Some((subject, _)) = self.own.remove(id) else { return false };
            if self.in_use.get(&subject) == Some(id) {
                self.in_use.remove(&subject);
            }
            self.pending.remove(id);
            return true;
        };
        self.held.get_mut(site).is_some_and(|ring| ring.remove(id).is_some())
    }

    pub(super) fn has_in_use(&self, subject: &Subject) -> bool {
        self.in_use.contains_key(subject)
    }

    pub(super) fn used(&self, subject: &Subject) -> Option<SubjectKey> {
        self.own.key(self.in_use.get(subject)?)
    }

    /// `None` unless every one of the subjects has a key that an entry may be sealed with.
    pub(super) fn ready(&self, subjects: &[Subject]) -> Option<ReadyKeys> {
        let mut ready: HashMap<Subject, (KeyId, Secret)> = HashMap::new();
        for subject in subjects {
            if !ready.contains_key(subject) {
                let key = self.used(subject).filter(|key| self.is_kept(&key.id))?;
                ready.insert(*subject, (key.id, key.key));
            }
        }
        Some(ready)
    }

    /// Enough other sites hold it.
    fn is_kept(&self, id: &KeyId) -> bool {
        self.pending.get(id).is_none_or(|enough| *enough)
    }

    /// Those in use that too few other sites hold.
    pub(super) fn unkept(&self, subjects: &[Subject]) -> Vec<SubjectKey> {
        let mut seen = HashSet::new();
        let fresh = subjects.iter().filter(|subject| seen.insert(**subject));
        fresh.filter_map(|subject| self.used(subject)).filter(|key| !self.is_kept(&key.id)).collect()
    }

    pub(super) fn pending(&self) -> impl Iterator<Item = &KeyId> {
        self.pending.keys()
    }

    pub(super) fn is_pending(&self, id: &KeyId) -> bool {
        self.pending.contains_key(id)
    }

    /// `everywhere`: where they belong; otherwise only at enough other sites.
    pub(super) fn kept(&mut self, ids: &[KeyId], everywhere: bool) {
        for id in ids {
            if everywhere {
                self.pending.remove(id);
            } else if let Some(enough) = self.pending.get_mut(id) {
                *enough = true;
            }
        }
    }

    /// A site where they belong has lost them, or is one only now.
    pub(super) fn astray(&mut self, ids: &[KeyId]) {
        for id in ids.iter().filter(|id| self.own.get(id).is_some()) {
            self.pending.entry(*id).or_insert(true);
        }
    }

    /// More sites must hold the keys from now on: what was enough may be too few.
    pub(super) fn doubt(&mut self) {
        self.pending.extend(self.in_use.values().map(|id| (*id, false)));
    }

    /// Records of one site each.
    pub(super) fn records(&self) -> Vec<Vec<Record>> {
        let role = |subject: &Subject, id: &KeyId| match self.in_use.get(subject) {
            Some(used) if used == id => Role::InUse,
            _ => Role::Retired,
        };
        let own = self.own.iter().map(|(id, (subject, key))| Record {
            key: SubjectKey { subject: *subject, id: *id, key: key.clone() },
            role: role(subject, id),
        });
        let held = self.held.iter().map(|(home, ring)| {
            let record = |(id, (subject, key)): (&KeyId, &(Subject, Secret))| Record {
                key: SubjectKey { subject: *subject, id: *id, key: key.clone() },
                role: Role::Held(home.clone()),
            };
            ring.iter().map(record).collect()
        });
        std::iter::once(own.collect()).chain(held).collect()
    }
}
