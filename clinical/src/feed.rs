//! What a reader must know of the feed that a message came in by.

use crate::CodeTable;

/// Configuration of a reader, shared by HL7 v2 and FHIR. Plain data: validated where the file is read.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// Assigning authority of patient ids that name none. Empty: such messages are rejected.
    pub authority: String,
    /// IANA name of the zone of times without an offset, for example `Europe/Zurich`. Empty: UTC.
    pub zone: String,
    /// Charset of messages whose MSH-18 is empty or wrong, in HL7's or IANA's spelling.
    pub charset: Option<String>,
    /// Local codes to LOINC and UCUM.
    pub codes: CodeTable,
    /// Wards that are intensive care units; `*` stands for any characters, case does not matter.
    pub icu_wards: Vec<String>,
    /// Processing ids (MSH-11.1, HL7 table 0103) of messages that are taken, for example `P`. Empty: all that the table
    /// knows, for who reads files and alerts nobody.
    pub processing_ids: Vec<String>,
}

impl Feed {
    /// Whether the feed's configuration calls this ward (PL.1) an intensive care unit.
    pub fn is_icu(&self, ward: &str) -> bool {
        let ward = ward.trim().to_lowercase();
        self.icu_wards.iter().any(|glob| matches_glob(&glob.to_lowercase(), &ward))
    }

    /// The zone of times without an offset, or `None` where the name is unknown.
    pub(crate) fn time_zone(&self) -> Option<jiff::tz::TimeZone> {
        time_zone(&self.zone)
    }
}

/// Whether `name` can stand in [`Feed::zone`].
pub fn is_known_zone(name: &str) -> bool {
    time_zone(name).is_some()
}

fn time_zone(name: &str) -> Option<jiff::tz::TimeZone> {
    if name.is_empty() { Some(jiff::tz::TimeZone::UTC) } else { jiff::tz::TimeZone::get(name).ok() }
}

/// Time is linear: the pieces between the stars are searched from left to right, each once.
fn matches_glob(glob: &str, text: &str) -> bool {
    let Some((head, rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        match text.find(piece) {
            Some(at) => text = text.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wards_match_globs() {
        let feed =
            Feed { icu_wards: vec!["ICU*".into(), "*-ITS-*".into(), "micu".into()], ..Feed::default() };
        for (ward, icu) in [
            ("ICU", true),
            ("icu-2", true),
            ("MICU", true),
            ("MICU2", false),
            ("A-ITS-1", true),
            ("NICU", false),
            ("", false),
        ] {
            assert_eq!(feed.is_icu(ward), icu, "{ward}");
        }
        assert!(!matches_glob("ab*ba", "aba"), "head and tail must not overlap");
    }

    #[test]
    fn zones_are_iana_names() {
        assert!(is_known_zone("Europe/Zurich") && is_known_zone("") && !is_known_zone("Middle-earth/Bree"));
    }
}
