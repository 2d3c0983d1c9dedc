//! Who the message is about: PID and MRG.

use std::borrow::Cow;
use std::collections::HashSet;

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
    ids(context, segment, field).into_iter().next()
}

/// What CX.5 may say of an id of a patient (table 0203): an account's or a visit's number may equal another patient's.
const OF_PATIENTS: [&[u8]; 7] = [b"", b"MR", b"MRT", b"PI", b"PT", b"PE", b"LR"];

/// An id of the field, and what speaks for it.
struct Candidate {
    /// MR, of the feed's own authority, of any: what [`id`] prefers.
    rank: (bool, bool, bool),
    is_of_patient: bool,
    id: PatientId,
}

impl Candidate {
    fn read(cx: Part<'_>, own: &str) -> Option<Candidate> {
        let id = cx.component(1).filter(Part::has_value)?.trimmed();
        let authority = cx.component(4).map(authority).unwrap_or_default();
        let kind = cx.component(5).map_or(&[][..], |kind| kind.raw());
        let (is_own, is_named) = (!authority.is_empty() && *authority == *own, !authority.is_empty());
        let id = PatientId { authority: authority.into(), id: id.into() };
        let is_of_patient = OF_PATIENTS.contains(&kind);
        (!id.id.is_empty()).then_some(Candidate {
            rank: (kind == b"MR", is_own, is_named),
            is_of_patient,
            id,
        })
    }
}

/// All ids of the field that are a patient's, that of [`id`] first; none, with an Error issue, where [`id`] has none.
pub(super) fn ids<'m>(context: &mut Context<'m>, segment: Segment<'m>, field: usize) -> Vec<PatientId> {
    let default = SmolStr::new(&context.feed.authority);
    let repetitions = segment.field(field).into_iter().flat_map(|f| f.repetitions());
    let mut found: Vec<_> = repetitions.filter_map(|cx| Candidate::read(cx, &default)).collect();
    // Stable: of equals the first one is wanted.
    found.sort_by_key(|candidate| std::cmp::Reverse(candidate.rank));
    let mut is_first = true;
    found.retain(|candidate| std::mem::take(&mut is_first) || candidate.is_of_patient);
    match found.first() {
        None => {
            let text = "no patient id; send one, or hold the message for a person";
            context.tell_at(Severity::Error, "patient-id-missing", segment, field, text);
            return Vec::new();
        }
        Some(best) if best.id.authority.is_empty() && default.is_empty() => {
            let text =
                "the patient id names no assigning authority (CX.4); name one, or set the feed's authority";
            context.tell_below(Severity::Error, "authority-missing", segment, (field, ".4"), text);
            return Vec::new();
        }
        Some(_) => {}
    }
    let named = found.into_iter().map(|Candidate { id, .. }| match id.authority.is_empty() {
        true => PatientId { authority: default.clone(), ..id },
        false => id,
    });
    named.filter(|patient| !patient.authority.is_empty()).collect()
}

/// The ids that go on as the patient's whose ids are `surviving`: MRG-1's, and before them the further ids of PID-3 that
/// are of MRG-1's authorities. A sender that knows the patient by the surviving id of that authority alone means the same
/// one.
pub(super) fn merging<'m>(
    context: &mut Context<'m>,
    mrg: Segment<'m>,
    surviving: &[PatientId],
) -> Vec<PatientId> {
    let prior = ids(context, mrg, 1);
    let is_passed_over = |prior: Candidate| prior.is_of_patient && prior.id.authority.is_empty();
    let mut all = mrg.field(1).into_iter().flat_map(|f| f.repetitions());
    if !prior.is_empty()
        && context.feed.authority.is_empty()
        && all.any(|cx| Candidate::read(cx, "").is_some_and(is_passed_over))
    {
        let text = "a prior id beside others names no assigning authority (CX.4) and was not merged; name one, or set \
                    the feed's authority";
        context.tell_below(Severity::Warning, "authority-missing", mrg, (1, ".4"), text);
    }
    let authorities: HashSet<&SmolStr> = prior.iter().map(|id| &id.authority).collect();
    let beside = surviving.iter().skip(1).filter(|id| authorities.contains(&id.authority));
    beside.cloned().chain(prior.iter().cloned()).collect()
}

/// Who a message is about that is about one patient; `None`, with an Error issue, where it names nobody or several. To
/// give what follows a further PID to the one or the other would be a guess.
pub(super) fn only<'m>(context: &mut Context<'m>) -> Option<(Segment<'m>, PatientId)> {
    let message = context.message;
    let mut pids = message.all("PID");
    let Some(first) = pids.next() else {
        context.tell(Severity::Error, "patient-id-missing", "PID", "no PID segment; send the patient's id");
        return None;
    };
    let known = ids(context, first, 3);
    for further in pids {
        if !ids(context, further, 3).iter().any(|id| known.contains(id)) {
            let text =
                "names another patient than the PID before it, in a message about one; send one for each";
            context.tell_at(Severity::Error, "patients-several", further, 3, text);
            return None;
        }
    }
    let patient = known.into_iter().next()?;
    Some((first, patient))
}

/// Results that stand in a message of another kind.
pub(super) fn tell_of_observations(context: &mut Context<'_>) {
    if context.message.first("OBX").is_some() {
        let text =
            "kept as sent and mapped to FHIR; values are read for scores from results (ORU, OUL) alone";
        context.tell(Severity::Information, "observations-not-read", "OBX", text);
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
