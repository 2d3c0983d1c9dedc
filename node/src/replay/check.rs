//! Reads messages as a site does and holds each hour against batch. As a site does: the reader's functions, the
//! ledger entry that keeps the events, the patient's state, its features, the scorer. What a site has besides, sockets
//! and consensus, changes no event.

use actors::entry::{self, Format, READER};
use anyhow::bail;
use bytes::Bytes;
use clinical::{CodeTable, Event, Feed, Issue, PatientState, Severity, Time, fhir, hl7};
use ml_scoring::dataset::Patient;
use ml_scoring::eval::{Hour, Predictor};
use ml_scoring::{Features, Scorer};
use serde::Serialize;

use super::plan::{self, Telling};
use super::unequal::When;
use super::{AUTHORITY, Standard, Unequal, WARDS};

/// What the scores of one hour may differ by.
const DIFFERENCE_MAX: f64 = 1e-6;

pub struct Check {
    standard: Standard,
    feed: Feed,
    scorer: Option<Scorer>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Compared {
    pub patients: u64,
    pub rows: u64,
    pub messages: u64,
    /// Rows of which the stream's features are not batch's, bit for bit, or whose probabilities differ too much.
    pub rows_unequal: u64,
    /// Rows with a probability; the others are `insufficient data` on both sides. Null without a model.
    pub rows_scored: Option<u64>,
    /// Between the stream's probability of a row and batch's.
    pub largest_difference: Option<f64>,
}

/// What batch says of one row.
struct Batch {
    features: Features,
    /// `Some(None)`: insufficient data.
    risk: Option<Option<f64>>,
}

impl Check {
    pub fn new(standard: Standard, scorer: Option<Scorer>) -> Check {
        let feed = Feed {
            authority: AUTHORITY.into(),
            codes: CodeTable::empty(),
            icu_wards: WARDS.map(String::from).to_vec(),
            ..Feed::default()
        };
        Check { standard, feed, scorer }
    }

    /// Lets the messages in, in the order given. Each row is looked at twice: when the last message of it and of the
    /// rows before it has come, and after the last of all.
    pub fn patient(
        &self,
        patient: &Patient,
        messages: &[(Telling, Vec<u8>)],
        compared: &mut Compared,
    ) -> anyhow::Result<Vec<Unequal>> {
        let batch = self.batch(patient);
        let mut found: Vec<Option<Unequal>> = vec![None; batch.len()];
        let mut state = PatientState::default();
        let due = due(patient, messages);
        let mut next = 0;
        for (number, (telling, bytes)) in messages.iter().enumerate() {
            for event in self.read(bytes, telling.arrives_at)? {
                state.apply_received(&event, telling.arrives_at);
            }
            while due.get(next).is_some_and(|due| *due <= number) {
                found[next] = self.look(patient, next, &state, &batch[next], When::Close, compared);
                next += 1;
            }
        }
        for (row, known) in batch.iter().enumerate() {
            let seen = self.look(patient, row, &state, known, When::End, compared);
            found[row] = found[row].take().or(seen);
        }
        let found: Vec<Unequal> = found.into_iter().flatten().collect();
        compared.patients += 1;
        compared.rows += batch.len() as u64;
        compared.messages += messages.len() as u64;
        compared.rows_unequal += found.len() as u64;
        if self.scorer.is_some() {
            let scored = batch.iter().filter(|known| matches!(known.risk, Some(Some(_)))).count();
            *compared.rows_scored.get_or_insert_default() += scored as u64;
        }
        Ok(found)
    }

    fn batch(&self, patient: &Patient) -> Vec<Batch> {
        let mut all = Vec::with_capacity(patient.rows.len());
        patient.for_each_hour(|i, state, features| {
            let risk = self.scorer.as_ref().map(|scorer| {
                let hour = Hour { row: &patient.rows[i], state, features };
                features.sufficient().then(|| scorer.predict(&hour).p)
            });
            all.push(Batch { features: features.clone(), risk });
        });
        all
    }

    fn look(
        &self,
        patient: &Patient,
        row: usize,
        state: &PatientState,
        batch: &Batch,
        when: When,
        compared: &mut Compared,
    ) -> Option<Unequal> {
        let (line, at) = (patient.rows[row].line, plan::hour_end(&patient.rows[row]));
        let unequal = Unequal::of(line, when, &Features::from_state(state, at), &batch.features);
        let (Some(scorer), Some(expected)) = (&self.scorer, batch.risk) else { return unequal };
        let risk = scorer.score(state, at).risk;
        let difference = match (risk, expected) {
            (Some(risk), Some(expected)) => (risk - expected).abs(),
            (None, None) => 0.0,
            _ => 1.0,
        };
        let largest = compared.largest_difference.get_or_insert(0.0);
        *largest = largest.max(difference);
        // Also where the difference is no number.
        let close = difference <= DIFFERENCE_MAX;
        unequal.or_else(|| (!close).then(|| Unequal::of_risk(line, when, risk, expected)))
    }

    /// The events that the ledger's entry holds of a message, as its reader takes them out.
    fn read(&self, bytes: &[u8], received_at: Time) -> anyhow::Result<Vec<Event>> {
        let raw = Bytes::copy_from_slice(bytes);
        let (format, type_, control_id, events, issues) = match self.standard {
            Standard::Hl7 => {
                let message = hl7::Message::parse(raw.clone(), &hl7::Limits::default())?;
                let (events, issues) = hl7::to_events(&message, &self.feed, received_at);
                (Format::Hl7v2, message.type_(), message.control_id().into_owned(), events, issues)
            }
            Standard::Fhir => {
                let resource = fhir::read_bytes(raw.clone()).map_err(|issues| refused(&issues))?;
                let (events, mut issues) = fhir::to_events(&resource, &self.feed, received_at);
                issues.extend(resource.warnings().iter().cloned());
                let id = resource.id().unwrap_or_default().to_owned();
                (Format::Fhir, resource.type_().to_owned(), id, events, issues)
            }
        };
        // Written by this program: nothing in it may be doubtful but the values, which are the set's (FiO2 of 0).
        let is_of_the_set = |issue: &Issue| issue.code == "value-implausible";
        if issues.iter().any(|issue| issue.severity != Severity::Information && !is_of_the_set(issue)) {
            bail!(refused(&issues));
        }
        let kept = entry::Message {
            feed: "replay".into(),
            format,
            reader: READER,
            codes: String::new(),
            type_,
            control_id,
            position: String::new(),
            headers: Default::default(),
            events,
            issues,
            again: None,
        };
        let (kept, _) = entry::decode::<entry::Message>(&entry::encode(&kept, &raw))?;
        Ok(kept.events)
    }
}

fn refused(issues: &[Issue]) -> anyhow::Error {
    let told: Vec<String> =
        issues.iter().map(|i| format!("{}: {} ({})", i.location, i.text, i.code)).collect();
    anyhow::anyhow!("a message as it was written is not read without a doubt: {}", told.join("; "))
}

/// For each row the place of the last message of it or of a row before it.
fn due(patient: &Patient, messages: &[(Telling, Vec<u8>)]) -> Vec<usize> {
    let mut due = vec![0; patient.rows.len()];
    for (number, (telling, _)) in messages.iter().enumerate() {
        if let Some(last) = due.get_mut(telling.row) {
            *last = number;
        }
    }
    let mut latest = 0;
    for last in &mut due {
        latest = latest.max(*last);
        *last = latest;
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Disturber;
    use clinical::Column;
    use ml_scoring::dataset::Row;

    /// Some columns an hour, some now and then, one implausible value, rows without any.
    fn patient() -> Patient {
        let row = |hour: u32| {
            let mut row =
                Row { values: Row::EMPTY, iculos: hour + 3, label: false, line: 10 + hour as usize };
            let mut put = |column: Column, value: f64| row.values[column as usize] = value;
            if hour % 5 != 4 {
                put(Column::Hr, 80.0 + f64::from(hour * 7 % 11));
                put(Column::Map, 71.33 + f64::from(hour) / 3.0);
                put(Column::Resp, 17.5);
            }
            if hour % 6 == 1 {
                put(Column::Lactate, 1.1 + f64::from(hour) / 7.0);
                put(Column::FiO2, if hour == 7 { 10.0 } else { 0.4 });
            }
            row
        };
        let rows = (0..24).map(row).collect();
        Patient {
            pid: "p000001".into(),
            age: 63.7,
            gender: 1.0,
            unit1: 1.0,
            unit2: 0.0,
            hosp_adm_time: -9.123,
            rows,
        }
    }

    fn check(
        standard: Standard,
        patient: &Patient,
        messages: &[(Telling, Vec<u8>)],
    ) -> (Vec<Unequal>, Compared) {
        let mut compared = Compared::default();
        let found = Check::new(standard, None).patient(patient, messages, &mut compared).unwrap();
        (found, compared)
    }

    const BOTH: [Standard; 2] = [Standard::Hl7, Standard::Fhir];

    #[test]
    fn the_stream_knows_at_each_close_what_batch_knows() {
        let patient = patient();
        for standard in BOTH {
            let told = standard.write_all(&patient, plan::plan(&patient).unwrap());
            let (found, compared) = check(standard, &patient, &told);
            assert_eq!((found, compared.rows, compared.rows_unequal), (Vec::new(), 24, 0));
        }
    }

    #[test]
    fn disturbances_change_nothing() {
        let patient = patient();
        let mut disturber = Disturber::new(5);
        for standard in BOTH {
            for round in 0..20 {
                let told = disturber.disturb(plan::plan(&patient).unwrap());
                let (found, _) = check(standard, &patient, &standard.write_all(&patient, told));
                assert_eq!(found, [], "{standard:?}, round {round}");
            }
        }
        let done = disturber.done;
        assert!(done.delayed.min(done.duplicated).min(done.corrected).min(done.withdrawn) > 50, "{done:?}");
    }

    /// A check that finds nothing must be one that finds something.
    #[test]
    fn what_differs_is_named_by_line_and_column() {
        let patient = patient();
        for standard in BOTH {
            let told = plan::plan(&patient).unwrap();
            let mut other = patient.clone();
            other.rows[8].values[Column::Map as usize] += 1e-4;
            let (found, _) = check(standard, &other, &standard.write_all(&patient, told.clone()));
            assert_eq!(
                (found[0].line, found[0].column, found[0].when),
                (18, "MAP", When::Close),
                "{found:?}"
            );

            let mut lost = standard.write_all(&patient, told);
            lost.retain(|(telling, _)| telling.row != 8);
            let (found, compared) = check(standard, &patient, &lost);
            assert_eq!((found[0].line, found[0].column), (18, "HR"), "{found:?}");
            assert_eq!(compared.rows_unequal, found.len() as u64);
        }
    }

    /// Hours later than the one that is looked at must not be seen.
    #[test]
    fn a_value_in_the_wrong_hour_is_found() {
        let patient = patient();
        let mut told = plan::plan(&patient).unwrap();
        let moved = told.iter_mut().find(|telling| telling.row == 8).unwrap();
        moved.at = Time(moved.at.0 + Time::HOUR_MS);
        let (found, _) = check(Standard::Hl7, &patient, &Standard::Hl7.write_all(&patient, told));
        assert_eq!(found.first().map(|unequal| unequal.line), Some(18), "{found:?}");
    }
}
