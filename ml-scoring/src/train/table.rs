//! The data set as rows of features with what training needs beside them.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{Progress, gain};
use crate::DataFile;
use crate::dataset::{self, INTERNAL_TEST, Patient};
use crate::eval::{Cohort, Person};
use crate::features::N;

/// Patients whose features are computed side by side.
const CHUNK: usize = 256;

pub(super) struct Data {
    /// Buckets before the internal test.
    pub develop: Table,
    /// The internal test: judged once, at the end.
    pub test: Vec<Patient>,
    pub files: Vec<DataFile>,
}

#[derive(Default)]
pub(super) struct Table {
    /// Row after row, [`N`] values each.
    pub values: Vec<f32>,
    pub cohort: Cohort,
    /// See [`gain`].
    pub gains: Vec<f64>,
    /// Whether a model may speak of the row: [`Features::sufficient`].
    pub sufficient: Vec<bool>,
}

impl Table {
    /// For each row the fold of its patient.
    pub fn row_folds(&self, folds: u32) -> Vec<u32> {
        let fold =
            |person: &Person| std::iter::repeat_n(dataset::fold(&person.pid, folds), person.rows.len());
        self.cohort.people.iter().flat_map(fold).collect()
    }

    /// Of the rows that may alarm at all, as the scorer will have it.
    pub fn may_alarm<T: Copy>(&self, of_rows: &[T]) -> Vec<T> {
        of_rows.iter().zip(&self.sufficient).filter(|(_, may)| **may).map(|(row, _)| *row).collect()
    }

    fn add(&mut self, patient: &Patient, rows: Rows) {
        let first_label = patient.first_label();
        self.gains.extend((0..patient.rows.len()).map(|row| gain(first_label, row)));
        self.values.extend_from_slice(&rows.values);
        self.sufficient.extend_from_slice(&rows.sufficient);
        self.cohort.push(patient);
    }
}

/// One patient's.
struct Rows {
    values: Vec<f32>,
    sufficient: Vec<bool>,
}

impl Rows {
    fn of(patient: &Patient) -> Rows {
        let hours = patient.rows.len();
        let mut rows = Rows { values: Vec::with_capacity(hours * N), sufficient: Vec::with_capacity(hours) };
        patient.for_each_hour(|_, _, features| {
            rows.values.extend_from_slice(&features.values);
            rows.sufficient.push(features.sufficient());
        });
        rows
    }
}

pub(super) fn read(paths: &[PathBuf], progress: &dyn Progress) -> Result<Data> {
    let mut data = Data { develop: Table::default(), test: Vec::new(), files: Vec::new() };
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        data.files.push(DataFile { name, sha256: sha256(path)? });
        read_file(path, &mut data, progress).with_context(|| format!("{}", path.display()))?;
    }
    Ok(data)
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut digest = Sha256::new();
    std::io::copy(&mut file, &mut digest).with_context(|| format!("reading {}", path.display()))?;
    Ok(hex::encode(digest.finalize()))
}

fn read_file(path: &Path, data: &mut Data, progress: &dyn Progress) -> Result<()> {
    let file = File::open(path)?;
    progress.stage(
        &format!("reading {}", data.files.last().map_or("", |file| &file.name)),
        file.metadata()?.len(),
    );
    let counted = Counted { inner: file, bytes: 0, progress };
    let reader: Box<dyn Read + '_> = match path.extension().and_then(|ending| ending.to_str()) {
        Some("zst") => Box::new(zstd::Decoder::new(counted)?),
        Some("csv") => Box::new(counted),
        _ => bail!("the file's name must end with .csv or .csv.zst"),
    };
    let mut chunk = Vec::with_capacity(CHUNK);
    for patient in dataset::read(BufReader::with_capacity(1 << 20, reader)) {
        let patient = patient?;
        match dataset::bucket(&patient.pid) {
            bucket if INTERNAL_TEST.contains(&bucket) => data.test.push(patient),
            bucket if bucket < INTERNAL_TEST.start => chunk.push(patient),
            // Patients from 80 on are set aside for others to judge by, wherever they turn up.
            _ => {}
        }
        if chunk.len() == CHUNK {
            add_chunk(&chunk, &mut data.develop);
            chunk.clear();
        }
    }
    add_chunk(&chunk, &mut data.develop);
    Ok(())
}

fn add_chunk(patients: &[Patient], table: &mut Table) {
    let (front, back) = patients.split_at(patients.len().div_ceil(2));
    let computed: Vec<Rows> = std::thread::scope(|scope| {
        let other = scope.spawn(|| back.iter().map(Rows::of).collect::<Vec<_>>());
        let mut all: Vec<_> = front.iter().map(Rows::of).collect();
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
    bytes: u64,
    progress: &'a dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.bytes += n as u64;
        self.progress.at(self.bytes, "");
        Ok(n)
    }
}
