//! The PhysioNet/CinC Challenge 2019 set as patients, and patients as states: training rows are computed by the
//! code that scores the stream.

mod known;
mod moments;

use std::collections::HashMap;
use std::io::BufRead;

use clinical::{
    COLUMNS, COLUMNS_2019, Encounter, EncounterChange, Event, EventKind, Location, ObservationStatus,
    PatientId, PatientState, Person, Precision, Sex, Time,
};
use sha2::{Digest, Sha256};

use crate::Features;

pub use known::Known;
pub use moments::{Hears, Moment, Source};

/// `pid`, the challenge's 40 columns, `SepsisLabel`.
pub const HEADER: &str = "pid,HR,O2Sat,Temp,SBP,MAP,DBP,Resp,EtCO2,BaseExcess,HCO3,FiO2,pH,PaCO2,SaO2,AST,BUN,\
Alkalinephos,Calcium,Chloride,Creatinine,Bilirubin_direct,Glucose,Lactate,Magnesium,Phosphate,Potassium,\
Bilirubin_total,TroponinI,Hct,Hgb,PTT,WBC,Fibrinogen,Platelets,Age,Gender,Unit1,Unit2,HospAdmTime,ICULOS,SepsisLabel";

/// Buckets 70 to 79 are the internal test: never trained on, no threshold chosen on them.
/// (Buckets from 80 on are not in the files at all.)
pub const INTERNAL_TEST: std::ops::Range<u32> = 70..80;

#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error("line {line}, column {column}: {what}")]
    Row { line: usize, column: &'static str, what: &'static str },
    #[error(
        "line 1: the header differs from the 2019 set's at column {0}; expected pid, 40 columns, SepsisLabel"
    )]
    Header(usize),
    #[error(
        "line {line}, column pid: this patient stands from line {first} on already{file}; a patient's rows must stand \
         together, once in all files"
    )]
    Twice { line: usize, first: usize, file: String },
    #[error("no patient in it: {0}")]
    Empty(&'static str),
    #[error("line {line}: {fields} fields; expected {expected}")]
    FieldCount { line: usize, fields: usize, expected: usize },
    #[error("line {line}: longer than {bytes_max} bytes; is this the right file?")]
    Line { line: usize, bytes_max: u64 },
    #[error("line 1: no file of the 2012 set; its long file begins with {0}, its outcome files with {1}")]
    StaysHeader(&'static str, &'static str),
    #[error("line {line}: not readable: {source}")]
    Read { line: usize, source: std::io::Error },
    /// `error` is no source: its words are in these already.
    #[error("{file}: {error}")]
    In { file: String, error: Box<DatasetError> },
}

impl DatasetError {
    pub(crate) fn in_file(self, file: &str) -> DatasetError {
        DatasetError::In { file: file.to_owned(), error: Box::new(self) }
    }
}

/// One ICU hour. Missing is NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// In the order of [`clinical::COLUMNS`]; the 2019 set has the first of them.
    pub values: [f64; COLUMNS.len()],
    /// Hours since ICU admission, from 1.
    pub iculos: u32,
    pub label: bool,
    /// Of the file that it was read from, counted from 1; 0 = from no file.
    pub line: usize,
}

impl Row {
    /// Nothing measured.
    pub const EMPTY: [f64; COLUMNS.len()] = [f64::NAN; COLUMNS.len()];
}

/// One record. What is constant in it is taken from its first row.
#[derive(Clone, Default, PartialEq)]
pub struct Patient {
    pub pid: String,
    pub age: f64,
    /// 1 = male, 0 = female.
    pub gender: f64,
    /// Medical, surgical unit.
    pub unit1: f64,
    pub unit2: f64,
    /// ICU minus hospital admission, h; negative.
    pub hosp_adm_time: f64,
    pub rows: Vec<Row>,
}

impl std::fmt::Debug for Patient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Patient({} rows)", self.rows.len())
    }
}

/// The first 8 hex digits of sha256("cinc2019:" + pid) as an integer, mod 100.
pub fn bucket(pid: &str) -> u32 {
    hash(pid) % 100
}

/// Patient-level folds for cross-validation, independent of [`bucket`] as far as the same hash allows.
pub fn fold(pid: &str, folds: u32) -> u32 {
    (hash(pid) / 100) % folds.max(1)
}

fn hash(pid: &str) -> u32 {
    let digest = Sha256::new().chain_update("cinc2019:").chain_update(pid).finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// `A` for `p0…`, `B` for `p1…`, else `?`.
pub fn hospital(pid: &str) -> char {
    match pid.as_bytes() {
        [b'p', b'0', ..] => 'A',
        [b'p', b'1', ..] => 'B',
        _ => '?',
    }
}

/// Reads patient after patient; the rows of a patient must stand together.
pub fn read<R: BufRead>(reader: R) -> Patients<R> {
    Patients { reader, line: 0, text: String::new(), next: None, known: HashMap::new(), failed: false }
}

/// See [`read`]. Ends after the first error.
pub struct Patients<R> {
    reader: R,
    line: usize,
    text: String,
    next: Option<Patient>,
    /// The line on which each patient began.
    known: HashMap<String, usize>,
    failed: bool,
}

impl<R: BufRead> Iterator for Patients<R> {
    type Item = Result<Patient, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let patient = self.read_patient().transpose();
        self.failed = matches!(patient, Some(Err(_)));
        patient
    }
}

impl<R: BufRead> Patients<R> {
    fn read_patient(&mut self) -> Result<Option<Patient>, DatasetError> {
        if self.line == 0 {
            if !self.read_line()? {
                return Err(DatasetError::Empty("the file is empty"));
            }
            check_header(self.text.trim_end())?;
        }
        let mut current = self.next.take();
        while self.read_line()? {
            let text = self.text.trim_end();
            if text.is_empty() {
                continue;
            }
            let mut patient = parse(text, self.line)?;
            match &mut current {
                Some(known) if known.pid == patient.pid => {
                    let row = patient.rows.remove(0);
                    if known.rows.last().is_some_and(|last| last.iculos >= row.iculos) {
                        let what = "must grow from row to row of a patient";
                        return Err(DatasetError::Row { line: self.line, column: "ICULOS", what });
                    }
                    known.rows.push(row);
                }
                Some(_) => {
                    self.begins(&patient)?;
                    self.next = Some(patient);
                    return Ok(current);
                }
                None => {
                    self.begins(&patient)?;
                    current = Some(patient);
                }
            }
        }
        if self.known.is_empty() {
            return Err(DatasetError::Empty("nothing stands below the header"));
        }
        Ok(current)
    }

    fn begins(&mut self, patient: &Patient) -> Result<(), DatasetError> {
        let line = self.line;
        match self.known.insert(patient.pid.clone(), line) {
            Some(first) => Err(DatasetError::Twice { line, first, file: String::new() }),
            None => Ok(()),
        }
    }

    fn read_line(&mut self) -> Result<bool, DatasetError> {
        self.text.clear();
        self.line += 1;
        let line = self.line;
        self.reader
            .read_line(&mut self.text)
            .map(|n| n > 0)
            .map_err(|source| DatasetError::Read { line, source })
    }
}

fn check_header(text: &str) -> Result<(), DatasetError> {
    let text = text.trim_start_matches('\u{feff}');
    if text == HEADER {
        return Ok(());
    }
    let first_difference =
        HEADER.split(',').zip(text.split(',').chain(std::iter::repeat(""))).position(|(a, b)| a != b);
    Err(DatasetError::Header(first_difference.unwrap_or(42) + 1))
}

fn parse(text: &str, line: usize) -> Result<Patient, DatasetError> {
    let mut numbers = [f64::NAN; 41];
    let mut fields = text.split(',');
    let pid = fields.next().unwrap_or_default();
    let mut count = 1;
    for (i, field) in fields.enumerate() {
        count += 1;
        if let Some(slot) = numbers.get_mut(i) {
            *slot = number(field).ok_or(DatasetError::Row {
                line,
                column: column_name(i),
                what: "not a number",
            })?;
        }
    }
    if count != 42 {
        return Err(DatasetError::FieldCount { line, fields: count, expected: 42 });
    }
    let [measured @ .., age, gender, unit1, unit2, hosp_adm_time, iculos, label] = numbers;
    let measured: [f64; COLUMNS_2019] = measured;
    let mut values = Row::EMPTY;
    values[..COLUMNS_2019].copy_from_slice(&measured);
    if !(1.0..=100_000.0).contains(&iculos) || iculos.fract() != 0.0 {
        return Err(DatasetError::Row { line, column: "ICULOS", what: "not an hour from 1 on" });
    }
    if label != 0.0 && label != 1.0 {
        return Err(DatasetError::Row { line, column: "SepsisLabel", what: "neither 0 nor 1" });
    }
    let known = |value: f64, may: bool| value.is_nan() || may;
    let flag = |value: f64| known(value, value == 0.0 || value == 1.0);
    let hours = |value: f64| known(value, value.abs() <= 1e9);
    for (column, is_fine, what) in [
        ("pid", !pid.trim().is_empty(), "empty: whose row is it?"),
        ("Age", known(age, (0.0..=120.0).contains(&age)), "neither empty nor 0 to 120 years"),
        ("Gender", flag(gender), "neither empty nor 0 or 1"),
        ("Unit1", flag(unit1), "neither empty nor 0 or 1"),
        ("Unit2", flag(unit2), "neither empty nor 0 or 1"),
        ("HospAdmTime", hours(hosp_adm_time), "neither empty nor hours that a calendar has"),
    ] {
        if !is_fine {
            return Err(DatasetError::Row { line, column, what });
        }
    }
    let row = Row { values, iculos: iculos as u32, label: label == 1.0, line };
    Ok(Patient { pid: pid.to_owned(), age, gender, unit1, unit2, hosp_adm_time, rows: vec![row] })
}

/// Empty and `NaN` are missing; `None` is no number, and infinity is none.
fn number(field: &str) -> Option<f64> {
    let number = if field.is_empty() { f64::NAN } else { field.trim().parse().ok()? };
    (!number.is_infinite()).then_some(number)
}

fn column_name(index: usize) -> &'static str {
    HEADER.split(',').nth(index + 1).unwrap_or("?")
}

impl Patient {
    /// ICU admission of every patient of the set, whose real dates are unknown: 2019-01-01T00:00:00Z.
    pub const ADMITTED: Time = Time(1_546_300_800_000);

    /// When the row was observed: half past its hour.
    pub fn time_of(row: &Row) -> Time {
        Time(Patient::hour_start(row).0 + Time::HOUR_MS / 2)
    }

    /// The first moment of the row's hour.
    pub fn hour_start(row: &Row) -> Time {
        Time(Patient::ADMITTED.0 + (i64::from(row.iculos) - 1) * Time::HOUR_MS)
    }

    /// First row of the label, which leads the onset by 6 h.
    pub fn first_label(&self) -> Option<usize> {
        self.rows.iter().position(|row| row.label)
    }

    /// Who he is and his admission, as the events that messages would bring.
    pub fn admission(&self) -> Vec<Event> {
        let event = |kind| Event {
            patient: PatientId { authority: "cinc2019".into(), id: self.pid.as_str().into() },
            visit: Some(self.pid.as_str().into()),
            at: Patient::ADMITTED,
            precision: Precision::Second,
            kind,
        };
        let person = Person { birth_date: self.birth_date(), sex: self.sex(), ..Person::default() };
        let ward = match (self.unit1 == 1.0, self.unit2 == 1.0) {
            (true, _) => "MICU",
            (_, true) => "SICU",
            _ => "ICU",
        };
        let hospital_ms = (self.hosp_adm_time * Time::HOUR_MS as f64).round();
        let encounter = Encounter {
            location: Some(Location { ward: ward.into(), icu: true, ..Location::default() }),
            admitted_at: hospital_ms
                .is_finite()
                .then(|| Time(Patient::ADMITTED.0.saturating_add(hospital_ms as i64))),
            ..Encounter::of(EncounterChange::Admitted)
        };
        vec![event(EventKind::Person(person)), event(EventKind::Encounter(encounter))]
    }

    /// Folds one row's values into the state.
    pub fn observe(state: &mut PatientState, row: &Row) {
        let at = Patient::time_of(row);
        for (column, value) in COLUMNS.iter().zip(row.values).filter(|(_, value)| !value.is_nan()) {
            state.observe(*column, at, "", ObservationStatus::Final, value);
        }
    }

    /// State before the first row.
    pub fn admitted(&self) -> PatientState {
        let mut state = PatientState::default();
        self.admission().iter().for_each(|event| {
            state.apply(event);
        });
        state
    }

    /// Visits every row with the state and the features known at the close of its hour.
    pub fn for_each_hour(&self, mut visit: impl FnMut(usize, &PatientState, &Features)) {
        let mut state = self.admitted();
        for (i, row) in self.rows.iter().enumerate() {
            Patient::observe(&mut state, row);
            let features = Features::from_state(&state, Patient::time_of(row));
            visit(i, &state, &features);
        }
    }

    /// The features of every row.
    pub fn features(&self) -> Vec<Features> {
        let mut all = Vec::with_capacity(self.rows.len());
        self.for_each_hour(|_, _, features| all.push(features.clone()));
        all
    }

    fn sex(&self) -> Option<Sex> {
        match self.gender {
            1.0 => Some(Sex::Male),
            0.0 => Some(Sex::Female),
            _ => None,
        }
    }

    /// Half a year before the birthday that the (whole) age has passed.
    fn birth_date(&self) -> Option<String> {
        let age = self.age.floor();
        (0.0..=120.0).contains(&age).then(|| format!("{:04}-07-01", 2018 - age as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    /// Rows as text; `hr` and `label` per hour, the rest missing or constant.
    type HrAndLabel<'a> = &'a [(u32, &'a str, u8)];

    fn csv(patients: &[(&str, HrAndLabel)]) -> String {
        let mut text = format!("{HEADER}\n");
        for (pid, rows) in patients {
            for (iculos, hr, label) in *rows {
                let _ = writeln!(text, "{pid},{hr},{}83.14,1,1,0,-4.5,{iculos},{label}", ",".repeat(33));
            }
        }
        text
    }

    fn all(text: &str) -> Result<Vec<Patient>, DatasetError> {
        read(text.as_bytes()).collect()
    }

    #[test]
    fn patients_come_whole_with_their_features() {
        let text =
            csv(&[("p000001", &[(1, "", 0), (2, "97", 0), (4, "99.5", 1)]), ("p100002", &[(1, "80", 0)])]);
        let patients = all(&text).unwrap();
        assert_eq!(patients.iter().map(|p| p.rows.len()).collect::<Vec<_>>(), [3, 1]);
        assert_eq!((patients[0].first_label(), hospital(&patients[1].pid)), (Some(2), 'B'));
        assert_eq!((patients[0].rows[2].line, patients[1].rows[0].line), (4, 5));
        let features = patients[0].features();
        let value = |row: usize, name: &str| features[row].values[crate::features::index_of(name).unwrap()];
        assert!(value(0, "HR").is_nan());
        assert_eq!(
            (value(2, "HR"), value(2, "HR_delta"), value(2, "HR_count"), value(2, "ICULOS")),
            (99.5, 2.5, 2.0, 4.0)
        );
        assert_eq!(
            (value(0, "Age"), value(0, "Gender"), value(0, "Unit1"), value(0, "HospAdmTime")),
            (83.0, 1.0, 1.0, -4.5)
        );
        assert_eq!((value(2, "HR_slope_6h"), value(2, "HR_mean_12h")), (1.25, 98.25));
    }

    #[test]
    fn mistakes_are_named_by_line_and_column() {
        let error = |text: String| all(&text).unwrap_err().to_string();
        let good = csv(&[("p000001", &[(1, "97", 0), (2, "98", 0)])]);
        assert_eq!(error(good.replace(",98,", ",9x8,")), "line 3, column HR: not a number");
        assert_eq!(
            error(good.replace(",2,0\n", ",1,0\n")),
            "line 3, column ICULOS: must grow from row to row of a patient"
        );
        assert_eq!(error(good.replace(",2,0\n", ",2,7\n")), "line 3, column SepsisLabel: neither 0 nor 1");
        assert_eq!(error(good.replace("p000001,98", "p000001,98,")), "line 3: 43 fields; expected 42");
        assert!(
            error(good.replace("O2Sat", "SpO2"))
                .starts_with("line 1: the header differs from the 2019 set's at column 3")
        );
        for (wrong, says) in [
            (good.replace(",98,", ",inf,"), "line 3, column HR: not a number"),
            (good.replace("p000001,97", ",97"), "line 2, column pid: empty"),
            (good.replace("83.14,1", "-3,1"), "line 2, column Age"),
            (good.replace("83.14,1", "83.14,7"), "line 2, column Gender"),
            (good.replace("-4.5", "1e300"), "line 2, column HospAdmTime"),
            (String::new(), "no patient in it: the file is empty"),
            (format!("{HEADER}\n\n"), "no patient in it: nothing stands below the header"),
        ] {
            let said = error(wrong);
            assert!(said.starts_with(says), "{said}");
        }
    }

    #[test]
    fn a_patient_stands_together_and_once() {
        let torn = csv(&[
            ("p000001", &[(1, "97", 0)]),
            ("p000002", &[(1, "80", 0), (2, "80", 0)]),
            ("p000001", &[(2, "98", 0)]),
        ]);
        let said = all(&torn).unwrap_err().to_string();
        assert!(
            said.starts_with("line 5, column pid: this patient stands from line 2 on already;"),
            "{said}"
        );
        let once = all(&csv(&[("p000001", &[(1, "97", 0)]), ("p000002", &[(1, "80", 0)])])).unwrap();
        let mut known = Known::default();
        assert!(once.iter().all(|patient| known.admit("a.csv", patient).is_ok()));
        let said = known.admit("b.csv", &once[1]).unwrap_err().to_string();
        assert!(
            said.starts_with("line 3, column pid: this patient stands from line 3 on already in a.csv;"),
            "{said}"
        );
    }

    #[test]
    fn buckets_are_the_published_ones() {
        // Held, so that no release moves a patient from one set to another.
        assert_eq!(["p000001", "p000009", "p100001"].map(bucket), [45, 4, 95]);
        assert!((0..5).contains(&fold("p000001", 5)));
    }
}
