//! What is told of a patient, in which message and when.

use clinical::{Column, Encounter, EventKind, ObservationStatus, Person, Time};
use ml_scoring::dataset::{Patient, Row, Source};

/// One message. Nothing in it says when it arrives.
#[derive(Clone)]
pub struct Telling {
    pub control_id: String,
    /// When it was so.
    pub at: Time,
    pub sent_at: Time,
    pub arrives_at: Time,
    /// The patient's row that it brings to; the admission belongs to the first.
    pub row: usize,
    pub what: What,
}

#[derive(Clone)]
pub enum What {
    Admission,
    Results(Results),
}

#[derive(Clone)]
pub struct Results {
    pub source: Source,
    /// Filler order number: a correction repeats it.
    pub order: String,
    pub readings: Vec<Reading>,
}

#[derive(Clone, Copy)]
pub struct Reading {
    pub column: Column,
    pub number: f64,
    pub status: ObservationStatus,
}

const SENT_AFTER_MS: i64 = 60_000;
/// Longer ones make no id of a FHIR resource.
const PID_MAX: usize = 40;

fn letter(source: Source) -> char {
    match source {
        Source::Monitor => 'M',
        Source::Laboratory => 'L',
    }
}

/// The admission, then for each row a message of each source that measured anything; in the order of their times.
/// Errs where a message cannot say what the row says.
pub fn plan(patient: &Patient) -> anyhow::Result<Vec<Telling>> {
    let line = patient.rows.first().map_or(0, |row| row.line);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let pid = &patient.pid;
    if pid.is_empty() || pid.len() > PID_MAX || !pid.bytes().all(is_plain) {
        anyhow::bail!(
            "line {line}, column pid: messages name patients by 1 to {PID_MAX} letters, digits and hyphens"
        );
    }
    let admitted = Telling {
        control_id: format!("{pid}-A"),
        at: Patient::ADMITTED,
        sent_at: Patient::ADMITTED,
        arrives_at: Patient::ADMITTED,
        row: 0,
        what: What::Admission,
    };
    let mut all = vec![admitted];
    for (number, row) in patient.rows.iter().enumerate() {
        for source in Source::ALL {
            all.extend(results(pid, number, row, source)?);
        }
    }
    Ok(all)
}

fn results(pid: &str, number: usize, row: &Row, source: Source) -> anyhow::Result<Option<Telling>> {
    let mut readings = Vec::new();
    for (column, number) in source.values_in(row) {
        if number.is_infinite() {
            anyhow::bail!("line {}, column {}: no message can say infinity", row.line, column.name());
        }
        readings.push(Reading { column, number, status: ObservationStatus::Final });
    }
    if readings.is_empty() {
        return Ok(None);
    }
    let at = source.time_in(row);
    let sent_at = Time(at.0 + SENT_AFTER_MS);
    let order = format!("{pid}-{}-{}", row.iculos, letter(source));
    let control_id = order.clone();
    let what = What::Results(Results { source, order, readings });
    Ok(Some(Telling { control_id, at, sent_at, arrives_at: sent_at, row: number, what }))
}

/// The last moment of the row's hour.
pub fn hour_end(row: &Row) -> Time {
    Time(Patient::hour_start(row).0 + Time::HOUR_MS - 1)
}

/// Who the patient is and where he was admitted, as batch knows it.
pub fn admission(patient: &Patient) -> (Person, Option<Encounter>) {
    let (mut person, mut encounter) = (Person::default(), None);
    for event in patient.admission() {
        match event.kind {
            EventKind::Person(known) => person = known,
            EventKind::Encounter(known) => encounter = Some(known),
            EventKind::Observed(_) | EventKind::Ordered(_) | EventKind::Merged { .. } => {}
        }
    }
    (person, encounter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinical::{COLUMNS, COLUMNS_2019, Code, CodeSystem};

    /// A column without one would be missing in the stream and present in training.
    #[test]
    fn every_column_of_the_set_has_a_code_that_reads_back() {
        let told: Vec<Column> = Source::ALL.iter().flat_map(|source| source.columns()).copied().collect();
        assert_eq!(told, COLUMNS[..COLUMNS_2019]);
        for column in told {
            let code = Code { system: CodeSystem::Loinc, code: column.loinc().into(), display: "".into() };
            assert_eq!(Column::from_code(&code), Some(column));
        }
    }

    #[test]
    fn what_no_message_can_say_is_refused_by_line_and_column() {
        let mut row = Row { values: Row::EMPTY, iculos: 1, label: false, line: 7 };
        row.values[Column::Hr as usize] = f64::INFINITY;
        let said = |pid: &str, row: &Row| {
            let patient = Patient { pid: pid.into(), rows: vec![row.clone()], ..Patient::default() };
            plan(&patient).err().map(|error| error.to_string())
        };
        assert_eq!(said("p1", &row).unwrap(), "line 7, column HR: no message can say infinity");
        row.values[Column::Hr as usize] = 80.0;
        assert_eq!(said("p1", &row), None);
        for pid in ["", "../p1", "p|1", "p^1"] {
            assert!(said(pid, &row).unwrap().starts_with("line 7, column pid"), "{pid}");
        }
    }
}
