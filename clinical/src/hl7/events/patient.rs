//! Who the message is about: PID and MRG.

use std::borrow::Cow;

use smol_str::SmolStr;

use super::context::Context;
use crate::hl7::dtm::Dtm;
use crate::hl7::{Part, Segment};
use crate::{Deleted, PatientId, Person, Severity, Sex, Time};

/// The patient's id after PID-3 (CX, v2.9 ch. 2A §2.A.14); `None`, with an Error issue, where there is none.
///
/// Of several, a medical record number (CX.5 = MR) goes first, then one of the feed's own authority, then
/// one that names an authority at all, then the first.
pub(super) fn id<'m>(context: &mut Context<'m>, segment: Segment<'m>, field: usize) -> Option<PatientId> {
    let default = SmolStr::new(&context.feed.authority);
    let ids = segment.field(field).into_iter().flat_map(|f| f.repetitions()).filter_map(|cx| {
        let id = cx.component(1).filter(Part::has_value)?.trimmed();
        let authority = cx.component(4).map(authority).unwrap_or_default();
        let record_number = cx.component(5).is_some_and(|kind| kind.raw() == b"MR");
        let rank = (record_number, !authority.is_empty() && *authority == *default, !authority.is_empty());
        (!id.is_empty()).then_some((rank, PatientId { authority: authority.into(), id: id.into() }))
    });
    // `max_by_key` gives the last of equals, and the first one is wanted.
    let best = ids.reduce(|best, next| if next.0 > best.0 { next } else { best });
    match best {
        None => {
            let text = "no patient id; send one, or hold the message for a person";
            context.tell_at(Severity::Error, "patient-id-missing", segment, field, text);
            None
        }
        Some((_, patient)) if patient.authority.is_empty() && default.is_empty() => {
            let text =
                "the patient id names no assigning authority (CX.4); name one, or set the feed's authority";
            context.tell_below(Severity::Error, "authority-missing", segment, (field, ".4"), text);
            None
        }
        Some((_, patient)) if patient.authority.is_empty() => {
            Some(PatientId { authority: default, ..patient })
        }
        Some((_, patient)) => Some(patient),
    }
}

/// HD (v2.9 ch. 2A §2.A.33): its namespace, else its universal id.
fn authority(hd: Part<'_>) -> Cow<'_, str> {
    let part = |n| hd.subcomponent(n).filter(Part::has_value).map(|p| p.trimmed());
    part(1).filter(|s| !s.is_empty()).or_else(|| part(2)).unwrap_or_default()
}

/// PID as far as it says something of the person; `None` where it says nothing.
pub(super) fn person<'m>(context: &mut Context<'m>, pid: Segment<'m>) -> Option<Person> {
    let (died_at, is_undone) = death(context, pid);
    let is_deleted = |field| pid.field(field).is_some_and(|field| field.erases());
    let deleted = Deleted {
        name: is_deleted(5),
        birth_date: is_deleted(7),
        sex: is_deleted(8),
        died_at: is_undone || is_deleted(29),
    };
    let person =
        Person { name: name(pid), birth_date: birth_date(context, pid), sex: sex(pid), died_at, deleted };
    (person != Person::default()).then_some(person)
}

/// PID-29, and whether PID-30 (the death indicator) takes back what was said of a death: `N`, or null without a time.
/// Beside a time, `N` counts: whoever may live is looked after.
fn death<'m>(context: &mut Context<'m>, pid: Segment<'m>) -> (Option<Time>, bool) {
    let died_at = context.time(pid, 29).map(|(at, _)| at);
    let Some(indicator) = pid.field(30) else { return (died_at, false) };
    let says_no = indicator.component(1).is_some_and(|c| c.trimmed().eq_ignore_ascii_case("N"));
    match died_at {
        Some(_) if says_no => {
            let text = "PID-29 holds a time of death and PID-30 says that there was none; the patient is taken to \
                        live, send both alike";
            context.tell_at(Severity::Warning, "death-contradicted", pid, 30, text);
            (None, true)
        }
        Some(_) => (died_at, false),
        None => (None, says_no || indicator.erases()),
    }
}

/// The first name of PID-5 (XPN) as `Family, Given Middle`.
fn name(pid: Segment<'_>) -> Option<String> {
    let xpn = pid.valued(5)?;
    let part = |n| {
        let part = xpn.component(n).and_then(|c| c.subcomponent(1)).filter(Part::has_value);
        part.map(|p| p.text().trim().to_owned()).filter(|s| !s.is_empty())
    };
    let given: Vec<String> = [part(2), part(3)].into_iter().flatten().collect();
    let names: Vec<String> =
        [part(1), Some(given.join(" "))].into_iter().flatten().filter(|s| !s.is_empty()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn birth_date<'m>(context: &mut Context<'m>, pid: Segment<'m>) -> Option<String> {
    let text = pid.valued(7)?.component(1)?.text();
    match text.parse::<Dtm>() {
        Ok(dtm) => Some(dtm.iso_date()),
        Err(_) if text.is_empty() => None,
        Err(_) => {
            let text = "no date as HL7 writes it (YYYYMMDD); the birth date is taken as not known";
            context.tell_at(Severity::Warning, "time-invalid", pid, 7, text);
            None
        }
    }
}

/// HL7 table 0001.
fn sex(pid: Segment<'_>) -> Option<Sex> {
    match pid.valued(8)?.component(1)?.raw() {
        b"F" | b"f" => Some(Sex::Female),
        b"M" | b"m" => Some(Sex::Male),
        b"O" | b"A" | b"N" | b"X" => Some(Sex::Other),
        b"" => None,
        _ => Some(Sex::Unknown),
    }
}

/// PV1-19.1, the visit number.
pub(super) fn visit(pv1: Segment<'_>) -> Option<SmolStr> {
    let number = pv1.valued(19)?.component(1).filter(Part::has_value)?;
    Some(number.trimmed().into()).filter(|n: &SmolStr| !n.is_empty())
}
