//! FHIR R4 in: one resource or a Bundle, and the answers of its REST API.

use bytes::Bytes;
use clinical::Issue;
use clinical::fhir::{self, EntryAnswer, Resource};
use connectors::Reply;
use raft_ledger::MAX_TAGS;

use super::{Outcome, Read, Reader, Seen, codes_of, has_error, refusal};
use crate::committer::Accepted;
use crate::entry::{Format, Message, READER, RESOURCE_TAG};
use crate::parts::Ack;

const CONTENT_TYPE: &str = "application/fhir+json";

impl Reader {
    pub(super) fn read_fhir(&self, seen: &Seen) -> Read {
        let resource = match fhir::read_bytes(seen.inbound.payload.clone()) {
            Ok(resource) => resource,
            Err(issues) => return self.refuse_fhir(seen, "", 400, issues),
        };
        let (events, mut issues) = fhir::to_events(&resource, &self.reader, seen.received_at);
        issues.extend(resource.warnings().iter().cloned());
        if let Some(mismatch) = wrong_endpoint(seen, &resource) {
            issues.push(mismatch);
        }
        let id = resource.id().unwrap_or_default().to_owned();
        if has_error(&issues) {
            return self.refuse_fhir(seen, &id, 422, issues);
        }
        let type_ = match resource.bundle_type() {
            Some(bundle) => format!("Bundle/{bundle}"),
            None => resource.type_().to_owned(),
        };
        let codes = codes_of(&issues);
        let entry = Message {
            feed: self.feed.to_string(),
            format: Format::Fhir,
            reader: READER,
            codes: self.codes.clone(),
            type_: type_.clone(),
            control_id: id.clone(),
            position: seen.inbound.position.clone(),
            events,
            issues,
            again: seen.again.clone(),
        };
        let raw = &seen.inbound.payload;
        let dedupe = self.keys.keyed_hash("fhir", &[self.feed.as_bytes(), id.as_bytes(), raw]);
        let mut draft = self.message(seen, entry, raw, None, dedupe);
        let early_id = (self.ack == Ack::Site).then(|| hex::encode(&dedupe[..16]));
        if let Some(id) = &early_id {
            draft.tags.truncate(MAX_TAGS - 1);
            draft.tags.push(self.keys.tag(RESOURCE_TAG, id.as_bytes()));
        }
        let accept = Outcome::Accepted(Box::new(move |outcomes: &[raft_ledger::Outcome]| {
            let index = || outcomes.first().map(|outcome| outcome.index).unwrap_or_default().to_string();
            Accepted {
                first: None,
                last: created(&resource, &early_id.unwrap_or_else(index)),
                last_at_quorum: false,
            }
        }));
        Read { drafts: vec![draft], type_, control_id: id, codes, outcome: accept }
    }

    fn refuse_fhir(&self, seen: &Seen, id: &str, status: u16, issues: Vec<Issue>) -> Read {
        let draft = self.rejected(seen, Format::Fhir, [id, ""], &seen.inbound.payload, &issues);
        let reply = outcome_reply(status, &issues);
        Read {
            drafts: vec![draft],
            type_: "unknown".into(),
            control_id: id.to_owned(),
            codes: Vec::new(),
            outcome: Outcome::Refused(refusal(&issues), reply),
        }
    }
}

/// `POST /fhir/Observation` takes Observations (FHIR R4 http.html#create).
fn wrong_endpoint(seen: &Seen, resource: &Resource) -> Option<Issue> {
    let path = seen.inbound.headers.get("path")?;
    let asked =
        path.split('/').skip_while(|part| *part != "fhir").nth(1).filter(|type_| !type_.is_empty())?;
    (asked != resource.type_()).then(|| Issue {
        severity: clinical::Severity::Error,
        code: "resource-type-mismatch".into(),
        location: "resourceType".into(),
        text: "the resource is of another type than the address: post it to its own type's address".into(),
    })
}

/// 201 with a versioned Location; a transaction or batch answers 200 with one line an entry. The server's id of a
/// resource is its ledger index, so `GET` finds it without another table. With `ack = "site"` there is none yet:
/// then the id is the beginning of the dedupe key, by which the outbox finds it before the commit and a tag in the
/// ledger after it. A resend hears the same id.
fn created(resource: &Resource, id: &str) -> Reply {
    match resource.bundle_type() {
        Some(kind @ ("transaction" | "batch")) => {
            let answer = |(number, entry): (usize, &fhir::Entry)| EntryAnswer {
                status: "201 Created".into(),
                location: match &entry.resource_type {
                    Some(type_) => format!("{type_}/{id}-{number}/_history/1"),
                    None => String::new(),
                },
                issues: Vec::new(),
            };
            let answers: Vec<EntryAnswer> = resource.entries().iter().enumerate().map(answer).collect();
            let body = if kind == "batch" {
                fhir::batch_response(&answers)
            } else {
                fhir::transaction_response(&answers)
            };
            Reply { status: 200, content_type: CONTENT_TYPE, location: None, body: body.into() }
        }
        _ => Reply {
            status: 201,
            content_type: CONTENT_TYPE,
            location: Some(format!("{}/{id}/_history/1", resource.type_())),
            body: Bytes::new(),
        },
    }
}

pub(super) fn outcome_reply(status: u16, issues: &[Issue]) -> Reply {
    Reply { status, content_type: CONTENT_TYPE, location: None, body: fhir::outcome(issues).into() }
}
