//! What the state makes of one observation: the value in its column's unit, or why it is set aside.

use std::ops::RangeInclusive;

use super::{Acvpu, Column};
use crate::{Observation, ObservationStatus, Severity, Value, units};

/// Why a value is known and not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetAside {
    NotANumber,
    UnitNotConvertible,
    /// None was sent, and the number is no usual one in the column's unit, but in another.
    UnitMissing,
    Implausible,
}

/// An observation of a column as the state takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    pub column: Column,
    /// In the column's unit.
    pub value: Result<f32, SetAside>,
    /// None was sent where hospitals use more than one.
    pub unit_missing: bool,
}

/// What somebody should look at, as a reader of messages tells of it: a stable code, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    pub severity: Severity,
    pub code: &'static str,
    /// It is the unit that is wrong, not the value.
    pub about_unit: bool,
    pub text: &'static str,
}

impl Observation {
    /// `None`: it belongs to no column.
    pub fn reading(&self) -> Option<Reading> {
        let column = Column::from_code(&self.code)?;
        let unit = match &self.value {
            Value::Quantity { unit, .. } => Some(unit.as_str()),
            Value::Text(_) | Value::Coded(_) | Value::Absent => None,
        };
        let loinc = self.code.code.as_str();
        let several_units = usual(column).is_some() || NOT_IN_THE_COLUMNS_UNIT.contains(&loinc);
        let unit_missing = unit.is_some_and(str::is_empty) && several_units;
        Some(Reading { column, value: self.in_column(column), unit_missing })
    }

    /// What of its value is not used by the scores, or by guess. `None` too where there is no value, or none any more.
    pub fn doubt(&self) -> Option<Doubt> {
        let taken_back = matches!(self.status, ObservationStatus::Deleted | ObservationStatus::Cancelled);
        if taken_back || self.value == Value::Absent {
            return None;
        }
        let reading = self.reading()?;
        match reading.value {
            Err(why) => Some(why.doubt()),
            Ok(_) if reading.unit_missing => Some(Doubt {
                severity: Severity::Warning,
                code: "unit-missing",
                about_unit: true,
                text: "no unit came with the value, and hospitals use several; it was taken for the usual one of the \
                       code: send the unit, or name it in the code table",
            }),
            Ok(_) => None,
        }
    }

    fn in_column(&self, column: Column) -> Result<f32, SetAside> {
        if column == Column::Consciousness
            && let Some(level) = Acvpu::from_value(&self.value)
        {
            return Ok(level as u8 as f32);
        }
        let Value::Quantity { number, unit, .. } = &self.value else {
            return Err(SetAside::NotANumber);
        };
        if !number.is_finite() {
            return Err(SetAside::NotANumber);
        }
        let value = in_unit(*number, unit, column, &self.code.code)?;
        // A comparator ("< 0.01") leaves the bound as the value: the usual reading of a result at a limit.
        if column.plausible(value) { Ok(value as f32) } else { Err(SetAside::Implausible) }
    }
}

impl SetAside {
    fn doubt(self) -> Doubt {
        let (severity, code, about_unit, text) = match self {
            // Laboratories send remarks in the place of values.
            SetAside::NotANumber => (
                Severity::Information,
                "value-not-numeric",
                false,
                "no number where scores take one (and no word of ACVPU for consciousness); kept as sent, and set aside \
                 by the scores",
            ),
            SetAside::UnitNotConvertible => (
                Severity::Warning,
                "unit-not-convertible",
                true,
                "the unit is not known for this code; the value was set aside: send a UCUM unit, or name the one that \
                 is meant in the code table",
            ),
            SetAside::UnitMissing => (
                Severity::Warning,
                "unit-missing",
                true,
                "no unit came with the value, which is unusual in the code's usual one and usual in another; the value \
                 was set aside: send the unit, or name it in the code table",
            ),
            SetAside::Implausible => (
                Severity::Warning,
                "value-implausible",
                false,
                "no living patient has this value; it was set aside: look at the value, its unit and its code at the \
                 sender",
            ),
        };
        Doubt { severity, code, about_unit, text }
    }

    /// For a person to read.
    pub fn words(self) -> &'static str {
        match self {
            SetAside::NotANumber => "no number",
            SetAside::UnitNotConvertible => "unit not convertible",
            SetAside::UnitMissing => "unit missing",
            SetAside::Implausible => "implausible",
        }
    }
}

fn in_unit(number: f64, unit: &str, column: Column, loinc: &str) -> Result<f64, SetAside> {
    match units::normalise(unit).as_ref() {
        "" => without_unit(number, column, loinc),
        // Numbers without a unit, which some write as one or as a remark (UCUM §12).
        unit if matches!(column.unit(), "[pH]" | "{score}") && is_one(unit) => Ok(number),
        unit => units::convert_between(number, (unit, loinc), (column.unit(), column.loinc()))
            .ok_or(SetAside::UnitNotConvertible),
    }
}

fn is_one(unit: &str) -> bool {
    unit == "1" || (unit.starts_with('{') && unit.ends_with('}'))
}

/// A missing unit is taken for the column's own, unless the number speaks for another.
fn without_unit(number: f64, column: Column, loinc: &str) -> Result<f64, SetAside> {
    if column == Column::FiO2 && number > 1.0 {
        return Ok(number / 100.0);
    }
    if NOT_IN_THE_COLUMNS_UNIT.contains(&loinc) {
        return Err(SetAside::UnitMissing);
    }
    let Some((usual, others)) = usual(column) else { return Ok(number) };
    let is_usual_in = |other: &&str| {
        let value = units::convert(number, other, column.unit(), column.loinc());
        value.is_some_and(|value| usual.contains(&value))
    };
    if !usual.contains(&number) && others.iter().any(is_usual_in) {
        return Err(SetAside::UnitMissing);
    }
    Ok(number)
}

/// Codes that say moles where the column has grams, grams where it has moles, or another substance: without a unit
/// their number is certainly none of the column's.
const NOT_IN_THE_COLUMNS_UNIT: [&str; 22] = [
    "14937-7", "59570-2", "3091-6", "22664-7", "20977-5", "72903-8", "2000-8", "14682-9", "59826-8",
    "77140-2", "14629-0", "29760-6", "14749-6", "15074-8", "14743-9", "14118-4", "59032-3", "2601-3",
    "14879-1", "24519-1", "14631-6", "59260-0",
];

/// Where hospitals use several units: what adults and children in hospital mostly have, in the column's, and the units
/// that are not it. Much narrower than what is plausible: it judges numbers that come without a unit and no others.
fn usual(column: Column) -> Option<(RangeInclusive<f64>, &'static [&'static str])> {
    use Column::*;
    Some(match column {
        Temp => (30.0..=43.0, &["[degF]"]),
        EtCo2 => (10.0..=100.0, &["kPa"]),
        PaCo2 => (15.0..=150.0, &["kPa"]),
        PaO2 => (25.0..=650.0, &["kPa"]),
        Ast | AlkalinePhos => (5.0..=10_000.0, &["ukat/L"]),
        Bun => (2.0..=200.0, &["mmol/L"]),
        Calcium => (5.0..=16.0, &["mmol/L", "meq/L"]),
        Creatinine => (0.1..=20.0, &["umol/L"]),
        BilirubinDirect | BilirubinTotal => (0.0..=12.0, &["umol/L"]),
        Glucose => (30.0..=1000.0, &["mmol/L"]),
        Lactate => (0.2..=30.0, &["mg/dL"]),
        Magnesium => (0.8..=8.0, &["mmol/L"]),
        Phosphate => (1.0..=15.0, &["mmol/L"]),
        TroponinI => (0.0..=50.0, &["ng/L"]),
        Hct => (10.0..=70.0, &["L/L"]),
        Hgb => (3.0..=22.0, &["g/L", "mmol/L"]),
        Wbc => (0.1..=200.0, &["/uL"]),
        Platelets => (1.0..=1500.0, &["/uL"]),
        Fibrinogen => (50.0..=1200.0, &["g/L"]),
        Weight => (0.3..=300.0, &["[lb_av]"]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, CodeSystem};

    fn sent(loinc: &str, number: f64, unit: &str) -> Observation {
        let code = Code { system: CodeSystem::Loinc, code: loinc.into(), display: "".into() };
        let value =
            Value::Quantity { number, text: number.to_string().into(), unit: unit.into(), comparator: None };
        Observation {
            code,
            value,
            status: ObservationStatus::Final,
            source_id: String::new(),
            is_version: false,
            sent_at: None,
        }
    }

    #[track_caller]
    fn check(loinc: &str, number: f64, unit: &str, expected: Result<f32, SetAside>, told: Option<&str>) {
        let observation = sent(loinc, number, unit);
        let value = observation.reading().unwrap().value;
        match (value, expected) {
            (Ok(value), Ok(expected)) => {
                assert!((value - expected).abs() <= expected.abs() * 2e-3, "{value} for {expected}");
            }
            (value, expected) => assert_eq!(value, expected),
        }
        assert_eq!(observation.doubt().map(|doubt| doubt.code), told);
    }

    #[test]
    fn units_bring_values_to_the_column_or_the_value_is_set_aside_and_told() {
        check("22664-7", 10.0, "mmol/L", Ok(28.01), None);
        check("3091-6", 60.06, "mg/dL", Ok(28.01), None);
        check("3091-6", 0.6006, "g/L", Ok(28.01), None);
        check("14937-7", 10.0, "mmol/L", Ok(28.01), None);
        check("3094-0", 28.0, "mg/dL", Ok(28.0), None);
        check("49765-1", 2.4, "mmol/L", Ok(9.62), None);
        check("777-3", 150.0, "G/L", Ok(150.0), None);
        check("718-7", 140.0, "g/L", Ok(14.0), None);
        check("718-7", 8.7, "mmol/L", Ok(14.02), None);
        check("89579-7", 14.0, "ng/L", Ok(0.014), None);
        check("3255-7", 3.0, "g/L", Ok(300.0), None);
        check("2019-8", 5.3, "kPa", Ok(39.75), None);
        check("19891-1", 5.0, "kPa", Ok(37.5), None);
        check("3150-0", 40.0, "%", Ok(0.4), None);
        check("8332-9", 98.6, "[degF]", Ok(37.0), None);
        check("2744-1", 7.4, "1", Ok(7.4), None);
        check("2744-1", 7.4, "{pH}", Ok(7.4), None);
        check("9269-2", 15.0, "{GCS}", Ok(15.0), None);
        check("2160-0", 1.0, "furlong", Err(SetAside::UnitNotConvertible), Some("unit-not-convertible"));
        check("19891-1", 5.0, "%", Err(SetAside::UnitNotConvertible), Some("unit-not-convertible"));
        check("2744-1", 40.0, "nmol/L", Err(SetAside::UnitNotConvertible), Some("unit-not-convertible"));
        check("8867-4", 720.0, "/min", Err(SetAside::Implausible), Some("value-implausible"));
    }

    #[test]
    fn a_missing_unit_is_told_of_and_not_misread() {
        let aside = Err(SetAside::UnitMissing);
        let told = Some("unit-missing");
        check("2345-7", 5.5, "", aside, told);
        check("2160-0", 50.0, "", aside, told);
        check("1975-2", 17.0, "", aside, told);
        check("17861-6", 2.4, "", aside, told);
        check("8310-5", 98.6, "", aside, told);
        check("2019-8", 5.3, "", aside, told);
        check("777-3", 250_000.0, "", aside, told);
        // Moles, and another substance, whatever the number.
        check("14749-6", 100.0, "", aside, told);
        check("22664-7", 20.0, "", aside, told);
        // What it usually is: taken, and told of.
        check("2345-7", 99.0, "", Ok(99.0), told);
        check("2160-0", 1.1, "", Ok(1.1), told);
        // Nobody uses another unit, or a fraction and a percentage cannot be mixed up.
        check("8867-4", 80.0, "", Ok(80.0), None);
        check("8480-6", 120.0, "", Ok(120.0), None);
        check("3150-0", 40.0, "", Ok(0.4), None);
        check("2744-1", 7.4, "", Ok(7.4), None);
        check("8867-4", 720.0, "", Err(SetAside::Implausible), Some("value-implausible"));
    }

    #[test]
    fn what_is_no_value_is_no_doubt() {
        let mut hr = sent("8867-4", 720.0, "/min");
        hr.status = ObservationStatus::Deleted;
        assert_eq!(hr.doubt(), None);
        let absent = Observation { value: Value::Absent, status: ObservationStatus::Final, ..hr.clone() };
        assert_eq!(absent.doubt(), None);
        let text = Observation { value: Value::Text("haemolysed".into()), ..absent.clone() };
        assert_eq!(
            text.doubt().map(|d| (d.severity, d.code)),
            Some((Severity::Information, "value-not-numeric"))
        );
        let elsewhere = Observation { code: Code { code: "99999-9".into(), ..hr.code }, ..text };
        assert_eq!(elsewhere.doubt(), None);
    }

    #[test]
    fn codes_of_another_quantity_are_of_a_column_that_has_several_units() {
        for loinc in NOT_IN_THE_COLUMNS_UNIT {
            let column = sent(loinc, 1.0, "").reading().unwrap().column;
            assert!(usual(column).is_some() && column.loinc() != loinc, "{loinc}");
        }
        for (usual, others, column) in
            super::super::COLUMNS.iter().filter_map(|c| usual(*c).map(|(u, o)| (u, o, *c)))
        {
            assert!(column.plausible(*usual.end()) && column.plausible(*usual.start()), "{column:?}");
            for other in others {
                assert!(
                    units::convert(1.0, other, column.unit(), column.loinc()).is_some(),
                    "{column:?} {other}"
                );
            }
        }
    }
}
