//! One patient at this site: what is known, what the scorers said, what the alert policy remembers. Plain state:
//! the shard feeds it and does what it proposes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use clinical::{AlertFacts, Event, EventKind, Folded, PatientId, PatientState, Time};
use ml_scoring::{
    AlertPolicy, Answered, Assessment, Insufficient, PolicyState, ReasonGroup, Scorer, Thresholds, Tier,
    WardBudgets,
};
use serde::{Deserialize, Serialize};

use crate::board::{Amended, PatientDetail, PatientRow, RiskNow, RiskPoint};
use crate::checkpoint::State;
use crate::drift::{ClosedHour, Counted};
use crate::entry::Again;
use crate::metrics::Metrics;
use crate::registry::standing::{self, Place, Places, Role};
use crate::shadow::{Live, ShadowSaid, ShadowSeen};
use crate::{entry, reading};

/// Points of each scorer's curve: two days at one every ten minutes.
const CURVE_MAX: usize = 288;
/// Closer points replace one another.
const CURVE_STEP_MS: i64 = 10 * 60 * 1000;
/// After a discharge.
const FORGOTTEN_AFTER_MS: i64 = 7 * 24 * Time::HOUR_MS;
/// Ledger indices cited as evidence.
const EVIDENCE_MAX: usize = 12;
const REASONS_MAX: usize = 5;
/// Messages that took back what was known, by which alerts are marked; newest.
const AMENDED_MAX: usize = 32;
/// Share of the threshold from which a risk is explained.
const EXPLAINED_FROM: f64 = 0.5;

#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Patient {
    id: Option<PatientId>,
    visit: Option<String>,
    state: PatientState,
    /// By the scorer's hash: two of one name stand side by side, and a new one begins afresh.
    policies: BTreeMap<String, PolicyState>,
    risks: BTreeMap<String, RiskSeen>,
    /// What models in shadow would have done.
    #[serde(default)]
    shadows: BTreeMap<String, ShadowSeen>,
    /// Which of his hours were counted for drift.
    #[serde(default = "Counted::of_an_earlier_release")]
    counted: Counted,
    evidence: VecDeque<u64>,
    #[serde(default)]
    amended: VecDeque<Amended>,
    /// The site that the newest message came in at, and its index; absent in a checkpoint of an older release.
    #[serde(default)]
    newest: Option<(String, u64)>,
    /// All sites that messages came in at.
    #[serde(default)]
    sites: BTreeSet<String>,
}

/// What one scorer said of the patient, now and before.
#[derive(Clone, Default, Serialize, Deserialize)]
struct RiskSeen {
    #[serde(default)]
    scorer: String,
    task: String,
    risk: Option<f64>,
    /// Absent too in a checkpoint of an older release.
    insufficient: Option<Insufficient>,
    threshold: f64,
    at: Time,
    reasons: Vec<String>,
    #[serde(default)]
    by_group: Vec<ReasonGroup>,
    #[serde(default)]
    rests_on_care_process: bool,
    curve: VecDeque<(Time, Option<f64>)>,
}

/// An alert that the policy decided on. The tail gives it its id and has it kept.
pub(crate) struct Proposal {
    pub trigger: u64,
    pub alert: entry::Alert,
}

#[derive(Default)]
pub(crate) struct Assessed {
    pub proposals: Vec<Proposal>,
    pub shadow: Vec<ShadowSaid>,
    pub closed: Vec<ClosedHour>,
}

/// What has a patient scored: the entry at `index`.
#[derive(Clone, Copy)]
pub(crate) struct Trigger {
    pub index: u64,
    pub received_at: Time,
    /// Repaired or replayed.
    pub again: bool,
    /// The score is shown, and nobody is alerted by it.
    pub quiet: bool,
}

/// Whose patients this site alerts for: its own, and those of sites that it stands in for.
#[derive(Clone)]
pub(crate) struct Duty {
    pub own: String,
    pub covered: BTreeSet<String>,
}

/// Scores patients and asks the policy.
pub(crate) struct Assessor {
    scorers: Arc<Vec<Scorer>>,
    /// Lowercase hex, of each of them.
    hashes: Vec<String>,
    places: Places,
    policy: AlertPolicy,
    /// Shared by the shards: a ward's patients are spread over them.
    budgets: Arc<Mutex<WardBudgets>>,
    metrics: Metrics,
}

impl Trigger {
    pub fn at(index: u64, received_at: Time) -> Trigger {
        Trigger { index, received_at, again: false, quiet: false }
    }

    pub fn of(index: u64, received_at: Time, again: Option<&Again>) -> Trigger {
        let quiet = again.is_some_and(|again| again.quiet);
        Trigger { index, received_at, again: again.is_some(), quiet }
    }
}

impl Duty {
    pub fn includes(&self, site: &str) -> bool {
        site == self.own || self.covered.contains(site)
    }
}

/// Whether events are folded of a patient of whom nothing is held. A replay brings nobody back who is forgotten: nothing
/// would be known of him but what was read otherwise, his discharge not.
pub(crate) fn begins_with(events: &[Event], again: Option<&Again>) -> bool {
    let Some(again) = again.filter(|again| again.replaces.is_some()) else { return true };
    let newest = events.iter().map(|event| event.at.0).max().unwrap_or_default();
    again.at.0.saturating_sub(newest) <= FORGOTTEN_AFTER_MS
}

impl Patient {
    pub fn fold(&mut self, index: u64, events: &[Event], received_at: Time, again: Option<&Again>) {
        // An old message, replayed, does not say which visit this is now.
        let is_old = self.id.is_some() && again.is_some_and(|again| again.replaces.is_some());
        for event in events {
            self.id.get_or_insert_with(|| event.patient.clone());
            if event.visit.is_some() && !is_old {
                self.visit = event.visit.as_deref().map(str::to_owned);
            }
            if let Folded::Amended(at) = self.state.apply_received(event, received_at) {
                self.note_amended(Amended { at, index });
            }
        }
        if events.iter().any(|event| matches!(event.kind, EventKind::Observed(_) | EventKind::Encounter(_))) {
            self.evidence.push_back(index);
            while self.evidence.len() > EVIDENCE_MAX {
                self.evidence.pop_front();
            }
        }
    }

    /// Once a message, with the earliest value that it takes back.
    fn note_amended(&mut self, amended: Amended) {
        match self.amended.back_mut().filter(|last| last.index == amended.index) {
            Some(last) => last.at = last.at.min(amended.at),
            None => self.amended.push_back(amended),
        }
        while self.amended.len() > AMENDED_MAX {
            self.amended.pop_front();
        }
    }

    /// A message about the patient came in at this site.
    pub fn came_in_at(&mut self, site: &str, index: u64, duty: &Duty) {
        self.sites.insert(site.to_owned());
        // What senders bring here while the patient's own site is gone is still about that site's patient.
        // Who lies here stays here when another site's message comes late.
        let lies_here = self.sites.contains(&duty.own) && self.home(duty) == duty.own && self.is_present();
        let stays = if site == duty.own { duty.covered.contains(self.home(duty)) } else { lies_here };
        if !stays {
            self.newest = Some((site.to_owned(), index));
        }
    }

    /// The site that the patient belongs to.
    pub fn home<'a>(&'a self, duty: &'a Duty) -> &'a str {
        self.newest.as_ref().map_or(&duty.own, |(site, _)| site)
    }

    /// The same, unless it is this one.
    pub fn origin(&self, duty: &Duty) -> Option<String> {
        let home = self.home(duty);
        (home != duty.own).then(|| home.to_owned())
    }

    /// Index of the newest message that came in at the patient's own site.
    pub fn newest_index(&self) -> Option<u64> {
        self.newest.as_ref().map(|(_, index)| *index)
    }

    pub fn knows_from(&self, site: &str, duty: &Duty) -> bool {
        self.sites.contains(site) || (self.sites.is_empty() && site == duty.own)
    }

    pub fn absorb(&mut self, other: &Patient) {
        self.state.absorb(&other.state);
        self.sites.extend(other.sites.iter().cloned());
        let index_of = |newest: &Option<(String, u64)>| newest.as_ref().map(|(_, index)| *index);
        if index_of(&other.newest) > index_of(&self.newest) {
            self.newest.clone_from(&other.newest);
        }
        let mut evidence: Vec<u64> = self.evidence.iter().chain(&other.evidence).copied().collect();
        evidence.sort_unstable();
        evidence.dedup();
        self.evidence = evidence.split_off(evidence.len().saturating_sub(EVIDENCE_MAX)).into();
        let mut amended: Vec<Amended> = self.amended.iter().chain(&other.amended).copied().collect();
        amended.sort_unstable_by_key(|amended| amended.index);
        self.amended = amended.split_off(amended.len().saturating_sub(AMENDED_MAX)).into();
        for (scorer, policy) in &other.policies {
            self.policies.entry(scorer.clone()).or_default().absorb(policy);
        }
        self.counted.absorb(&other.counted);
        for (scorer, seen) in &other.shadows {
            self.shadows.entry(scorer.clone()).or_insert_with(|| seen.clone());
        }
    }

    /// What is known of the patient: what scorers judge.
    pub fn known(&self) -> &PatientState {
        &self.state
    }

    /// In the house, as far as is known.
    pub fn is_present(&self) -> bool {
        self.state.stay().discharged_at.is_none() && self.state.died_at().is_none()
    }

    /// Gone for so long that its state is no longer held in memory; a return begins a new one.
    pub fn is_forgotten(&self, now: Time) -> bool {
        let newest = self.state.latest().unwrap_or_default();
        !self.is_present() && now.0.saturating_sub(newest.0) > FORGOTTEN_AFTER_MS
    }

    pub fn row(&self, key: &str, duty: &Duty) -> PatientRow {
        let location = self.state.location();
        let mut risks: Vec<RiskNow> = self.risks.values().map(RiskSeen::now).collect();
        risks.sort_by(|a, b| a.scorer.cmp(&b.scorer));
        PatientRow {
            key: key.to_owned(),
            name: self.state.name().unwrap_or_default().to_owned(),
            id: self.id.as_ref().map(|id| id.id.to_string()).unwrap_or_default(),
            ward: location.map(|l| l.ward.clone()).unwrap_or_default(),
            bed: location.map(|l| l.bed.clone()).unwrap_or_default(),
            risks,
            data_at: self.state.latest().unwrap_or_default(),
            discharged: !self.is_present(),
            origin: self.origin(duty),
            amended: self.amended.iter().copied().collect(),
        }
    }

    /// The curve and the row; the board adds the alerts.
    pub fn detail(&self, key: &str, duty: &Duty) -> PatientDetail {
        let points = |seen: &RiskSeen| seen.curve.iter().map(|&(at, risk)| RiskPoint { at, risk }).collect();
        PatientDetail {
            row: self.row(key, duty),
            curves: self.risks.values().map(|seen| (seen.scorer.clone(), points(seen))).collect(),
            alerts: Vec::new(),
        }
    }

    /// Names the patient towards the ledger; `None` before the first event.
    pub fn subject_key(&self) -> Option<Vec<u8>> {
        self.id.as_ref().map(reading::subject_key)
    }

    /// For the checkpoint; `None` before the first event.
    pub fn state(&self) -> Option<State> {
        // Writing maps of strings and numbers to memory has no way to fail.
        let encoded = rmp_serde::to_vec_named(self).unwrap_or_default();
        Some(State { subject_key: self.subject_key()?, encoded })
    }

    pub fn decode(bytes: &[u8]) -> Result<Patient, rmp_serde::decode::Error> {
        let mut patient: Patient = rmp_serde::from_slice(bytes)?;
        patient.counted.read_with(patient.state.latest());
        Ok(patient)
    }
}

impl Proposal {
    fn on_behalf_of(mut self, site: Option<String>) -> Proposal {
        self.alert.facts.takeover_for = site;
        self
    }
}

impl RiskSeen {
    fn now(&self) -> RiskNow {
        RiskNow {
            scorer: self.scorer.clone(),
            task: self.task.clone(),
            risk: self.risk,
            insufficient: self.insufficient.map(|why| why.words().to_owned()),
            threshold: self.threshold,
            at: self.at,
            reasons: self.reasons.clone(),
            by_group: self.by_group.clone(),
            rests_on_care_process: self.rests_on_care_process,
        }
    }

    fn note(&mut self, assessment: &Assessment, at: Time) {
        self.scorer.clone_from(&assessment.scorer);
        self.task.clone_from(&assessment.task);
        self.risk = assessment.risk;
        self.insufficient = assessment.insufficient;
        self.threshold = assessment.threshold;
        self.at = at;
        self.reasons = assessment.reasons(REASONS_MAX);
        self.by_group = assessment.reasons_by_group(REASONS_MAX);
        self.rests_on_care_process = assessment.rests_on_care_process;
        match self.curve.back_mut() {
            Some(last) if at.0 < last.0.0 + CURVE_STEP_MS => last.1 = assessment.risk,
            _ => self.curve.push_back((at, assessment.risk)),
        }
        while self.curve.len() > CURVE_MAX {
            self.curve.pop_front();
        }
    }
}

impl Assessor {
    pub fn new(
        scorers: Arc<Vec<Scorer>>,
        policy: AlertPolicy,
        budgets: Arc<Mutex<WardBudgets>>,
        metrics: Metrics,
    ) -> Assessor {
        let places = vec![Place::LIVE; scorers.len()];
        let hashes = scorers.iter().map(|scorer| hex::encode(scorer.hash())).collect();
        Assessor { scorers, hashes, places, policy, budgets, metrics }
    }

    pub fn stand(&mut self, places: Places, policy: AlertPolicy) {
        (self.places, self.policy) = (places, policy);
    }

    /// Takes off the patient what scorers said that no longer speak. Whether there was anything.
    pub fn hush(&self, patient: &mut Patient) -> bool {
        let has_role = |hash: &String, role| self.having(role).any(|at| self.hashes[at] == *hash);
        let is_live = |hash: &String| has_role(hash, Role::Live);
        let before = patient.risks.len() + patient.shadows.len();
        patient.risks.retain(|hash, _| is_live(hash));
        patient.shadows.retain(|hash, _| has_role(hash, Role::Shadow));
        let mut changed = patient.risks.len() + patient.shadows.len() < before;
        for (_, policy) in patient.policies.iter_mut().filter(|(hash, _)| !is_live(hash)) {
            changed |= policy.leave();
        }
        changed
    }

    /// A checkpoint of an older release knows scorers by their names.
    pub fn name_by_hash(&self, patient: &mut Patient) {
        for at in self.having(Role::Live) {
            let (name, hash) = (self.scorers[at].name(), &self.hashes[at]);
            if let Some(policy) = patient.policies.remove(name) {
                patient.policies.insert(hash.clone(), policy);
            }
            if let Some(risk) = patient.risks.remove(name) {
                patient.risks.insert(hash.clone(), RiskSeen { scorer: name.to_owned(), ..risk });
            }
        }
    }

    /// Whether any model that scores here has a baseline to be compared with.
    fn compares(&self) -> bool {
        let scoring = self.having(Role::Live).chain(self.having(Role::Shadow));
        scoring.filter_map(|at| self.scorers[at].card()).any(|card| card.drift.is_some())
    }

    /// Positions of the scorers that have this role.
    fn having(&self, role: Role) -> impl Iterator<Item = usize> {
        let all = self.places.iter().enumerate();
        all.filter(move |(_, place)| place.role == role).map(|(at, _)| at)
    }

    /// Scores the patient on the open hour at `at`, or at its newest event.
    pub fn assess(&self, patient: &mut Patient, at: Option<Time>, trigger: Trigger, duty: &Duty) -> Assessed {
        let Some(at) = at.max(patient.state.latest()) else { return Assessed::default() };
        let mut assessed = Assessed::default();
        let origin = patient.origin(duty);
        let ward = patient.state.location().map(|l| l.ward.clone()).unwrap_or_default();
        // Another site's ward has a budget of its own, whatever it is called.
        let ward = origin.as_ref().map_or(ward.clone(), |site| format!("{site}/{ward}"));
        let mut live = vec![Live::default(); self.scorers.len()];
        for scorer_at in self.having(Role::Live) {
            let hash = &self.hashes[scorer_at];
            let thresholds = self.places[scorer_at].thresholds;
            let assessment = judge(&self.scorers[scorer_at], thresholds, &patient.state, at);
            let outcome = if assessment.risk.is_some() { "scored" } else { "insufficient" };
            self.metrics.scores.with_label_values(&[&*assessment.scorer, outcome]).inc();
            patient.risks.entry(hash.clone()).or_default().note(&assessment, at);
            // The policy does not hear of it either: what is so still alerts with the next message or tick.
            if trigger.quiet {
                continue;
            }
            let remembered = patient.policies.entry(hash.clone()).or_default();
            let mut budgets = self.budgets.lock().expect("budgets lock");
            let decision = self.policy.decide_within(&mut budgets, &ward, remembered, &assessment, at);
            live[scorer_at] = Live::of(&assessment, decision.is_some());
            if let Some(decision) = decision {
                let proposal = patient.propose(&assessment, decision.tier, at, trigger);
                let proposal = proposal.map(|proposal| proposal.on_behalf_of(origin.clone()));
                assessed.proposals.extend(proposal);
            }
        }
        // What is counted is this site's own patients.
        if origin.is_none() && !trigger.quiet {
            assessed.shadow = self.shadow(patient, &live, (trigger.index, at, &ward));
            if self.compares() {
                let trigger = (trigger.index, trigger.received_at);
                assessed.closed = patient.counted.close(&patient.state, at, trigger);
            }
        }
        assessed
    }

    /// A person has answered this scorer's alert about the patient. Whether it asked for anything.
    pub fn answered(&self, patient: &mut Patient, hash: &str, answer: Answered) -> bool {
        if answer == Answered::Seen {
            return false;
        }
        // A tick scores later than the newest event. Whoever stands in for the site has not scored yet, and hears it, too.
        let scored = patient.risks.get(hash).map(|risk| risk.at);
        let Some(at) = scored.max(patient.state.latest()) else { return false };
        self.policy.answered(patient.policies.entry(hash.to_owned()).or_default(), answer, at);
        true
    }

    fn shadow(&self, patient: &mut Patient, live: &[Live], place: (u64, Time, &str)) -> Vec<ShadowSaid> {
        let mut all = Vec::new();
        for scorer_at in self.having(Role::Shadow) {
            let Place { thresholds, counted_since: Some(since), .. } = self.places[scorer_at] else {
                continue;
            };
            let scorer = &self.scorers[scorer_at];
            let assessment = held_to(thresholds, scorer.score(&patient.state, place.1));
            let beside = standing::beside(&self.scorers, &self.places, scorer.task());
            let beside = beside.into_iter().fold(Live::default(), |sum, at| sum.and(live[at]));
            let seen = patient.shadows.entry(self.hashes[scorer_at].clone()).or_default();
            all.push(ShadowSaid::by(&assessment, seen, since, &self.policy, beside, place));
        }
        all
    }
}

/// With reasons where the risk is near enough to its threshold that somebody may ask for them: TreeSHAP costs many times
/// what the score does. `thresholds`: the site's own, where it has any.
pub(crate) fn judge(
    scorer: &Scorer,
    thresholds: Option<Thresholds>,
    state: &PatientState,
    at: Time,
) -> Assessment {
    let scored = held_to(thresholds, scorer.score(state, at));
    let near = scored.risk.is_some_and(|risk| risk >= scored.threshold * EXPLAINED_FROM);
    if near { held_to(thresholds, scorer.assess(state, at)) } else { scored }
}

/// The site's own, where it has any.
fn held_to(thresholds: Option<Thresholds>, said: Assessment) -> Assessment {
    match thresholds {
        Some(thresholds) => said.at_thresholds(thresholds),
        None => said,
    }
}

/// As an alert's entry keeps them.
pub(crate) fn contributions(assessment: &Assessment) -> Vec<entry::Contribution> {
    let kept = |c: &ml_scoring::Contribution| entry::Contribution {
        feature: c.feature.clone(),
        value: Some(c.value).filter(|value| value.is_finite()),
        weight: c.weight,
        group: c.group,
        words: c.words.clone(),
    };
    assessment.contributions.iter().map(kept).collect()
}

impl Patient {
    fn propose(
        &self,
        assessment: &Assessment,
        tier: Tier,
        at: Time,
        Trigger { index: trigger, received_at, again, .. }: Trigger,
    ) -> Option<Proposal> {
        let mut indices: Vec<u64> = self.evidence.iter().copied().filter(|index| *index != trigger).collect();
        indices.push(trigger);
        let facts = AlertFacts {
            id: String::new(),
            patient: self.id.clone()?,
            visit: self.visit.clone(),
            ward: self.state.location().map(|l| l.ward.clone()).unwrap_or_default(),
            at,
            task: assessment.task.clone(),
            model: assessment.scorer.clone(),
            model_hash: hex::encode(assessment.model_hash),
            risk: assessment.risk?,
            threshold: assessment.threshold,
            tier: tier.as_str().to_owned(),
            reasons: assessment.reasons(REASONS_MAX),
            indices,
            site: String::new(),
            takeover_for: None,
        };
        let contributions = contributions(assessment);
        Some(Proposal { trigger, alert: entry::Alert { facts, contributions, received_at, again } })
    }
}
