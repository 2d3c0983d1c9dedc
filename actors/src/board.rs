//! The care board's read model: patients by risk, open alerts, and a stream of what changes.
//!
//! Everything in it is derived from the ledger; a restart builds it again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use clinical::Time;
use ml_scoring::{Answered, ReasonGroup};
use raft_ledger::Subject;
use serde::{Deserialize, Serialize};

use crate::entry::{Acknowledged, Alert, Delivered};
use crate::rested::{self, AlertsRested, Rested};

/// Events kept for readers that reconnect; one that was away for longer is told to load the board again.
const EVENTS_KEPT: usize = 4096;
/// Patients' lines and alerts in them, together: under load one event holds every patient of the house.
const ROWS_KEPT: usize = 50_000;
/// Alerts kept on the board, newest; all of them stay in the ledger.
const ALERTS_KEPT: usize = 2000;
/// Later answers shown of one alert, newest.
const LATER_KEPT: usize = 8;

/// One patient's line on the board.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PatientRow {
    /// Opaque; names the patient in URLs.
    pub key: String,
    pub name: String,
    pub id: String,
    pub ward: String,
    pub bed: String,
    /// One per scorer.
    pub risks: Vec<RiskNow>,
    /// Event time of the newest data.
    pub data_at: Time,
    pub discharged: bool,
    /// The site that the patient belongs to and that this one stands in for; absent: this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// By which the patient's alerts are marked.
    #[serde(skip)]
    pub amended: Vec<Amended>,
}

impl PatientRow {
    /// What the patient's alerts show of it.
    fn of_alerts(&self) -> (&str, &str, &[Amended]) {
        (&self.id, &self.name, &self.amended)
    }
}

/// The message at `index` took back, or replaced by another, a value that was measured at `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amended {
    pub at: Time,
    pub index: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RiskNow {
    pub scorer: String,
    pub task: String,
    /// 0 to 1; absent: insufficient data.
    pub risk: Option<f64>,
    /// In words, why there is no risk, such as `not in intensive care`; absent where there is one.
    pub insufficient: Option<String>,
    pub threshold: f64,
    pub at: Time,
    /// The largest contributions in words, largest first.
    pub reasons: Vec<String>,
    /// The same by what they speak of, greatest share first.
    pub by_group: Vec<ReasonGroup>,
    /// More than half of what speaks for the risk is how care is done, and not the patient.
    pub rests_on_care_process: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RiskPoint {
    pub at: Time,
    pub risk: Option<f64>,
}

/// What opens when a patient is chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PatientDetail {
    pub row: PatientRow,
    /// Per scorer, oldest first.
    pub curves: BTreeMap<String, Vec<RiskPoint>>,
    pub alerts: Vec<AlertRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlertRow {
    pub id: String,
    pub index: u64,
    pub patient: String,
    /// PID-3.1, or the FHIR identifier's value; after a merge the survivor's.
    pub patient_id: String,
    pub name: String,
    pub ward: String,
    /// Event time of the trigger.
    pub at: Time,
    /// When the alert was kept, and so could be seen.
    pub kept_at: Time,
    pub task: String,
    pub model: String,
    pub model_hash: String,
    pub tier: String,
    pub risk: f64,
    pub threshold: f64,
    pub reasons: Vec<String>,
    /// More than half of what speaks for the risk is how care is done, and not the patient.
    pub rests_on_care_process: bool,
    /// Ledger indices; the trigger is last.
    pub evidence: Vec<u64>,
    /// Ledger indices of messages since that corrected or took back a value that was measured before the alert, as far
    /// back as the patient remembers them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub amended: Vec<u64>,
    pub delivered_to: BTreeSet<String>,
    pub acknowledged: Option<Answer>,
    /// Later answers that ask for silence: it counts as well, the longest of all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<Answer>,
    /// The site that the patient belongs to and that this one stands in for; absent: this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    pub by: String,
    pub reason: String,
    pub at: Time,
    /// No further alert of the patient by this scorer for so many hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snooze_h: Option<u32>,
    /// The patient has what the alert warned of.
    pub confirmed: bool,
}

/// One change, as the server-sent event stream carries it.
#[derive(Clone, Debug, Serialize)]
pub struct BoardEvent {
    /// Grows by one; starts anew (higher) after a restart.
    pub seq: u64,
    #[serde(flatten)]
    pub change: Change,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "lowercase")]
pub enum Change {
    Patients(Vec<PatientRow>),
    Alert(Box<AlertRow>),
    /// The reader was away for too long: load the board again.
    Reset,
}

impl Change {
    fn rows(&self) -> usize {
        match self {
            Change::Patients(rows) => rows.len(),
            Change::Alert(_) | Change::Reset => 1,
        }
    }
}

impl AlertRow {
    /// As the patient is called now: another name, or another number after a merge. Whether that is new.
    fn name_as(&mut self, row: &PatientRow) -> bool {
        let is_new = (&self.patient_id, &self.name) != (&row.id, &row.name);
        self.patient_id.clone_from(&row.id);
        self.name.clone_from(&row.name);
        is_new
    }

    /// By what came after all that the scorer saw. Whether it is marked anew.
    fn mark(&mut self, amended: &[Amended]) -> bool {
        let seen = self.evidence.iter().max().copied().unwrap_or(self.index);
        let since = amended.iter().filter(|by| by.index > seen && by.at <= self.at).map(|by| by.index);
        let new: Vec<u64> = since.filter(|index| !self.amended.contains(index)).collect();
        self.amended.extend(&new);
        !new.is_empty()
    }
}

pub(crate) struct Board {
    patients: BTreeMap<String, PatientRow>,
    changed: BTreeSet<String>,
    alerts: BTreeMap<u64, AlertRow>,
    index_of: BTreeMap<String, u64>,
    rested: Rested,
    events: VecDeque<BoardEvent>,
    /// In `events`.
    rows: usize,
    next_seq: u64,
    /// Sites that this one stands in for: what is of others is held, and not shown.
    covered: BTreeSet<String>,
    stream: tokio::sync::broadcast::Sender<BoardEvent>,
}

impl Board {
    /// `started_at` keeps the event numbers of two runs apart.
    pub fn new(started_at: Time) -> Board {
        Board {
            patients: BTreeMap::new(),
            changed: BTreeSet::new(),
            alerts: BTreeMap::new(),
            index_of: BTreeMap::new(),
            rested: Rested::default(),
            events: VecDeque::new(),
            rows: 0,
            covered: BTreeSet::new(),
            next_seq: started_at.0.unsigned_abs().saturating_mul(1000),
            stream: tokio::sync::broadcast::channel(1024).0,
        }
    }

    /// From now on this site stands in for these. Readers load the board again.
    pub fn cover(&mut self, sites: BTreeSet<String>) {
        if std::mem::replace(&mut self.covered, sites.clone()) != sites {
            self.events.clear();
            self.rows = 0;
            self.publish(Change::Reset);
        }
    }

    /// Of this site, or of one that it stands in for.
    pub fn shows(&self, origin: Option<&String>) -> bool {
        origin.is_none_or(|site| self.covered.contains(site))
    }

    pub fn set_patient(&mut self, row: PatientRow) {
        let before = self.patients.get(&row.key);
        if before == Some(&row) {
            return;
        }
        if before.map(PatientRow::of_alerts) != Some(row.of_alerts()) {
            self.change_alerts_of(&row.key, |alert| alert.name_as(&row) | alert.mark(&row.amended));
        }
        if self.shows(row.origin.as_ref()) {
            self.changed.insert(row.key.clone());
        }
        self.patients.insert(row.key.clone(), row);
    }

    /// The patient goes on under another key, and so do the alerts about him.
    pub fn merge(&mut self, from: &str, into: &str) {
        self.patients.remove(from);
        let survivor = self.patients.get(into).cloned();
        self.change_alerts_of(from, |alert| {
            into.clone_into(&mut alert.patient);
            if let Some(row) = &survivor {
                alert.name_as(row);
            }
            true
        });
    }

    /// What was shredded: patients by their keys, alerts by their indices. What readers could still ask for goes, too:
    /// they load the board again. `by`: the site that shredded, and whom.
    pub fn forget(&mut self, patients: &[String], alerts: &[u64], by: (&str, &[Subject])) {
        self.rested.forget(by.0, by.1);
        for key in patients {
            self.patients.remove(key);
            self.changed.remove(key);
        }
        for index in alerts {
            if let Some(row) = self.alerts.remove(index) {
                self.index_of.remove(&row.id);
            }
        }
        self.events.clear();
        self.rows = 0;
        self.publish(Change::Reset);
    }

    /// Tells readers of the patients that changed since the last call; called a few times a second, so that a
    /// busy ward is one event and not hundreds.
    pub fn flush(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        let rows: Vec<PatientRow> = changed
            .iter()
            .filter_map(|key| self.patients.get(key).cloned())
            .filter(|row| self.shows(row.origin.as_ref()))
            .collect();
        if !rows.is_empty() {
            self.publish(Change::Patients(rows));
        }
    }

    pub fn add_alert(
        &mut self,
        index: u64,
        kept_at: Time,
        patient: String,
        origin: Option<String>,
        subject: Subject,
        alert: &Alert,
    ) {
        let facts = &alert.facts;
        // The site itself told of what was told on its behalf: the first stands.
        if self.index_of.contains_key(&facts.id) {
            return;
        }
        let shares = rested::shares_of(alert);
        self.rested.add(subject, alert, shares);
        let known = self.patients.get(&patient);
        let mut row = AlertRow {
            id: facts.id.clone(),
            index,
            name: String::new(),
            patient,
            patient_id: facts.patient.id.to_string(),
            ward: facts.ward.clone(),
            at: facts.at,
            kept_at,
            task: facts.task.clone(),
            model: facts.model.clone(),
            model_hash: facts.model_hash.clone(),
            tier: facts.tier.clone(),
            risk: facts.risk,
            threshold: facts.threshold,
            reasons: facts.reasons.clone(),
            rests_on_care_process: shares.rests_on_care_process(),
            evidence: facts.indices.clone(),
            amended: Vec::new(),
            delivered_to: BTreeSet::new(),
            acknowledged: None,
            later: Vec::new(),
            origin,
        };
        if let Some(known) = known {
            row.name_as(known);
            row.mark(&known.amended);
        }
        self.index_of.insert(row.id.clone(), index);
        self.alerts.insert(index, row.clone());
        if self.alerts.len() > ALERTS_KEPT
            && let Some((_, oldest)) = self.alerts.pop_first()
        {
            self.index_of.remove(&oldest.id);
        }
        self.publish_alert(row);
    }

    pub fn delivered(&mut self, delivered: &Delivered) {
        if delivered.refused.is_none() {
            self.change_alert(&delivered.alert, |row| row.delivered_to.insert(delivered.sink.clone()));
        }
    }

    /// The first answer stands; of later ones, which are in the ledger beside it, those are shown that silence further
    /// alerts. Returns when the alert was kept when it is the first.
    pub fn acknowledged(&mut self, answer: &Acknowledged) -> Option<Time> {
        let mut kept_at = None;
        self.change_alert(&answer.alert, |row| {
            let told = Answer {
                by: answer.by.clone(),
                reason: answer.reason.clone(),
                at: answer.at,
                snooze_h: answer.snooze_h,
                confirmed: answer.confirmed,
            };
            if row.acknowledged.is_none() {
                kept_at = Some(row.kept_at);
                row.acknowledged = Some(told);
                return true;
            }
            let silences = answer.answered() != Answered::Seen;
            if silences {
                row.later.push(told);
                row.later.drain(..row.later.len().saturating_sub(LATER_KEPT));
            }
            silences
        });
        kept_at
    }

    /// By risk over threshold, highest first.
    pub fn patients(&self) -> Vec<PatientRow> {
        let mut rows: Vec<PatientRow> = self
            .patients
            .values()
            .filter(|row| !row.discharged && self.shows(row.origin.as_ref()))
            .cloned()
            .collect();
        let urgency = |row: &PatientRow| {
            row.risks.iter().filter_map(|r| Some(r.risk? / r.threshold.max(1e-9))).fold(-1.0, f64::max)
        };
        rows.sort_by(|a, b| urgency(b).total_cmp(&urgency(a)).then_with(|| a.key.cmp(&b.key)));
        rows
    }

    /// Newest first.
    pub fn alerts(&self) -> impl Iterator<Item = &AlertRow> {
        self.alerts.values().rev().filter(|row| self.shows(row.origin.as_ref()))
    }

    /// Also of those that are not shown.
    pub fn alert_indices(&self) -> Vec<u64> {
        self.alerts.keys().copied().collect()
    }

    pub fn alert(&self, id: &str) -> Option<&AlertRow> {
        self.alerts.get(self.index_of.get(id)?).filter(|row| self.shows(row.origin.as_ref()))
    }

    /// What the alerts of the model with this hash rested on.
    pub fn rested(&self, hash: &str) -> Option<AlertsRested> {
        self.rested.of(hash)
    }

    /// Whom an alert is about, and the hash of who made it.
    pub fn about(&self, id: &str) -> Option<(String, String)> {
        let row = self.alerts.get(self.index_of.get(id)?)?;
        Some((row.patient.clone(), row.model_hash.clone()))
    }

    /// The newest event number: what a reader that has loaded the board now goes on from.
    pub fn seq(&self) -> u64 {
        self.next_seq
    }

    /// What happened after `seq`, and the stream of what is to come, without a gap between them.
    pub fn subscribe(&self, seq: u64) -> (Vec<BoardEvent>, tokio::sync::broadcast::Receiver<BoardEvent>) {
        let oldest = self.events.front().map_or(self.next_seq, |event| event.seq);
        let missed = if seq + 1 < oldest || seq > self.next_seq {
            vec![BoardEvent { seq: self.next_seq, change: Change::Reset }]
        } else {
            self.events.iter().filter(|event| event.seq > seq).cloned().collect()
        };
        (missed, self.stream.subscribe())
    }

    fn change_alert(&mut self, id: &str, change: impl FnOnce(&mut AlertRow) -> bool) {
        let Some(row) = self.index_of.get(id).and_then(|index| self.alerts.get_mut(index)) else { return };
        if change(row) {
            let row = row.clone();
            self.publish_alert(row);
        }
    }

    fn change_alerts_of(&mut self, patient: &str, mut change: impl FnMut(&mut AlertRow) -> bool) {
        let of_patient = self.alerts.values_mut().filter(|alert| alert.patient == patient);
        let changed: Vec<AlertRow> = of_patient.filter_map(|row| change(row).then(|| row.clone())).collect();
        changed.into_iter().for_each(|row| self.publish_alert(row));
    }

    fn publish_alert(&mut self, row: AlertRow) {
        if self.shows(row.origin.as_ref()) {
            self.publish(Change::Alert(Box::new(row)));
        }
    }

    fn publish(&mut self, change: Change) {
        self.next_seq += 1;
        let event = BoardEvent { seq: self.next_seq, change };
        self.rows += event.change.rows();
        self.events.push_back(event.clone());
        while self.events.len() > EVENTS_KEPT || self.rows > ROWS_KEPT {
            let Some(oldest) = self.events.pop_front() else { break };
            self.rows -= oldest.change.rows();
        }
        // Without a reader nobody hears it; the next one loads the board.
        let _ = self.stream.send(event);
    }
}

#[cfg(test)]
mod tests {
    use clinical::AlertFacts;

    use super::*;

    fn alert(id: &str) -> Alert {
        let facts = AlertFacts {
            id: id.into(),
            patient: clinical::PatientId { authority: "H".into(), id: "1".into() },
            visit: None,
            ward: "ICU".into(),
            at: Time(5),
            task: "sepsis".into(),
            model: "m".into(),
            model_hash: "00".into(),
            risk: 0.5,
            threshold: 0.2,
            tier: "interruptive".into(),
            reasons: vec![],
            indices: vec![1],
            site: "a".into(),
            takeover_for: None,
        };
        Alert { facts, contributions: vec![], received_at: Time(5), again: false }
    }

    #[test]
    fn a_reader_that_comes_back_gets_what_it_missed_and_no_more() {
        let mut board = Board::new(Time(1));
        let start = board.seq();
        board.add_alert(7, Time(5), "p".into(), None, Subject([7; 32]), &alert("a"));
        let after_first = board.seq();
        board.add_alert(8, Time(6), "p".into(), None, Subject([8; 32]), &alert("b"));
        let seqs = |from| board.subscribe(from).0.iter().map(|e| e.seq).collect::<Vec<_>>();
        assert_eq!(seqs(start), [start + 1, start + 2]);
        assert_eq!(seqs(after_first), [start + 2]);
        assert!(seqs(board.seq()).is_empty());
        for stale in [0, board.seq() + 1] {
            assert!(matches!(board.subscribe(stale).0[..], [BoardEvent { change: Change::Reset, .. }]));
        }
    }

    #[test]
    fn what_is_kept_for_readers_is_bounded_in_rows() {
        let mut board = Board::new(Time(1));
        let start = board.seq();
        for data_at in 0..30 {
            for n in 0..2_000 {
                board.set_patient(PatientRow {
                    key: n.to_string(),
                    name: String::new(),
                    id: String::new(),
                    ward: String::new(),
                    bed: String::new(),
                    risks: Vec::new(),
                    data_at: Time(data_at),
                    discharged: false,
                    origin: None,
                    amended: Vec::new(),
                });
            }
            board.flush();
        }
        assert_eq!((board.events.len(), board.rows), (25, ROWS_KEPT));
        let (missed, _) = board.subscribe(start);
        assert!(matches!(missed[..], [BoardEvent { change: Change::Reset, .. }]));
        assert_eq!(board.subscribe(board.seq() - 25).0.len(), 25);
    }

    fn row(key: &str) -> PatientRow {
        PatientRow {
            key: key.into(),
            name: "Example".into(),
            id: String::new(),
            ward: String::new(),
            bed: String::new(),
            risks: Vec::new(),
            data_at: Time(1),
            discharged: false,
            origin: None,
            amended: Vec::new(),
        }
    }

    #[test]
    fn alerts_are_marked_with_what_took_back_a_value_from_before_them() {
        let amended = |at, index| Amended { at: Time(at), index };
        let marks = |board: &Board| -> Vec<(String, Vec<u64>)> {
            board.alerts().map(|alert| (alert.id.clone(), alert.amended.clone())).collect()
        };
        let mut board = Board::new(Time(1));
        board.set_patient(row("p"));
        // Both at 5, with entry 1 as their trigger; one is of somebody else.
        board.add_alert(7, Time(5), "p".into(), None, Subject([7; 32]), &alert("a"));
        board.add_alert(8, Time(5), "q".into(), None, Subject([8; 32]), &alert("b"));
        board.flush();
        let before = board.seq();
        // The scorer saw it; of a value from after the alert; what counts.
        let all = vec![amended(4, 1), amended(6, 9), amended(5, 10)];
        board.set_patient(PatientRow { amended: all, ..row("p") });
        assert_eq!(marks(&board), [("b".into(), vec![]), ("a".into(), vec![10])]);
        assert!(matches!(&board.subscribe(before).0[..],
            [BoardEvent { change: Change::Alert(alert), .. }] if alert.amended == [10]));
        // It goes on while the patient remembers no more of it.
        board.set_patient(row("p"));
        assert_eq!(marks(&board)[1].1, [10]);
        // Merged, the other patient's alert is marked by what corrects his values from then on.
        board.merge("p", "r");
        board.set_patient(PatientRow { amended: vec![amended(5, 10), amended(5, 12)], ..row("r") });
        let of_merged = board.alerts().find(|alert| alert.id == "a").unwrap();
        assert_eq!((of_merged.patient.as_str(), &of_merged.amended[..]), ("r", &[10, 12][..]));
    }

    #[test]
    fn after_a_merge_an_alert_is_about_who_the_patient_is_now() {
        let named =
            |key: &str, id: &str, name: &str| PatientRow { id: id.into(), name: name.into(), ..row(key) };
        let told = |board: &Board| {
            let alert = board.alert("a").unwrap();
            [alert.patient.clone(), alert.patient_id.clone(), alert.name.clone()]
        };
        let mut board = Board::new(Time(1));
        board.set_patient(named("p", "1", "Old"));
        board.add_alert(7, Time(5), "p".into(), None, Subject([7; 32]), &alert("a"));
        assert_eq!(told(&board), ["p", "1", "Old"]);
        // Whether the survivor is on the board already or comes now.
        board.merge("p", "r");
        board.set_patient(named("r", "2", "New"));
        assert_eq!(told(&board), ["r", "2", "New"]);
        board.set_patient(named("s", "3", "Newest"));
        let before = board.seq();
        board.merge("r", "s");
        assert_eq!(told(&board), ["s", "3", "Newest"]);
        assert!(matches!(&board.subscribe(before).0[..],
            [BoardEvent { change: Change::Alert(alert), .. }] if alert.patient_id == "3"));
        // Read anew after a restart.
        let mut again = Board::new(Time(2));
        again.set_patient(named("s", "3", "Newest"));
        again.add_alert(7, Time(5), "s".into(), None, Subject([7; 32]), &alert("a"));
        assert_eq!(told(&again), ["s", "3", "Newest"]);
    }

    #[test]
    fn alerts_read_anew_are_marked_as_before() {
        let amended = Amended { at: Time(5), index: 10 };
        // After a restart the patient is there first.
        let mut again = Board::new(Time(2));
        again.set_patient(PatientRow { amended: vec![amended], ..row("p") });
        again.add_alert(7, Time(5), "p".into(), None, Subject([7; 32]), &alert("a"));
        assert_eq!(again.alert("a").unwrap().amended, [10]);
    }

    #[test]
    fn what_was_shredded_is_gone_and_readers_load_the_board_again() {
        let mut board = Board::new(Time(1));
        let start = board.seq();
        board.set_patient(row("p"));
        board.set_patient(row("q"));
        board.add_alert(7, Time(5), "p".into(), None, Subject([7; 32]), &alert("a"));
        board.add_alert(8, Time(6), "q".into(), None, Subject([8; 32]), &alert("b"));
        assert_eq!(board.rested("00").map(|rested| rested.alerts), Some(2));
        board.forget(&["p".into()], &[7], ("b", &[Subject([7; 32])]));
        assert_eq!(board.rested("00").map(|rested| rested.alerts), Some(2), "another site has other keys");
        board.forget(&["p".into()], &[7], ("a", &[Subject([7; 32]), Subject([9; 32])]));
        assert_eq!(board.rested("00").map(|rested| rested.alerts), Some(1));
        board.flush();
        assert_eq!(board.patients().iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["q"]);
        assert_eq!(board.alerts().map(|alert| alert.index).collect::<Vec<_>>(), [8]);
        assert!(board.alert("a").is_none() && board.alert("b").is_some());
        let (missed, _) = board.subscribe(start);
        assert!(matches!(missed[..], [BoardEvent { change: Change::Reset, .. }]));
        assert!(!format!("{:?}", board.events).contains("\"p\""));
    }

    #[test]
    fn what_is_of_another_site_is_shown_while_this_one_stands_in_for_it() {
        let mut board = Board::new(Time(1));
        let start = board.seq();
        let row = PatientRow { origin: Some("z".into()), ..row("p") };
        board.set_patient(row);
        board.flush();
        board.add_alert(7, Time(5), "p".into(), Some("z".into()), Subject([7; 32]), &alert("a"));
        let hidden = |board: &Board| {
            board.patients().is_empty() && board.alerts().count() == 0 && board.alert("a").is_none()
        };
        assert!(hidden(&board));
        assert!(board.subscribe(start).0.is_empty(), "nobody hears of it either");
        board.cover(BTreeSet::from(["z".to_owned()]));
        assert_eq!(board.patients().len(), 1);
        assert_eq!(
            board.alert("a").map(|alert| (alert.name.as_str(), alert.origin.as_deref())),
            Some(("Example", Some("z")))
        );
        let (missed, _) = board.subscribe(start);
        assert!(matches!(missed[..], [BoardEvent { change: Change::Reset, .. }]));
        board.cover(BTreeSet::new());
        assert!(hidden(&board));
    }

    #[test]
    fn the_first_answer_stands_and_later_silence_is_shown() {
        let mut board = Board::new(Time(1));
        board.add_alert(7, Time(5), "p".into(), None, Subject([7; 32]), &alert("a"));
        let answer = |by: &str| Acknowledged {
            alert: "a".into(),
            by: by.into(),
            reason: "r".into(),
            at: Time(9),
            snooze_h: None,
            confirmed: false,
        };
        assert_eq!(board.acknowledged(&answer("first")), Some(Time(5)));
        assert_eq!(board.acknowledged(&answer("second")), None);
        let snoozed = |by: &str| Acknowledged { snooze_h: Some(12), ..answer(by) };
        let before = board.seq();
        assert_eq!(board.acknowledged(&snoozed("third")), None);
        assert_eq!(board.seq(), before + 1, "readers hear of it");
        let row = board.alert("a").unwrap();
        assert_eq!(row.acknowledged.as_ref().unwrap().by, "first");
        let later: Vec<_> = row.later.iter().map(|answer| (answer.by.as_str(), answer.snooze_h)).collect();
        assert_eq!(later, [("third", Some(12))]);
        (0..20).for_each(|_| assert_eq!(board.acknowledged(&snoozed("again")), None));
        assert_eq!(board.alert("a").unwrap().later.len(), LATER_KEPT);
    }
}
