//! The data set as rows of features with what training needs beside them.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{Progress, gain};
use crate::DataFile;
use crate::dataset::{self, INTERNAL_TEST, Patient};
use crate::eval::Person;
use crate::features::N;

/// Patients whose features are computed side by side.
const CHUNK: usize = 256;

pub(super) struct Data {
    /// Buckets before the internal test.
    pub develop: Table,
    /// The internal test: judged once, at the end.
    pub test: Table,
    pub files: Vec<DataFile>,
}

#[derive(Default)]
pub(super) struct Table {
    /// Row after row, [`N`] values each.
    pub values: Vec<f32>,
    pub people: Vec<Person>,
    pub labels: Vec<bool>,
    /// See [`gain`].
    pub gains: Vec<f64>,
    pub iculos: Vec<u32>,
}

impl Table {
    /// For each row the fold of its patient.
    pub fn row_folds(&self, folds: u32) -> Vec<u32> {
        let fold =
            |person: &Person| std::iter::repeat_n(dataset::fold(&person.pid, folds), person.rows.len());
        self.people.iter().flat_map(fold).collect()
    }

    fn add(&mut self, patient: &Patient, values: &[f32]) {
        let first = self.labels.len();
        let first_label = patient.first_label();
        for (i, row) in patient.rows.iter().enumerate() {
            self.labels.push(row.label);
            self.iculos.push(row.iculos);
            self.gains.push(gain(first_label, i));
        }
        self.values.extend_from_slice(values);
        self.people.push(Person {
            pid: patient.pid.clone(),
            hospital: dataset::hospital(&patient.pid),
            age: patient.age,
            sex: match patient.gender {
                1.0 => "male",
                0.0 => "female",
                _ => "unknown",
            },
            unit: match (patient.unit1 == 1.0, patient.unit2 == 1.0) {
                (true, _) => "medical",
                (_, true) => "surgical",
                _ => "unknown",
            },
            rows: first..self.labels.len(),
            first_label,
        });
    }
}

pub(super) fn read(paths: &[PathBuf], progress: &dyn Progress) -> Result<Data> {
    let mut data = Data { develop: Table::default(), test: Table::default(), files: Vec::new() };
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
        // Patients from 80 on are set aside for others to judge by, wherever they turn up.
        if dataset::bucket(&patient.pid) < INTERNAL_TEST.end {
            chunk.push(patient);
        }
        if chunk.len() == CHUNK {
            add_chunk(&chunk, data);
            chunk.clear();
        }
    }
    add_chunk(&chunk, data);
    Ok(())
}

fn add_chunk(patients: &[Patient], data: &mut Data) {
    let half = patients.len().div_ceil(2);
    let features = |patient: &Patient| -> Vec<f32> {
        let mut values = Vec::with_capacity(patient.rows.len() * N);
        patient.for_each_hour(|_, _, features| values.extend_from_slice(&features.values));
        values
    };
    let computed: Vec<Vec<f32>> = std::thread::scope(|scope| {
        let (front, back) = patients.split_at(half);
        let other = scope.spawn(move || back.iter().map(features).collect::<Vec<_>>());
        let mut all: Vec<_> = front.iter().map(features).collect();
        match other.join() {
            Ok(back) => all.extend(back),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        all
    });
    for (patient, values) in patients.iter().zip(&computed) {
        let judged = INTERNAL_TEST.contains(&dataset::bucket(&patient.pid));
        let table = if judged { &mut data.test } else { &mut data.develop };
        table.add(patient, values);
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
