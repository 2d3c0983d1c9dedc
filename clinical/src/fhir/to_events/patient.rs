//! Patient to Person, and to merges where it is linked to another.

use super::Mapper;
use super::concept::has_code;
use super::names::{Address, Place};
use crate::fhir::json::Json;
use crate::{Deleted, EventKind, Feed, PatientId, Person, Precision, Sex, Time};

impl Mapper<'_> {
    pub(super) fn patient(&mut self, patient: &Json, given_id: Option<&str>) {
        let Some(id) = identity(patient, self.place, self.feed) else {
            return self.error(
                "patient-id-missing",
                "has no identifier with a value, no id, or no authority: set the feed's",
            );
        };
        let updated = patient.get("meta").and_then(|m| m.str("lastUpdated"));
        let at = self.time(updated).unwrap_or((self.received_at, Precision::Second));
        let person = Person {
            name: patient_name(patient),
            birth_date: patient.str("birthDate").map(str::to_owned),
            sex: patient.str("gender").and_then(sex),
            died_at: self.time(patient.str("deceasedDateTime")).map(|(at, _)| at),
            deleted: Deleted { died_at: is_said_to_live(patient), ..Deleted::default() },
        };
        self.push(&id, None, at, EventKind::Person(person));
        self.names(patient, given_id, &id, at);
        self.links(patient, &id, at);
    }

    /// Whoever refers to the Patient by a logical id, before or after, means the patient of its identifier.
    fn names(&mut self, patient: &Json, given_id: Option<&str>, id: &PatientId, at: (Time, Precision)) {
        let given = given_id.filter(|_| patient.str("id").is_none());
        let given =
            given.and_then(|id| Address { server: None, type_: "Patient", id }.patient(None, self.feed));
        for name in self.place.names(patient, self.feed).into_iter().chain(given) {
            if name != *id {
                self.push(id, None, at, EventKind::Merged { from: name });
            }
        }
    }

    /// `Patient.link`: what A40 says in HL7 v2.
    fn links(&mut self, patient: &Json, id: &PatientId, at: (Time, Precision)) {
        for link in patient.items("link") {
            let Some(other) = link.get("other").and_then(|other| self.patient_of(other, patient)) else {
                continue;
            };
            match link.str("type") {
                Some("replaces") if other != *id => {
                    self.push(id, None, at, EventKind::Merged { from: other })
                }
                Some("replaced-by") if other != *id => {
                    self.push(&other, None, at, EventKind::Merged { from: id.clone() })
                }
                _ => {}
            }
        }
    }
}

/// A death that was told before was none.
fn is_said_to_live(patient: &Json) -> bool {
    matches!(patient.get("deceasedBoolean"), Some(Json::Bool(false)))
}

/// Its identifier, else its logical id.
pub(super) fn identity(patient: &Json, place: Place, feed: &Feed) -> Option<PatientId> {
    let by_name = || place.names(patient, feed).into_iter().next().or_else(|| place.uuid());
    by_identifiers(patient, feed).or_else(by_name)
}

/// The identifier that stands for the patient, ranked as the HL7 v2 reader ranks PID-3: a medical record number
/// (v2-0203 `MR`), then one of the feed's own authority, then one that names an authority, then the first;
/// cards and passports after these.
pub(super) fn by_identifiers(patient: &Json, feed: &Feed) -> Option<PatientId> {
    let usable = patient.items("identifier").iter().filter(|i| {
        i.str("value").is_some_and(|value| !value.trim().is_empty()) && i.str("use") != Some("old")
    });
    let rank = |i: &&Json| {
        let type_ = i.get("type");
        let system = i.str("system").unwrap_or_default();
        match () {
            () if has_code(type_, &["MR"]) => 0,
            () if authority(system) == feed.authority => 1,
            () if has_code(type_, &["SS", "DL", "PPN", "NI"]) => 4,
            () if !system.is_empty() => 2,
            () => 3,
        }
    };
    let chosen = usable.min_by_key(rank)?;
    patient_id(chosen.str("system").unwrap_or_default(), chosen.str("value")?, feed)
}

/// The id under its authority, the feed's where it names none. `None` where one of them is empty.
pub(super) fn patient_id(system: &str, value: &str, feed: &Feed) -> Option<PatientId> {
    let named = authority(system.trim());
    let authority = if named.is_empty() { feed.authority.clone() } else { named };
    let id = value.trim();
    let complete = !authority.is_empty() && !id.is_empty();
    complete.then(|| PatientId { authority: authority.into(), id: id.into() })
}

/// An identifier's system as HL7 v2 names the same authority: `urn:oid:` and our own `urn:id:` fall away.
fn authority(system: &str) -> String {
    let local = || system.strip_prefix("urn:id:").and_then(super::reference::percent_decode);
    system.strip_prefix("urn:oid:").map(str::to_owned).or_else(local).unwrap_or_else(|| system.to_owned())
}

/// `Family, Given Given`, of the official or usual name, else of the first.
fn patient_name(patient: &Json) -> Option<String> {
    let names = patient.items("name");
    let of_use = |wanted| names.iter().find(|n| n.str("use") == Some(wanted));
    let name = of_use("official").or_else(|| of_use("usual")).or(names.first())?;
    let given = name.items("given").iter().filter_map(Json::as_str).map(str::trim);
    let given: Vec<&str> = given.filter(|given| !given.is_empty()).collect();
    let written = match (name.str("family").unwrap_or_default().trim(), given.join(" ")) {
        (family, given) if given.is_empty() => family.to_owned(),
        ("", given) => given,
        (family, given) => format!("{family}, {given}"),
    };
    let text = || name.str("text").map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    if written.is_empty() { text() } else { Some(written) }
}

fn sex(gender: &str) -> Option<Sex> {
    match gender {
        "female" => Some(Sex::Female),
        "male" => Some(Sex::Male),
        "other" => Some(Sex::Other),
        "unknown" => Some(Sex::Unknown),
        _ => None,
    }
}
