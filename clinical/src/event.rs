//! The canonical event: one thing that happened to one patient, whatever standard brought it.
//!
//! Events are stored in ledger entries, so the serde names are a stable format: add optional fields,
//! never rename or reuse one.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{Precision, Time};

/// (assigning authority, id): HL7 v2 PID-3.4 and PID-3.1, FHIR `Patient.identifier` system and value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PatientId {
    pub authority: SmolStr,
    pub id: SmolStr,
}

impl fmt::Debug for PatientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientId(redacted)")
    }
}

/// One thing that happened to one patient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub patient: PatientId,
    /// Visit number: PV1-19, or the FHIR Encounter's identifier or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visit: Option<SmolStr>,
    /// When it happened to the patient, not when it was sent or received.
    pub at: Time,
    #[serde(default)]
    pub precision: Precision,
    pub kind: EventKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Person(Person),
    Encounter(Encounter),
    Observed(Observation),
    Ordered(Order),
    /// A40: `from` no longer stands for itself; what it had belongs to `Event::patient`.
    Merged {
        from: PatientId,
    },
}

/// What is known of the person. Absent fields say nothing and erase nothing: what is erased stands in `deleted`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Person {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// ISO 8601, to the precision sent: `1951`, `1951-04` or `1951-04-23`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sex: Option<Sex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub died_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Deleted::is_nothing")]
    pub deleted: Deleted,
}

/// What the sender takes back: whatever was told of it before no longer holds (HL7's null, v2.9 ch. 2 §2.5.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    #[serde(default, skip_serializing_if = "is_false")]
    pub name: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub birth_date: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub sex: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub died_at: bool,
}

impl Deleted {
    pub fn is_nothing(&self) -> bool {
        *self == Deleted::default()
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Person(redacted)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sex {
    Female,
    Male,
    Other,
    Unknown,
}

/// A change of a visit (HL7 v2.9 ch. 3; FHIR R4 Encounter).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Encounter {
    pub change: EncounterChange,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<EncounterClass>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The sender takes back where the patient lies (PV1-3 `""`), and names no other place.
    #[serde(default, skip_serializing_if = "is_false")]
    pub location_deleted: bool,
    /// PV1-44.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted_at: Option<Time>,
    /// PV1-45.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discharged_at: Option<Time>,
}

impl Encounter {
    /// A change of which nothing else is known.
    pub fn of(change: EncounterChange) -> Encounter {
        Encounter {
            change,
            class: None,
            location: None,
            location_deleted: false,
            admitted_at: None,
            discharged_at: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncounterChange {
    /// A01, A04, A05 and A06/A07 (class changes).
    Admitted,
    /// A02.
    Transferred,
    /// A03.
    Discharged,
    /// A08, A31: what is known of it, without a movement.
    Updated,
    /// A11.
    AdmitCancelled,
    /// A12.
    TransferCancelled,
    /// A13.
    DischargeCancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncounterClass {
    Inpatient,
    Outpatient,
    Emergency,
    PreAdmit,
    Other,
}

/// Where the patient lies (PV1-3: PL).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// PL.1 point of care; the care board's ward.
    pub ward: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub room: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bed: String,
    /// The feed's configuration says that this ward is an intensive care unit.
    #[serde(default)]
    pub icu: bool,
}

/// One result or vital sign (OBX; FHIR R4 Observation or one of its components).
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// LOINC where the feed's table or the sender knows it, else the sender's own code.
    pub code: Code,
    pub value: Value,
    pub status: ObservationStatus,
    /// What a correction refers to: filler order number + OBX-3 + OBX-4, or the FHIR Observation's identifier or id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_id: String,
    /// Of a thing that is sent whole each time (a FHIR resource with an id): the last one that comes stands, whatever its
    /// status. Else a final result behind a corrected one is a late original.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_version: bool,
    /// MSH-7, where it tells which of two messages was first: of two corrections the one that was sent last holds, and a
    /// result holds that was sent behind its withdrawal, in whatever order they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Time>,
}

impl fmt::Debug for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observation({:?}, value redacted)", self.code)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Code {
    pub system: CodeSystem,
    pub code: SmolStr,
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub display: SmolStr,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeSystem {
    Loinc,
    Snomed,
    /// The sender's own: OBX-3.3 or the FHIR `system`, as written; may be empty.
    Other(SmolStr),
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// `number` in `unit` (UCUM after the feed's table); `text` keeps the digits that were sent.
    Quantity {
        number: f64,
        text: SmolStr,
        unit: SmolStr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comparator: Option<Comparator>,
    },
    Text(String),
    Coded(Code),
    /// The sender says that there is none, or took it back.
    Absent,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(redacted)")
    }
}

/// FHIR R4 quantity-comparator; HL7 v2 SN.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparator {
    Less,
    LessOrEqual,
    GreaterOrEqual,
    Greater,
}

/// OBX-11 (HL7 table 0085) and FHIR R4 observation-status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservationStatus {
    Preliminary,
    Final,
    /// C: replaces what was sent under the same `source_id`.
    Corrected,
    /// D or W, `entered-in-error`: what was sent under the same `source_id` no longer holds.
    Deleted,
    /// X, `cancelled`: there will be no result.
    Cancelled,
}

/// ORM^O01, OML^O21.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// ORC-1 (HL7 table 0119), as written.
    pub control: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub placer: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filler: String,
    pub code: Code,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order({:?})", self.code)
    }
}
