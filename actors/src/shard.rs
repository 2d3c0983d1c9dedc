//! A part of the site's patients: folds their events, scores, decides. One actor a shard, each on a thread of
//! its own; a patient is always with the same shard, so its events stay in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix::prelude::*;
use clinical::{Event, Time};
use ml_scoring::{AlertPolicy, Answered};

use crate::board::{PatientDetail, PatientRow};
use crate::checkpoint::State;
use crate::drift::ClosedHour;
use crate::entry::Again;
use crate::patient::{Assessed, Assessor, Duty, Patient, Proposal, Trigger, begins_with};
use crate::registry::standing::Places;
use crate::shadow::ShadowSaid;

/// Events of one committed message, all of one patient.
pub(crate) struct Work {
    pub key: String,
    pub index: u64,
    /// That the message came in at.
    pub site: String,
    pub received_at: Time,
    pub events: Vec<Event>,
    /// Absent where its sender has sent it.
    pub again: Option<Again>,
}

/// Folds, and scores whom this site alerts for, oldest first.
#[derive(Message)]
#[rtype(result = "Done")]
pub(crate) struct Fold(pub Vec<Work>);

/// A tick: every patient whom this site alerts for is scored at this time.
#[derive(Message)]
#[rtype(result = "Done")]
pub(crate) struct Close {
    pub index: u64,
    pub at: Time,
}

/// From here on this site stands in for these sites and no others: patients of those that are new are scored, because
/// their own site may not have come to it.
#[derive(Message)]
#[rtype(result = "Done")]
pub(crate) struct Cover {
    pub sites: BTreeSet<String>,
    pub at: Time,
}

/// From here on the scorers have these places; the rows that change by it.
#[derive(Message)]
#[rtype(result = "Done")]
pub(crate) struct Stand(pub Places, pub AlertPolicy);

/// A person has answered an alert of the scorer with this hash.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Quiet {
    pub key: String,
    pub hash: String,
    pub answer: Answered,
}

/// A40, first half: gives the patient away.
#[derive(Message)]
#[rtype(result = "Option<Box<Patient>>")]
pub(crate) struct Take(pub String);

/// A40, second half: takes in what the other one had.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Absorb(pub String, pub Box<Patient>);

/// Puts patients back from a checkpoint; what the board shows of them.
#[derive(Message)]
#[rtype(result = "Vec<PatientRow>")]
pub(crate) struct Restore(pub Vec<(String, Patient)>);

/// What changed since the last call, encoded for the checkpoint; `None` is a patient that is gone.
#[derive(Message)]
#[rtype(result = "Vec<(String, Option<State>)>")]
pub(crate) struct Dirty;

/// Drops the patients whose subject keys satisfy this and of whom the site has told, and says under which keys they
/// stood.
#[derive(Message)]
#[rtype(result = "Vec<String>")]
pub(crate) struct Forget {
    pub site: String,
    pub is_meant: IsMeant,
}

/// Of a subject key.
pub(crate) type IsMeant = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

#[derive(Message)]
#[rtype(result = "Option<PatientDetail>")]
pub(crate) struct Detail(pub String);

#[derive(Default, MessageResponse)]
pub(crate) struct Done {
    pub rows: Vec<PatientRow>,
    pub proposals: Vec<Proposal>,
    pub shadow: Vec<ShadowSaid>,
    pub closed: Vec<ClosedHour>,
}

impl Done {
    fn add(&mut self, Assessed { proposals, shadow, closed }: Assessed) {
        self.proposals.extend(proposals);
        self.shadow.extend(shadow);
        self.closed.extend(closed);
    }
}

pub(crate) struct Shard {
    patients: BTreeMap<String, Patient>,
    dirty: BTreeSet<String>,
    assessor: Assessor,
    duty: Duty,
}

impl Shard {
    pub fn new(assessor: Assessor, site: String) -> Shard {
        let duty = Duty { own: site, covered: BTreeSet::new() };
        Shard { patients: BTreeMap::new(), dirty: BTreeSet::new(), assessor, duty }
    }
}

impl Actor for Shard {
    type Context = Context<Self>;
}

impl Handler<Fold> for Shard {
    type Result = Done;

    fn handle(&mut self, Fold(work): Fold, _: &mut Self::Context) -> Done {
        let mut done = Done::default();
        let mut touched = BTreeSet::new();
        for item in work {
            let again = item.again.as_ref();
            let is_known = self.patients.contains_key(&item.key);
            if !is_known && !begins_with(&item.events, again) {
                continue;
            }
            let patient = self.patients.entry(item.key.clone()).or_default();
            patient.fold(item.index, &item.events, item.received_at, again);
            // An old message, replayed, does not say where the patient is now.
            if !is_known || again.is_none_or(|again| again.replaces.is_none()) {
                patient.came_in_at(&item.site, item.index, &self.duty);
            }
            if self.duty.includes(&item.site) {
                let trigger = Trigger::of(item.index, item.received_at, again);
                done.add(self.assessor.assess(patient, None, trigger, &self.duty));
            }
            touched.insert(item.key);
        }
        done.rows =
            touched.iter().filter_map(|key| Some(self.patients.get(key)?.row(key, &self.duty))).collect();
        // Not `append`: that builds the larger set anew.
        self.dirty.extend(touched);
        done
    }
}

impl Handler<Close> for Shard {
    type Result = Done;

    fn handle(&mut self, Close { index, at }: Close, _: &mut Self::Context) -> Done {
        let long_gone = |patient: &Patient| patient.is_forgotten(at);
        let gone = self.patients.extract_if(.., |_, patient| long_gone(patient)).map(|(key, _)| key);
        self.dirty.extend(gone);
        let mut done = Done::default();
        let duty = &self.duty;
        let meant = |patient: &Patient| patient.is_present() && duty.includes(patient.home(duty));
        for (key, patient) in self.patients.iter_mut().filter(|(_, patient)| meant(patient)) {
            done.add(self.assessor.assess(patient, Some(at), Trigger::at(index, at), duty));
            done.rows.push(patient.row(key, duty));
            self.dirty.insert(key.clone());
        }
        done
    }
}

impl Handler<Cover> for Shard {
    type Result = Done;

    fn handle(&mut self, Cover { sites, at }: Cover, _: &mut Self::Context) -> Done {
        let before = std::mem::replace(&mut self.duty.covered, sites);
        let mut done = Done::default();
        let duty = &self.duty;
        let is_new = |site: &str| duty.covered.contains(site) && !before.contains(site);
        let meant = |patient: &Patient| patient.is_present() && is_new(patient.home(duty));
        for (key, patient) in self.patients.iter_mut().filter(|(_, patient)| meant(patient)) {
            let Some(trigger) = patient.newest_index() else { continue };
            done.add(self.assessor.assess(patient, None, Trigger::at(trigger, at), duty));
            done.rows.push(patient.row(key, duty));
            self.dirty.insert(key.clone());
        }
        done
    }
}

impl Handler<Stand> for Shard {
    type Result = Done;

    fn handle(&mut self, Stand(places, policy): Stand, _: &mut Self::Context) -> Done {
        self.assessor.stand(places, policy);
        let mut done = Done::default();
        for (key, patient) in &mut self.patients {
            if self.assessor.hush(patient) {
                done.rows.push(patient.row(key, &self.duty));
                self.dirty.insert(key.clone());
            }
        }
        done
    }
}

impl Handler<Quiet> for Shard {
    type Result = ();

    fn handle(&mut self, Quiet { key, hash, answer }: Quiet, _: &mut Self::Context) {
        let Some(patient) = self.patients.get_mut(&key) else { return };
        if self.assessor.answered(patient, &hash, answer) {
            self.dirty.insert(key);
        }
    }
}

impl Handler<Take> for Shard {
    type Result = Option<Box<Patient>>;

    fn handle(&mut self, Take(key): Take, _: &mut Self::Context) -> Self::Result {
        let patient = self.patients.remove(&key)?;
        self.dirty.insert(key);
        Some(Box::new(patient))
    }
}

impl Handler<Absorb> for Shard {
    type Result = ();

    fn handle(&mut self, Absorb(key, other): Absorb, _: &mut Self::Context) {
        self.patients.entry(key.clone()).or_default().absorb(&other);
        self.dirty.insert(key);
    }
}

impl Handler<Restore> for Shard {
    type Result = Vec<PatientRow>;

    fn handle(&mut self, Restore(patients): Restore, _: &mut Self::Context) -> Vec<PatientRow> {
        let mut rows = Vec::with_capacity(patients.len());
        for (key, mut patient) in patients {
            self.assessor.name_by_hash(&mut patient);
            // The checkpoint may be of a release that obeyed no retirement.
            if self.assessor.hush(&mut patient) {
                self.dirty.insert(key.clone());
            }
            rows.push(patient.row(&key, &self.duty));
            self.patients.insert(key, patient);
        }
        rows
    }
}

impl Handler<Dirty> for Shard {
    type Result = Vec<(String, Option<State>)>;

    fn handle(&mut self, _: Dirty, _: &mut Self::Context) -> Self::Result {
        std::mem::take(&mut self.dirty)
            .into_iter()
            .map(|key| {
                let state = self.patients.get(&key).and_then(Patient::state);
                (key, state)
            })
            .collect()
    }
}

impl Handler<Forget> for Shard {
    type Result = Vec<String>;

    fn handle(&mut self, Forget { site, is_meant }: Forget, _: &mut Self::Context) -> Self::Result {
        let duty = &self.duty;
        let meant = |patient: &Patient| {
            patient.knows_from(&site, duty) && patient.subject_key().is_some_and(|key| is_meant(&key))
        };
        let gone = self.patients.extract_if(.., |_, patient| meant(patient)).map(|(key, _)| key);
        let gone: Vec<String> = gone.collect();
        self.dirty.extend(gone.iter().cloned());
        gone
    }
}

impl Handler<Detail> for Shard {
    type Result = Option<PatientDetail>;

    fn handle(&mut self, Detail(key): Detail, _: &mut Self::Context) -> Self::Result {
        Some(self.patients.get(&key)?.detail(&key, &self.duty))
    }
}

#[cfg(test)]
mod evaluated;
#[cfg(test)]
mod tests;
