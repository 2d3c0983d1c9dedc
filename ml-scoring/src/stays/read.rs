//! The long file as stays: one line a value, the lines of a stay together.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::lines::{Lines, fields, number, record_id};
use super::parameter::{Fixed, Held, OTHERS, PARAMETERS, place};
use super::{HOURS, IcuType, Stay};
use crate::dataset::{DatasetError, Patient, Row};

pub(super) const HEADER: &str = "set,RecordID,Time,Parameter,Value";

/// A value that is missing although a line has it.
const MISSING: f64 = -1.0;

/// Stay after stay; the header has been read. Ends after the first error.
pub(super) struct Stays<R> {
    lines: Lines<R>,
    /// The first line of the next stay.
    next: Option<Record>,
    ended: bool,
}

impl<R: BufRead> Stays<R> {
    pub fn new(lines: Lines<R>) -> Stays<R> {
        Stays { lines, next: None, ended: false }
    }

    fn read_stay(&mut self) -> Result<Option<Stay>, DatasetError> {
        let mut current = self.next.take();
        while let Some((number, text)) = self.lines.next()? {
            let line = Line::parse(text, number)?;
            if let Some(record) = current.as_mut().filter(|record| record.id == line.record) {
                record.take(&line)?;
                continue;
            }
            let mut record = Record::new(line.record, number);
            record.take(&line)?;
            if let Some(whole) = current.replace(record) {
                self.next = current;
                return Ok(Some(whole.finish()));
            }
        }
        Ok(current.map(Record::finish))
    }
}

impl<R: BufRead> Iterator for Stays<R> {
    type Item = Result<Stay, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let stay = self.read_stay().transpose();
        self.ended = !matches!(stay, Some(Ok(_)));
        stay
    }
}

/// One line, its parts read but not yet judged.
struct Line<'a> {
    number: usize,
    record: u32,
    /// Since ICU admission.
    minute: u32,
    parameter: &'a str,
    value: f64,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str, number: usize) -> Result<Line<'a>, DatasetError> {
        let [_, record, time, parameter, value] = fields(text, number)?;
        let what = "not a time hh:mm from 00:00 to 48:00";
        let minute = minute(time).ok_or(DatasetError::Row { line: number, column: "Time", what })?;
        let (record, value) = (record_id(record, number)?, self::number(value, number, "Value")?);
        Ok(Line { number, record, minute, parameter, value })
    }
}

fn minute(time: &str) -> Option<u32> {
    let (hours, minutes) = time.split_once(':')?;
    let two_digits = |part: &str| match part.as_bytes() {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(u32::from(a - b'0') * 10 + u32::from(b - b'0')),
        _ => None,
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= HOURS as u32 * 60).then_some(minute)
}

/// A stay as far as its lines have been read. Missing is NaN.
struct Record {
    id: u32,
    first_line: usize,
    fixed: [f64; Fixed::ALL.len()],
    /// By parameter and hour.
    hours: Vec<[Value; HOURS]>,
    set_aside: BTreeMap<&'static str, u64>,
}

/// An hour's value and the minute in which it was the last one.
#[derive(Clone, Copy)]
struct Value {
    minute: u32,
    value: f64,
}

impl Record {
    fn new(id: u32, first_line: usize) -> Record {
        let nothing = [Value { minute: 0, value: f64::NAN }; HOURS];
        Record {
            id,
            first_line,
            fixed: [f64::NAN; Fixed::ALL.len()],
            hours: vec![nothing; PARAMETERS.len()],
            set_aside: BTreeMap::new(),
        }
    }

    fn take(&mut self, line: &Line) -> Result<(), DatasetError> {
        if line.parameter == "RecordID" {
            let same = line.value == f64::from(self.id);
            let what = "differs from the line's RecordID";
            return if same { Ok(()) } else { Err(wrong(line, "Value", what)) };
        }
        if let Some(fixed) = Fixed::named(line.parameter) {
            self.take_fixed(fixed, line.value);
            return Ok(());
        }
        let Some(at) = place(line.parameter) else {
            return Err(wrong(line, "Parameter", "not one of the 2012 set's"));
        };
        self.take_value(at, line);
        Ok(())
    }

    fn take_fixed(&mut self, fixed: Fixed, value: f64) {
        let place = fixed as usize;
        match value {
            MISSING => {}
            value if fixed.plausible(value) => self.fixed[place] = value,
            _ => *self.set_aside.entry(Fixed::ALL[place].0).or_default() += 1,
        }
    }

    fn take_value(&mut self, at: usize, line: &Line) {
        let (name, held) = PARAMETERS[at];
        if name == "Weight" && line.value == MISSING {
            return;
        }
        if !held.plausible(line.value) {
            *self.set_aside.entry(name).or_default() += 1;
            return;
        }
        // What is dated 48:00 comes after the last hour has closed.
        let Some(hour) = self.hours[at].get_mut(line.minute as usize / 60) else { return };
        let empty = hour.value.is_nan();
        if held.adds_up() && !empty {
            hour.value += line.value;
        } else if empty || line.minute >= hour.minute {
            *hour = Value { minute: line.minute, value: line.value };
        }
    }

    fn finish(self) -> Stay {
        let [age, gender, height_cm, icu_type] = self.fixed;
        let row = |hour: usize| Row {
            values: Row::EMPTY,
            iculos: hour as u32 + 1,
            label: false,
            line: self.first_line,
        };
        let mut rows: Vec<Row> = (0..HOURS).map(row).collect();
        let mut others = [[f64::NAN; HOURS]; OTHERS.len()];
        for ((_, held), values) in PARAMETERS.iter().zip(&self.hours) {
            for (hour, Value { value, .. }) in values.iter().enumerate().filter(|(_, v)| !v.value.is_nan()) {
                match held {
                    Held::Column(column) => rows[hour].values[*column as usize] = *value,
                    Held::Other(other) => others[*other as usize][hour] = *value,
                }
            }
        }
        let icu_type = IcuType::numbered(icu_type);
        let flag = |of| f64::from(u8::from(icu_type == Some(of)));
        let patient = Patient {
            pid: self.id.to_string(),
            age,
            gender,
            unit1: flag(IcuType::Medical),
            unit2: flag(IcuType::Surgical),
            // Not in the set.
            hosp_adm_time: f64::NAN,
            rows,
        };
        Stay { patient, height_cm, icu_type, outcome: None, set_aside: self.set_aside, others }
    }
}

fn wrong(line: &Line, column: &'static str, what: &'static str) -> DatasetError {
    DatasetError::Row { line: line.number, column, what }
}
