//! OBX-5 after its type in OBX-2 (HL7 table 0125).

use std::borrow::Cow;

use smol_str::SmolStr;

use super::coded::{self, Coded};
use super::context::Context;
use crate::hl7::dtm::{Dtm, iso_time};
use crate::hl7::{Part, Segment};
use crate::text::trimmed;
use crate::{Code, Comparator, Mapped, Severity, Value, units};

/// The value of an OBX. `Ok(None)`: OBX-5 is empty, or of a type that is not read, which is told.
pub(super) fn read<'m>(context: &mut Context<'m>, obx: Segment<'m>, what: &Coded<'_>) -> Option<Value> {
    let field = obx.field(5).filter(|f| !f.is_empty())?;
    if field.is_null() {
        return Some(Value::Absent);
    }
    let kind = obx.text(2, 1);
    let unit = &*unit(obx);
    match trimmed(&kind) {
        "NM" => Some(numeric(context, obx, field, what, unit)),
        "SN" => Some(structured(context, obx, field, what, unit)),
        "CWE" | "CE" | "CNE" | "CF" => Some(coded(context, obx, field)),
        "DT" | "DTM" | "TS" => Some(date(context, obx, field)),
        "TM" => {
            let text = field.text();
            Some(Value::Text(iso_time(&text).unwrap_or_else(|| text.into_owned())))
        }
        // Documents and references to such: bytes for people, kept in the message.
        "ED" | "RP" => {
            let text = "documents are kept in the message and make no event";
            context.tell_at(Severity::Information, "value-type-not-read", obx, 5, text);
            None
        }
        "" => {
            let text = "OBX-2 names no type; the value was read as text";
            context.tell_at(Severity::Warning, "value-type-missing", obx, 2, text);
            Some(text_or_number(context, obx, field, what, unit))
        }
        _ => Some(text_or_number(context, obx, field, what, unit)),
    }
}

/// OBX-6 as written: its identifier, else its text.
fn unit(obx: Segment<'_>) -> Cow<'_, str> {
    let Some(field) = obx.field(6) else { return Cow::Borrowed("") };
    let part = |n| field.component(n).map(|part| part.trimmed()).unwrap_or_default();
    let id = part(1);
    let unit = if id.is_empty() { part(2) } else { id };
    if unit == "\"\"" { Cow::Borrowed("") } else { unit }
}

fn numeric<'m>(
    context: &mut Context<'m>,
    obx: Segment<'m>,
    field: Part<'m>,
    what: &Coded<'_>,
    unit: &str,
) -> Value {
    let text = whole_text(field);
    match Number::read(&text) {
        Some(number) => quantity(context, obx, number, what.mapped, unit),
        None => {
            let told = "NM holds no number; the value was taken as text";
            context.tell_at(Severity::Warning, "number-invalid", obx, 5, told);
            Value::Text(text.into_owned())
        }
    }
}

/// SN (v2.9 ch. 2A §2.A.72): comparator, number, separator, number. Ratios and ranges stay text.
fn structured<'m>(
    context: &mut Context<'m>,
    obx: Segment<'m>,
    sn: Part<'m>,
    what: &Coded<'_>,
    unit: &str,
) -> Value {
    let part = |n| sn.component(n).map(|p| p.text().trim().to_owned()).unwrap_or_default();
    let (comparator, first, separator, second) = (part(1), part(2), part(3), part(4));
    // Some senders write a plain number into SN.1.
    let whole = if first.is_empty() && second.is_empty() {
        comparator.clone()
    } else {
        format!("{comparator}{first}")
    };
    match Number::read(&whole) {
        Some(number) if separator.is_empty() && second.is_empty() => {
            quantity(context, obx, number, what.mapped, unit)
        }
        _ => Value::Text(format!("{comparator}{first}{separator}{second}")),
    }
}

/// Text that is a number with a unit, or with a comparator, is one: many laboratories send `<0.5` as ST.
fn text_or_number<'m>(
    context: &mut Context<'m>,
    obx: Segment<'m>,
    field: Part<'m>,
    what: &Coded<'_>,
    unit: &str,
) -> Value {
    let text = whole_text(field);
    match Number::read(&text) {
        Some(number) if !unit.is_empty() || number.comparator.is_some() || what.mapped.is_some() => {
            quantity(context, obx, number, what.mapped, unit)
        }
        _ => Value::Text(text.into_owned()),
    }
}

/// Repetitions are lines.
fn whole_text(field: Part<'_>) -> Cow<'_, str> {
    if field.repetitions().nth(1).is_none() {
        return field.trimmed();
    }
    let lines: Vec<_> = field.repetitions().map(|line| line.text()).collect();
    Cow::Owned(lines.join("\n").trim().to_owned())
}

fn coded<'m>(context: &mut Context<'m>, obx: Segment<'m>, field: Part<'m>) -> Value {
    if field.repetitions().nth(1).is_some() {
        let text = "of several coded values the first was read";
        context.tell_at(Severity::Warning, "value-repeats", obx, 5, text);
    }
    let [first, second] = coded::triples(field);
    let code = if first.code.is_empty() && !second.code.is_empty() { second } else { first };
    match code {
        Code { code, display, .. } if code.is_empty() && display.is_empty() => {
            // CWE.9: what was meant where no code fits.
            let original = field.component(9).map(|p| p.text().trim().to_owned()).unwrap_or_default();
            if original.is_empty() { Value::Absent } else { Value::Text(original) }
        }
        Code { code, display, .. } if code.is_empty() => Value::Text(display.into()),
        code => Value::Coded(code),
    }
}

fn date<'m>(context: &mut Context<'m>, obx: Segment<'m>, field: Part<'m>) -> Value {
    let mut lines = Vec::new();
    for line in field.repetitions().map(|line| line.text()) {
        match line.parse::<Dtm>() {
            Ok(dtm) => lines.push(dtm.iso()),
            Err(_) => {
                let told = "no date or time as HL7 writes it; the value was taken as text";
                context.tell_at(Severity::Warning, "time-invalid", obx, 5, told);
                lines.push(line.into_owned());
            }
        }
    }
    Value::Text(lines.join("\n"))
}

fn quantity<'m>(
    context: &mut Context<'m>,
    obx: Segment<'m>,
    number: Number,
    mapped: Option<&Mapped>,
    unit: &str,
) -> Value {
    let Number { number, text, comparator } = number;
    let converted = match mapped {
        Some(mapped) => mapped.convert(number, unit),
        None => Some((number, units::normalise(unit).into())),
    };
    let (number, unit) = converted.unwrap_or_else(|| {
        let told = "the unit sent does not fit the code table's; the value kept its own, correct the table";
        context.tell_at(Severity::Warning, "unit-mismatch", obx, 6, told);
        (number, units::normalise(unit).into())
    });
    Value::Quantity { number, text, unit, comparator }
}

struct Number {
    number: f64,
    /// The digits as sent, without the comparator.
    text: SmolStr,
    comparator: Option<Comparator>,
}

impl Number {
    /// `[comparator][sign]digits[.digits]`, an exponent too; a decimal comma is not guessed at.
    fn read(written: &str) -> Option<Number> {
        const COMPARATORS: [(&str, Option<Comparator>); 9] = [
            ("<=", Some(Comparator::LessOrEqual)),
            (">=", Some(Comparator::GreaterOrEqual)),
            ("=<", Some(Comparator::LessOrEqual)),
            ("=>", Some(Comparator::GreaterOrEqual)),
            ("≤", Some(Comparator::LessOrEqual)),
            ("≥", Some(Comparator::GreaterOrEqual)),
            ("<", Some(Comparator::Less)),
            (">", Some(Comparator::Greater)),
            ("=", None),
        ];
        let written = trimmed(written);
        let plain = written.starts_with(|c: char| c.is_ascii_digit());
        let found = if plain {
            None
        } else {
            COMPARATORS.iter().find_map(|(sign, c)| Some((written.strip_prefix(sign)?, *c)))
        };
        let (text, comparator) = found.unwrap_or((written, None));
        let text = trimmed(text);
        let digits = text.bytes().any(|b| b.is_ascii_digit());
        let known = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
        let number = text.parse::<f64>().ok().filter(|n| digits && known && n.is_finite())?;
        Some(Number { number, text: text.into(), comparator })
    }
}
