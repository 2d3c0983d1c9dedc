//! HL7 v2 codes to FHIR codes: `concepts.txt`, read once.

use std::sync::LazyLock;

use rustc_hash::FxHashMap as HashMap;

use crate::text::trimmed;

const TERMINOLOGY: &str = "http://terminology.hl7.org/CodeSystem/";

/// What a code stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Concept {
    /// Empty for a plain code.
    pub(super) system: String,
    pub(super) code: &'static str,
}

/// By the concept map's name, then by v2 code. The first line that has a code counts.
static MAPS: LazyLock<HashMap<&'static str, HashMap<&'static str, Concept>>> = LazyLock::new(|| {
    let mut maps: HashMap<_, HashMap<_, Concept>> = HashMap::default();
    for line in include_str!("concepts.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let (name, system) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let system = match system {
            "-" => String::new(),
            bare if !bare.contains(':') => format!("{TERMINOLOGY}{bare}"),
            address => address.to_owned(),
        };
        for word in words {
            let (v2, code) = word.split_once('=').unwrap_or((word, word));
            let concept = Concept { system: system.clone(), code };
            maps.entry(name).or_default().entry(v2).or_insert(concept);
        }
    }
    maps
});

/// What `code` is in the concept map of that name.
pub(super) fn concept(map: &str, code: &str) -> Option<&'static Concept> {
    MAPS.get(map)?.get(trimmed(code))
}

/// A plain code of a concept map.
pub(super) fn code(map: &str, code: &str) -> Option<&'static str> {
    concept(map, code).map(|found| found.code)
}

/// The code systems of a concept map.
pub(super) fn systems(map: &str) -> impl Iterator<Item = &'static str> + use<> {
    let concepts = MAPS.get(map).into_iter().flat_map(HashMap::values);
    concepts.map(|concept| concept.system.as_str()).filter(|system| !system.is_empty())
}

#[cfg(test)]
pub(super) fn is_known(map: &str) -> bool {
    MAPS.contains_key(map)
}

/// Table 0004 to v3-ActCode.
pub(super) fn encounter_class(code: &str) -> Option<(&'static str, &'static str)> {
    let code = self::code("PatientClass[EncounterClass]", code)?;
    let display = match code {
        "IMP" => "inpatient encounter",
        "AMB" => "ambulatory",
        "EMER" => "emergency",
        _ => "pre-admission",
    };
    Some((code, display))
}

/// The trigger event to encounter-status.
pub(super) fn encounter_status(trigger: &str) -> &'static str {
    code("Event[EncounterStatus]", trigger).unwrap_or(UNKNOWN)
}

/// What a status is that is in no table.
pub(super) const UNKNOWN: &str = "unknown";

/// Table 0085 to observation-status.
pub(super) fn observation_status(status: &str) -> &'static str {
    code("ObservationResultStatusCodesInterpretation", status).unwrap_or(UNKNOWN)
}

/// Table 0123 to diagnostic-report-status.
pub(super) fn report_status(status: &str) -> &'static str {
    code("ResultStatus[Non-Queries]", status).unwrap_or("unknown")
}

/// Table 0038 (order status), else 0119 (order control) to request-status. The guide leaves a cancelled or held
/// request active until it is confirmed.
pub(super) fn request_status(order_status: &str, order_control: &str) -> &'static str {
    let by_control = || code("OrderControlCode[ServiceRequest.status]", order_control);
    code("OrderStatus", order_status).or_else(by_control).unwrap_or("unknown")
}
