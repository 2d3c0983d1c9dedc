//! A resource as its address answers it: as it was sent, under the id and version of that address.

use super::json::{self, Json, text};
use crate::Time;

/// With `id`, `meta.versionId` and `meta.lastUpdated`; everything else as sent. `None` for what is no JSON object.
pub fn served(resource: &[u8], id: &str, version: &str, updated: Time) -> Option<Vec<u8>> {
    let sent = std::str::from_utf8(resource).ok()?;
    let Ok(Json::Object(mut object)) = json::parse(sent.trim_start_matches('\u{feff}')) else { return None };
    *object.member("id", Json::Null) = text(id);
    let meta = object.member("meta", Json::Null);
    if !matches!(meta, Json::Object(_)) {
        *meta = Json::Object(Default::default());
    }
    if let Json::Object(meta) = meta {
        *meta.member("versionId", Json::Null) = text(version);
        *meta.member("lastUpdated", Json::Null) = text(updated.to_rfc3339());
    }
    Some(Json::Object(object).to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::read;

    #[test]
    fn only_id_and_version_are_added() {
        let sent =
            br#"{"resourceType":"Observation","valueQuantity":{"value":1.00},"meta":{"tag":[{"code":"t"}]}}"#;
        let out = String::from_utf8(served(sent, "7", "1", Time(0)).unwrap()).unwrap();
        assert_eq!(
            out,
            r#"{"resourceType":"Observation","valueQuantity":{"value":1.00},"meta":{"tag":[{"code":"t"}],"versionId":"1","lastUpdated":"1970-01-01T00:00:00.000Z"},"id":"7"}"#
        );
        let patient = served(br#"{"resourceType":"Patient","id":"other"}"#, "7", "2", Time(0)).unwrap();
        let patient = read(&patient).unwrap();
        assert_eq!((patient.id(), patient.warnings()), (Some("7"), &[][..]));
        assert!(served(b"<Patient/>", "7", "1", Time(0)).is_none());
    }
}
