//! The data set as rows of features with what training needs beside them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::describe::POPULATION;
use super::{Options, Progress, gain, stays};
use crate::DataFile;
use crate::dataset::{self, INTERNAL_TEST, Known, Patient};
use crate::eval::{Cohort, Person, Prediction, StayPredictor, StayRule};
use crate::stays::Stay;
use crate::task::{Task, Truth};

/// Patients whose features are computed side by side.
const CHUNK: usize = 256;

pub(super) struct Data {
    pub develop: Table,
    /// Patients who only judge, with [`Options::hold_out`].
    pub test: Vec<Patient>,
    pub files: Vec<DataFile>,
    /// Values that were set aside as implausible while reading, by parameter; the state does so by itself.
    pub set_aside: BTreeMap<&'static str, u64>,
    /// Stays whose outcome is not known.
    pub left_out: u64,
}

impl Data {
    pub fn new(develop: Table) -> Data {
        Data { develop, test: Vec::new(), files: Vec::new(), set_aside: BTreeMap::new(), left_out: 0 }
    }

    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.files.push(DataFile { name, sha256: sha256(path)? });
        Ok(())
    }
}

pub(super) struct Table {
    /// Indices in [`crate::features::NAMES`] of what the model looks at.
    pub features: Vec<usize>,
    /// Row after row, as many values as `features`.
    pub values: Vec<f32>,
    pub cohort: Cohort,
    /// What an alarm in the row gains (sign: label, size: weight); 0 = the row teaches nothing.
    pub gains: Vec<f64>,
    /// Whether a model may speak of the row: [`crate::Features::sufficient`], of one of [`POPULATION`].
    pub sufficient: Vec<bool>,
    /// What stands beside a model of stays, in the order of [`StayRule::ALL`].
    pub beside: [Vec<Prediction>; StayRule::ALL.len()],
}

impl Table {
    pub fn new(task: Task, features: Vec<usize>) -> Table {
        let cohort = Cohort { task, ..Cohort::default() };
        Table {
            features,
            values: Vec::new(),
            cohort,
            gains: Vec::new(),
            sufficient: Vec::new(),
            beside: Default::default(),
        }
    }

    pub fn row(&self, row: usize) -> &[f32] {
        let width = self.features.len();
        &self.values[row * width..(row + 1) * width]
    }

    /// For each row the fold of its patient.
    pub fn row_folds(&self, folds: u32) -> Vec<u32> {
        let fold =
            |person: &Person| std::iter::repeat_n(dataset::fold(&person.pid, folds), person.rows.len());
        self.cohort.people.iter().flat_map(fold).collect()
    }

    /// For each row whether the event ever comes to its patient.
    pub fn of_event(&self) -> Vec<bool> {
        let came = |person: &Person| {
            let came = person.onset.is_some() || self.cohort.labels[person.rows.clone()].contains(&true);
            std::iter::repeat_n(came, person.rows.len())
        };
        self.cohort.people.iter().flat_map(came).collect()
    }

    /// The names of `features`.
    pub fn names(&self) -> Vec<&'static str> {
        let all = self.cohort.task.feature_names();
        self.features.iter().filter_map(|feature| all.get(*feature).copied()).collect()
    }

    pub fn add_stay(&mut self, stay: &Stay, died: bool) {
        let close = stay.close();
        let all = close.values();
        self.values.extend(self.features.iter().map(|feature| all[*feature]));
        self.sufficient.push(close.features.sufficient() && POPULATION.includes(close.state.age_years()));
        self.gains.push(if died { 1.0 } else { -1.0 });
        for (table, rule) in self.beside.iter_mut().zip(StayRule::ALL) {
            table.push(rule.predict(&close));
        }
        self.cohort.push_stay(stay);
    }

    fn add(&mut self, patient: &Patient, rows: Rows) {
        let task = self.cohort.task;
        let truth = task.truth(patient);
        self.gains.extend((0..patient.rows.len()).map(|row| gain_of(task, patient, &truth, row)));
        self.values.extend_from_slice(&rows.values);
        self.sufficient.extend_from_slice(&rows.sufficient);
        self.cohort.push(patient);
    }
}

/// The official utility where the task has one, else right or wrong.
fn gain_of(task: Task, patient: &Patient, truth: &Truth, row: usize) -> f64 {
    match (task, truth.rows[row]) {
        (Task::Sepsis, _) => gain(patient.first_label(), row),
        (_, Some(true)) => 1.0,
        (_, Some(false)) => -1.0,
        (_, None) => 0.0,
    }
}

/// One patient's.
struct Rows {
    values: Vec<f32>,
    sufficient: Vec<bool>,
}

impl Rows {
    fn of(patient: &Patient, features: &[usize]) -> Rows {
        let hours = patient.rows.len();
        let mut rows = Rows {
            values: Vec::with_capacity(hours * features.len()),
            sufficient: Vec::with_capacity(hours),
        };
        patient.for_each_hour(|_, state, all| {
            rows.values.extend(features.iter().map(|feature| all.values[*feature]));
            rows.sufficient.push(all.sufficient() && POPULATION.includes(state.age_years()));
        });
        rows
    }
}

pub(super) fn read(options: &Options, features: Vec<usize>, progress: &dyn Progress) -> Result<Data> {
    if options.task == Task::Mortality {
        return stays::read(options, features, progress);
    }
    let mut data = Data::new(Table::new(options.task, features));
    let mut known = Known::default();
    for path in &options.files {
        data.add_file(path)?;
        read_file(path, options.hold_out, &mut known, &mut data, progress)
            .with_context(|| format!("{}", path.display()))?;
    }
    Ok(data)
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut digest = Sha256::new();
    std::io::copy(&mut file, &mut digest).with_context(|| format!("reading {}", path.display()))?;
    Ok(hex::encode(digest.finalize()))
}

fn read_file(
    path: &Path,
    hold_out: bool,
    known: &mut Known,
    data: &mut Data,
    progress: &dyn Progress,
) -> Result<()> {
    let name = data.files.last().map_or("", |file| &file.name);
    progress.stage(&format!("reading {name}"), path.metadata()?.len());
    let bytes = Cell::new(0);
    let reader = opened(path, &bytes, progress)?;
    let mut chunk = Vec::with_capacity(CHUNK);
    for patient in dataset::read(BufReader::with_capacity(1 << 20, reader)) {
        let patient = patient?;
        known.admit(&path.display().to_string(), &patient)?;
        match dataset::bucket(&patient.pid) {
            // Patients from 80 on are set aside for others to judge by, wherever they turn up.
            bucket if bucket >= INTERNAL_TEST.end => {}
            bucket if hold_out && INTERNAL_TEST.contains(&bucket) => data.test.push(patient),
            _ => chunk.push(patient),
        }
        if chunk.len() == CHUNK {
            add_chunk(&chunk, &mut data.develop);
            chunk.clear();
        }
    }
    add_chunk(&chunk, &mut data.develop);
    Ok(())
}

/// `bytes` grows by what is read, as the file has it.
pub(super) fn opened<'a>(
    path: &Path,
    bytes: &'a Cell<u64>,
    progress: &'a dyn Progress,
) -> Result<Box<dyn Read + 'a>> {
    let counted = Counted { inner: File::open(path)?, bytes, progress };
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("zst") => Ok(Box::new(zstd::Decoder::new(counted)?)),
        Some("csv") => Ok(Box::new(counted)),
        _ => bail!("the file's name must end with .csv or .csv.zst"),
    }
}

fn add_chunk(patients: &[Patient], table: &mut Table) {
    let (front, back) = patients.split_at(patients.len().div_ceil(2));
    let features = &table.features;
    let computed: Vec<Rows> = std::thread::scope(|scope| {
        let other =
            scope.spawn(|| back.iter().map(|patient| Rows::of(patient, features)).collect::<Vec<_>>());
        let mut all: Vec<_> = front.iter().map(|patient| Rows::of(patient, features)).collect();
        match other.join() {
            Ok(back) => all.extend(back),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        all
    });
    for (patient, rows) in patients.iter().zip(computed) {
        table.add(patient, rows);
    }
}

/// Tells how much of the file has been read.
struct Counted<'a> {
    inner: File,
    bytes: &'a Cell<u64>,
    progress: &'a dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.bytes.set(self.bytes.get() + n as u64);
        self.progress.at(self.bytes.get(), "");
        Ok(n)
    }
}
