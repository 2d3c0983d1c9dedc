//! Points in time. The crate has no clock: every "now" is an argument.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    pub const HOUR_MS: i64 = 3_600_000;

    /// Whole hours from `start` to this point, rounded towards the past.
    pub fn hours_since(self, start: Time) -> i64 {
        (self.0 - start.0).div_euclid(Self::HOUR_MS)
    }

    /// RFC 3339 in UTC with milliseconds, the form FHIR calls `instant`.
    pub fn to_rfc3339(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => format!("{at:.3}"),
            Err(_) => format!("{}ms", self.0),
        }
    }
}

/// How much of a time its sender wrote (HL7 v2.9 ch. 2A §2.A.22 DTM; FHIR R4 dateTime).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    #[default]
    Second,
}
