//! A feed's code table: local codes and units to LOINC and UCUM.
//!
//! CSV with the header `local_code,local_system,loinc,ucum,local_unit,factor,display`; columns in any
//! order, all but `local_code` and `loinc` may be left out or empty, `#` starts a comment line.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use crate::units;

const COLUMNS: [&str; 7] = ["local_code", "local_system", "loinc", "ucum", "local_unit", "factor", "display"];
/// More rows than any hospital has codes: a wrong file is refused instead of filling the memory.
const ROWS_MAX: usize = 1_000_000;

/// What a local code stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    pub loinc: String,
    /// The unit to bring values to; empty keeps the unit sent.
    pub ucum: String,
    pub display: String,
    /// The unit the sender means, as written; empty takes the one in the message.
    pub local_unit: String,
    /// `value in ucum = value sent × factor`; overrides the conversion by unit.
    pub factor: Option<f64>,
}

impl Mapped {
    /// Brings a value in `sent_unit` (as written; may be empty) to the table's unit. `None`: the units
    /// do not fit each other, so the value must keep the unit it came with.
    pub fn convert(&self, number: f64, sent_unit: &str) -> Option<(f64, SmolStr)> {
        let sent = units::normalise(sent_unit);
        let local = units::normalise(&self.local_unit);
        let sent_is_local = sent.is_empty() || local.is_empty() || sent == local;
        if let (Some(factor), true) = (self.factor, sent_is_local) {
            let unit = if self.ucum.is_empty() { sent.into() } else { self.ucum.as_str().into() };
            return Some((number * factor, unit));
        }
        let from = if sent.is_empty() { local } else { sent };
        if self.ucum.is_empty() || from == self.ucum {
            return Some((number, from.into()));
        }
        if from.is_empty() {
            return Some((number, self.ucum.as_str().into()));
        }
        let value = units::convert(number, &from, &self.ucum, &self.loinc)?;
        Some((value, self.ucum.as_str().into()))
    }
}

/// A fault of the table's text; `line` counts from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct CodeTableError {
    pub line: u64,
    pub text: String,
}

/// Local code → LOINC and UCUM, with the hash that ledger entries name.
#[derive(Clone, Debug)]
pub struct CodeTable {
    by_code: HashMap<(String, String), Mapped>,
    hash: [u8; 32],
}

impl Default for CodeTable {
    fn default() -> Self {
        Self::empty()
    }
}

impl CodeTable {
    /// Knows no code. Its hash is that of the empty text.
    pub fn empty() -> Self {
        Self { by_code: HashMap::new(), hash: Sha256::digest(b"").into() }
    }

    /// Reads the CSV text. Returns every fault found, each with its line.
    pub fn parse(csv: &str) -> Result<Self, Vec<CodeTableError>> {
        let text = csv.strip_prefix('\u{feff}').unwrap_or(csv);
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
        let columns = reader.headers().map_err(|e| vec![csv_error(text, &e)]).and_then(columns)?;
        let mut table = Self { by_code: HashMap::new(), hash: Sha256::digest(csv.as_bytes()).into() };
        let mut lines: HashMap<(String, String), u64> = HashMap::new();
        let mut errors = Vec::new();
        for row in reader.records() {
            let row = match row {
                Ok(row) => row,
                Err(e) => {
                    errors.push(csv_error(text, &e));
                    continue;
                }
            };
            let line = line_at(text, row.position());
            if lines.len() >= ROWS_MAX {
                errors.push(error(line, format!("more than {ROWS_MAX} rows; is this the right file?")));
                break;
            }
            match read_row(&row, &columns) {
                Err(text) => errors.push(error(line, text)),
                Ok((key, mapped)) => match lines.insert(key.clone(), line) {
                    Some(first) => errors.push(error(
                        line,
                        format!("code and system stand already on line {first}; keep one"),
                    )),
                    None => {
                        table.by_code.insert(key, mapped);
                    }
                },
            }
        }
        if errors.is_empty() { Ok(table) } else { Err(errors) }
    }

    /// SHA-256 of the CSV text as it was read: `sha256sum codes.csv` prints the same.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    pub fn len(&self) -> usize {
        self.by_code.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_code.is_empty()
    }

    /// Looks up a code in its system (OBX-3.3 or FHIR `system`), then as a row without a system.
    pub fn map(&self, local_code: &str, system: &str) -> Option<&Mapped> {
        if self.by_code.is_empty() {
            return None;
        }
        let key = (local_code.to_owned(), system.to_owned());
        self.by_code.get(&key).or_else(|| self.by_code.get(&(key.0, String::new())))
    }
}

/// For each of `COLUMNS`, where it stands in a row.
type Columns = [Option<usize>; COLUMNS.len()];

fn columns(header: &csv::StringRecord) -> Result<Columns, Vec<CodeTableError>> {
    let mut found: Columns = [None; COLUMNS.len()];
    let mut errors = Vec::new();
    for (position, name) in header.iter().enumerate() {
        match COLUMNS.iter().position(|c| *c == name) {
            None => errors.push(error(
                1,
                format!("unknown column in field {}; known are {}", position + 1, COLUMNS.join(",")),
            )),
            Some(column) if found[column].is_some() => {
                errors.push(error(1, format!("column {name} stands twice")));
            }
            Some(column) => found[column] = Some(position),
        }
    }
    for needed in ["local_code", "loinc"] {
        if !header.iter().any(|name| name == needed) {
            errors.push(error(1, format!("column {needed} is missing in the header")));
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

fn read_row(row: &csv::StringRecord, columns: &Columns) -> Result<((String, String), Mapped), String> {
    let [code, system, loinc, ucum, local_unit, factor, display] =
        columns.map(|at| at.and_then(|at| row.get(at)).unwrap_or_default().to_owned());
    if code.is_empty() {
        return Err("local_code is empty".into());
    }
    if !is_loinc(&loinc) {
        return Err("loinc is no LOINC code (digits, a dash, the right check digit)".into());
    }
    let factor = match factor.as_str() {
        "" => None,
        text => match text.parse::<f64>() {
            Ok(f) if f.is_finite() && f != 0.0 => Some(f),
            _ => return Err("factor is no finite number other than 0".into()),
        },
    };
    if factor.is_none() && !ucum.is_empty() && !local_unit.is_empty() {
        let from = units::normalise(&local_unit);
        if from != ucum && units::convert(1.0, &from, &ucum, &loinc).is_none() {
            return Err("no conversion known from local_unit to ucum; give a factor".into());
        }
    }
    Ok(((code, system), Mapped { loinc, ucum, display, local_unit, factor }))
}

/// LOINC's own form: up to 7 digits, a dash and a mod-10 (Luhn) check digit.
pub(crate) fn is_loinc(code: &str) -> bool {
    let Some((number, check)) = code.split_once('-') else { return false };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(number) || number.len() > 7 || check.len() != 1 || !digits(check) {
        return false;
    }
    let sum: u32 = (number.bytes().rev().enumerate())
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    (10 - sum % 10) % 10 == check.bytes().map(|b| u32::from(b - b'0')).sum::<u32>()
}

fn error(line: u64, text: impl Into<String>) -> CodeTableError {
    CodeTableError { line, text: text.into() }
}

/// The reader's position of a record lies before the blank and comment lines that precede it.
fn line_at(text: &str, position: Option<&csv::Position>) -> u64 {
    let Some(position) = position else { return 1 };
    let start = usize::try_from(position.byte()).ok().and_then(|at| text.get(at..)).unwrap_or_default();
    let skipped = start.lines().take_while(|line| line.trim().is_empty() || line.starts_with('#')).count();
    position.line() + skipped as u64
}

fn csv_error(text: &str, e: &csv::Error) -> CodeTableError {
    let line = line_at(text, e.position());
    let text = match e.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields where the header has {expected_len}")
        }
        _ => "not readable as CSV".to_owned(),
    };
    error(line, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "local_code,local_system,loinc,ucum,local_unit,factor,display
# vital signs
HR,LOCAL,8867-4,/min,bpm,,Heart rate
TEMPF,,8310-5,Cel,degF,,Body temperature
CREA,LAB,2160-0,mg/dL,umol/L,,Creatinine
FIO2,,3150-0,%,,100,FiO2 as a fraction
";

    #[test]
    fn codes_map_by_system_first_then_without_one() {
        let table = CodeTable::parse(TABLE).unwrap();
        assert_eq!(table.len(), 4);
        assert_eq!(table.map("HR", "LOCAL").unwrap().loinc, "8867-4");
        assert_eq!(table.map("HR", "99OTHER"), None);
        assert_eq!(table.map("TEMPF", "anything").unwrap().loinc, "8310-5");
        assert_eq!(table.hash(), <[u8; 32]>::from(Sha256::digest(TABLE.as_bytes())));
        assert_ne!(table.hash(), CodeTable::empty().hash());
    }

    #[test]
    fn values_come_to_the_tables_unit() {
        let table = CodeTable::parse(TABLE).unwrap();
        let convert = |code, value, unit| table.map(code, "LAB").unwrap().convert(value, unit);
        let (celsius, unit) = convert("TEMPF", 98.6, "").unwrap();
        assert!((celsius - 37.0).abs() < 1e-9 && unit == "Cel");
        assert_eq!(convert("TEMPF", 37.0, "°C"), Some((37.0, "Cel".into())));
        assert_eq!(convert("FIO2", 0.5, ""), Some((50.0, "%".into())));
        let (creatinine, _) = convert("CREA", 88.4, "umol/L").unwrap();
        assert!((creatinine - 1.0).abs() < 1e-3);
        assert_eq!(convert("CREA", 1.0, "mm[Hg]"), None, "pressure is no concentration");
    }

    #[test]
    fn faults_name_their_line() {
        let bad = "local_code,loinc,ucum,local_unit,factor\nA,8867-4,/min,,x\n\nB,8867-5,,,\nC,8867-4,/min,kg,\nD,8867-4\nE,8867-4,,,\nE,8867-4,,,\n";
        let lines: Vec<u64> = CodeTable::parse(bad).unwrap_err().iter().map(|e| e.line).collect();
        assert_eq!(lines, [2, 4, 5, 6, 8]);
        assert_eq!(CodeTable::parse("loinc,colour\n").unwrap_err().len(), 2);
        assert_eq!(CodeTable::parse("local_code,local_code,loinc\n").unwrap_err()[0].line, 1);
    }

    #[test]
    fn loinc_check_digits() {
        for good in ["8867-4", "2160-0", "85354-9", "777-3", "59408-5", "1963-8"] {
            assert!(is_loinc(good), "{good}");
        }
        for bad in ["8867-5", "8867", "LP123-4", "-4", "8867-", "12345678-1", "8867-44"] {
            assert!(!is_loinc(bad), "{bad}");
        }
    }
}
