//! What a caller of `/api/messages` looks for.

use actix_web::http::StatusCode;
use actors::Search;
use actors::entry::Kind;
use clinical::{PatientId, Time};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::{ApiError, messages};

const LIMIT_MAX: usize = 1000;

#[derive(Clone, Deserialize, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The first ledger index; in the order of event times (as `next` has it), the first at the very time `since`; of a
    /// receipt, the first in the hour of `received_since`
    #[serde(default)]
    from: u64,
    /// At most 1000
    #[serde(default = "limit_default")]
    limit: usize,
    /// `AUTHORITY|ID`: assigning authority and number, as in PID-3
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<String>,
    /// PV1-19, or the Encounter's identifier
    #[serde(skip_serializing_if = "Option::is_none")]
    visit: Option<String>,
    /// MSH-10, or the id of a FHIR resource
    #[serde(skip_serializing_if = "Option::is_none")]
    control_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feed: Option<String>,
    /// As the entries name it: `message`, `rejected`, `alert`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// MSH-9, as the entries have it, or the resource's type: `ORU^R01`, `Observation`
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_: Option<String>,
    /// Of a refusal, or of an issue with a message that was taken
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Event times from here on: RFC 3339, or ms since 1970
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Event times before here
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// Messages that their site received from here on; they come hour by hour
    #[serde(skip_serializing_if = "Option::is_none")]
    received_since: Option<String>,
    /// Messages received before here; needs `received_since`
    #[serde(skip_serializing_if = "Option::is_none")]
    received_until: Option<String>,
    /// Wait until everything is here that was committed anywhere before this request; 503 when no majority of the
    /// sites confirms it
    #[serde(default)]
    pub(super) linearizable: bool,
}

fn limit_default() -> usize {
    100
}

impl Filter {
    pub(super) fn is_about_a_patient(&self) -> bool {
        self.patient.is_some() || self.visit.is_some()
    }

    pub(super) fn search(&self) -> Result<Search, ApiError> {
        Ok(Search {
            from: self.from,
            limit: self.limit.clamp(1, LIMIT_MAX),
            patient: self.patient.as_deref().map(patient).transpose()?,
            visit: self.visit.clone(),
            control_id: self.control_id.clone(),
            feed: self.feed.clone(),
            kind: self.kind.as_deref().map(kind).transpose()?,
            type_: self.type_.clone(),
            code: self.code.clone(),
            in_ledger_order: false,
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
            received: received(&self.received_since, &self.received_until)?,
        })
    }

    /// The same from another place on: path and query.
    pub(super) fn after(&self, since: Option<Time>, from: u64) -> String {
        let mut next = Filter { from, ..self.clone() };
        let place = if next.received_since.is_some() { &mut next.received_since } else { &mut next.since };
        *place = since.map(|at| at.0.to_string());
        // Plain fields: writing them as a query has no way to fail.
        let query = serde_urlencoded::to_string(next).unwrap_or_default();
        format!("/api/messages?{query}")
    }
}

pub(super) fn patient(text: &str) -> Result<PatientId, ApiError> {
    match text.split_once('|') {
        Some((authority, id)) if !authority.is_empty() && !id.is_empty() => {
            Ok(PatientId { authority: authority.into(), id: id.into() })
        }
        _ => Err(bad("patient is written AUTHORITY|ID, for example HOSP|4711")),
    }
}

fn kind(text: &str) -> Result<Kind, ApiError> {
    let kinds = || Kind::ALL.into_iter();
    kinds().find(|kind| messages::name(*kind) == text).ok_or_else(|| {
        let names: Vec<&str> = kinds().map(messages::name).collect();
        bad(format!("kind is one of {}", names.join(", ")))
    })
}

pub(super) fn time(name: &str, text: &Option<String>) -> Result<Option<Time>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let ms = text.parse().ok();
    let ms = ms.or_else(|| Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()));
    let example = "2026-11-23T08:00:00+01:00";
    match ms {
        Some(ms) => Ok(Some(Time(ms))),
        None => Err(bad(format!("{name} is a time with its offset, {example} or ms since 1970"))),
    }
}

/// The span of `Search::received`: until now, unless it says when it ends.
pub(super) fn received(
    since: &Option<String>,
    until: &Option<String>,
) -> Result<Option<(Time, Time)>, ApiError> {
    match (time("received_since", since)?, time("received_until", until)?) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(bad("received_until needs received_since beside it")),
        (Some(since), Some(until)) => Ok(Some((since, until))),
        (Some(since), None) => Ok(Some((since, Time(jiff::Timestamp::now().as_millisecond())))),
    }
}

fn bad(text: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad-query", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &str) -> Filter {
        serde_urlencoded::from_str(query).unwrap()
    }

    #[test]
    fn a_query_becomes_a_search_and_its_next_page_asks_for_the_same() {
        let asked = filter(
            "patient=A%26E%7C4711&kind=rejected&since=2026-11-23T08:00:00%2B01:00&until=99&limit=5000",
        );
        let search = asked.search().unwrap();
        assert_eq!(search.patient, Some(PatientId { authority: "A&E".into(), id: "4711".into() }));
        assert_eq!((search.kind, search.limit, search.from), (Some(Kind::Rejected), 1000, 0));
        assert_eq!((search.since, search.until), (Some(Time(1_795_417_200_000)), Some(Time(99))));
        let next = asked.after(Some(Time(-7)), 12);
        let again = filter(next.strip_prefix("/api/messages?").unwrap()).search().unwrap();
        assert_eq!((again.since, again.from), (Some(Time(-7)), 12));
        assert_eq!((again.patient, again.kind, again.until), (search.patient, search.kind, search.until));
    }

    #[test]
    fn of_a_receipt_the_next_page_goes_on_in_its_hour() {
        let asked = filter("since=5&received_since=7&received_until=99");
        assert_eq!(asked.search().unwrap().received, Some((Time(7), Time(99))));
        let next = asked.after(Some(Time(8)), 12);
        let again = filter(next.strip_prefix("/api/messages?").unwrap()).search().unwrap();
        assert_eq!((again.since, again.received, again.from), (Some(Time(5)), Some((Time(8), Time(99))), 12));
    }

    #[test]
    fn what_cannot_be_sought_is_said() {
        for (query, says) in [
            ("patient=4711", "HOSP|4711"),
            ("patient=%7C4711", "HOSP|4711"),
            ("kind=letter", "message, rejected, alert, delivered, acknowledged, tick, model-registered"),
            ("since=yesterday", "since is a time"),
            ("until=2026-11-23", "until is a time"),
            ("received_since=now", "received_since is a time"),
            ("received_until=7", "received_until needs received_since"),
        ] {
            let error = filter(query).search().err().unwrap();
            assert!(error.text.contains(says), "{query}: {}", error.text);
        }
        assert!(serde_urlencoded::from_str::<Filter>("patients=x").is_err());
    }
}
