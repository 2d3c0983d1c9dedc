//! HL7 v2: ADT^A01 into intensive care, ORU^R01 of each source and hour.

use clinical::{ObservationStatus, Sex, Time};
use ml_scoring::dataset::{Patient, Source};

use super::AUTHORITY;
use super::plan::{self, Reading, Results, Telling, What};
use crate::simulate::{header, segment, timestamp};

pub fn write(patient: &Patient, telling: &Telling) -> Vec<u8> {
    let Telling { control_id, at, sent_at, what, .. } = telling;
    let text = match what {
        What::Admission => {
            let time = timestamp(*at);
            header("ADT^A01^ADT_A01", control_id, *sent_at, AUTHORITY)
                + &segment("EVN", &[(1, "A01"), (2, &time), (6, &time)])
                + &pid(patient)
                + &admitted(patient)
        }
        What::Results(results) => {
            header("ORU^R01^ORU_R01", control_id, *sent_at, AUTHORITY)
                + &pid(patient)
                + &segment("PV1", &[(1, "1"), (2, "I"), (19, &patient.pid)])
                + &observations(results, *at)
        }
    };
    text.into_bytes()
}

fn pid(patient: &Patient) -> String {
    let (person, _) = plan::admission(patient);
    let id = format!("{}^^^{AUTHORITY}^MR", patient.pid);
    let born = person.birth_date.unwrap_or_default().replace('-', "");
    let sex = match person.sex {
        Some(Sex::Male) => "M",
        Some(Sex::Female) => "F",
        _ => "",
    };
    segment("PID", &[(1, "1"), (3, &id), (7, &born), (8, sex)])
}

/// PV1-44 is the hospital admission; the movement's own time, when intensive care began, is EVN-6.
fn admitted(patient: &Patient) -> String {
    let (_, encounter) = plan::admission(patient);
    let ward = encounter.iter().filter_map(|e| e.location.as_ref()).map(|l| l.ward.as_str()).next();
    let since = encounter.as_ref().and_then(|e| e.admitted_at).map(to_the_millisecond).unwrap_or_default();
    let ward = ward.unwrap_or_default();
    segment("PV1", &[(1, "1"), (2, "I"), (3, ward), (19, &patient.pid), (44, &since)])
}

/// `HospAdmTime` may have any number of digits.
fn to_the_millisecond(at: Time) -> String {
    let at = jiff::Timestamp::from_millisecond(at.0);
    at.map(|at| at.strftime("%Y%m%d%H%M%S.%3f+0000").to_string()).unwrap_or_default()
}

fn observations(results: &Results, at: Time) -> String {
    let panel = match results.source {
        Source::Monitor => "85353-1^Vital signs panel^LN",
        Source::Laboratory => "24323-8^Laboratory panel^LN",
    };
    let time = timestamp(at);
    let corrects = results.readings.iter().any(|reading| reading.status != ObservationStatus::Final);
    let status = if corrects { "C" } else { "F" };
    let obr = [(1, "1"), (3, results.order.as_str()), (4, panel), (7, &time), (25, status)];
    let mut out = segment("OBR", &obr);
    for (number, Reading { column, number: value, status }) in results.readings.iter().enumerate() {
        let set_id = (number + 1).to_string();
        let code = format!("{}^{}^LN", column.loinc(), column.words());
        // The shortest digits that are this number and no other.
        let value = value.to_string();
        let status = letter(*status);
        let fields = [
            (1, set_id.as_str()),
            (2, "NM"),
            (3, &code),
            (5, &value),
            (6, column.unit()),
            (11, status),
            (14, &time),
        ];
        out += &segment("OBX", &fields);
    }
    out
}

/// HL7 table 0085.
fn letter(status: ObservationStatus) -> &'static str {
    match status {
        ObservationStatus::Preliminary => "P",
        ObservationStatus::Final => "F",
        ObservationStatus::Corrected => "C",
        ObservationStatus::Deleted => "D",
        ObservationStatus::Cancelled => "X",
    }
}
