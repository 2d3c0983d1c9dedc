//! FHIR R4 in: one resource or a Bundle, and the answers of its REST API.

use bytes::Bytes;
use clinical::Issue;
use clinical::fhir::{self, Resource, Taken};
use connectors::{Refusal, Reply};
use raft_ledger::{Draft, MAX_TAGS};

use super::versions::{Name, Standing};
use super::{Outcome, Read, Reader, Seen, batch, codes_of, has_error, kept_headers, no_version, refusal};
use crate::committer::{Accepted, WriteAnswer};
use crate::entry::{Format, Message, READER, RESOURCE_TAG};
use crate::parts::Ack;
use crate::resources::{self, Address};

const CONTENT_TYPE: &str = "application/fhir+json";

/// `If-None-Exist`: the resource is created only where none of its type has this identifier.
struct Condition {
    system: String,
    value: String,
}

impl Reader {
    pub(super) fn read_fhir(&self, seen: &Seen) -> Read {
        let raw = &seen.inbound.payload;
        let headers = &seen.inbound.headers;
        if let Some(fault) = headers.get("content-type").and_then(|type_| fhir::media_type_fault(type_)) {
            return self.refuse_fhir(seen, "", 415, vec![fault]);
        }
        let resource = match fhir::read_bytes(raw.clone()) {
            Ok(resource) => resource,
            Err(issues) => return self.refuse_fhir(seen, "", unreadable_status(&issues), issues),
        };
        let id = resource.id().unwrap_or_default().to_owned();
        if let Some(mismatch) = wrong_endpoint(seen, &resource) {
            let status = if mismatch.code == "fhir-request-url-mismatch" { 400 } else { 422 };
            return self.refuse_fhir(seen, &id, status, vec![mismatch]);
        }
        let condition = match condition(seen, &resource) {
            Ok(condition) => condition,
            Err(issue) => return self.refuse_fhir(seen, &id, 400, vec![issue]),
        };
        if has_if_match(seen) {
            let text = "versions are not compared here; read the resource again, and send the update without If-Match";
            let outcome = outcome_reply(412, &[error("fhir-condition-unsupported", "If-Match", text)]);
            return not_taken(resource.type_(), id, outcome);
        }
        let content = resources::content_key(&self.keys, &self.feed, &id, raw);
        let given = resources::given_id(&content);
        // Only who sent it here by HTTP hears what it is called.
        let is_answered = seen.inbound.position.starts_with("http#");
        let Taken { mut events, issues, refused } =
            fhir::take(&resource, &self.reader, seen.received_at, is_answered.then_some(given.as_str()));
        if has_error(&issues) {
            return self.refuse_fhir(seen, &id, 422, issues);
        }
        if seen.again.is_some() {
            events.iter_mut().for_each(no_version);
        }
        if !refused.is_empty() && seen.again.as_ref().is_some_and(|again| again.replaces.is_none()) {
            // A person has it tried again: all or nothing.
            return self.refuse_fhir(seen, &id, 422, refused.into_values().flatten().collect());
        }
        let type_ = match resource.bundle_type() {
            Some(bundle) => format!("Bundle/{bundle}"),
            None => resource.type_().to_owned(),
        };
        let codes = codes_of(&issues);
        let (mut dedupe, mut body_tag) = (content, None);
        if let Some(condition) = &condition {
            dedupe = self.condition_key(&type_, condition);
            match &self.matches(&type_, condition, &dedupe)[..] {
                [] => {}
                [found] => return nothing_created(type_, id, found),
                _ => return self.refuse_fhir(seen, &id, 412, vec![several()]),
            }
        } else if !id.is_empty() && resource.bundle_type().is_none() && seen.again.is_none() {
            let name = Name { feed: &self.feed, type_: &type_, id: &id };
            match self.versions.stand(name, raw) {
                Ok(Standing::Known(index)) => {
                    let address = self.resources.address(index, &type_);
                    let address = address.unwrap_or_else(|| Address::of(&type_, Some(&id), given));
                    return nothing_created(type_, id, &address);
                }
                Ok(Standing::Version { dedupe: of_version, tag }) => {
                    (dedupe, body_tag) = (of_version, Some(tag))
                }
                // The append will say what the ledger's disk has.
                Err(error) => {
                    tracing::warn!(%error, feed = &*self.feed, "former versions of a resource are not looked up")
                }
            }
        }
        let entry = Message {
            feed: self.feed.to_string(),
            format: Format::Fhir,
            reader: READER,
            codes: self.codes.clone(),
            type_: type_.clone(),
            control_id: id.clone(),
            position: seen.inbound.position.clone(),
            headers: kept_headers(seen.inbound),
            events,
            issues,
            again: seen.again.clone(),
        };
        let mut draft = self.message(seen, entry, raw, None, dedupe);
        if let Some(tag) = body_tag {
            // Before names: a body that is not known again is kept twice.
            draft.tags.truncate(MAX_TAGS - 2);
            draft.tags.push(tag);
        }
        let entries = resource.entries();
        let names = match resource.bundle_type() {
            Some("transaction" | "batch") => batch::names(&entries, &refused),
            _ => resources::names(&resource),
        };
        let mut named = Vec::new();
        if is_answered || self.ack == Ack::Site {
            draft.tags.truncate(MAX_TAGS - 1);
            draft.tags.push(self.keys.tag(RESOURCE_TAG, given.as_bytes()));
        }
        if is_answered {
            named = self.name(&mut draft, names);
        }
        // A replay of the batch finds those that it refused in the error queue.
        let is_replay = seen.again.is_some();
        let kept = if is_replay { Vec::new() } else { self.refused_entries(seen, &entries, &refused) };
        let none_taken = !refused.is_empty() && refused.len() == entries.len();
        let whole = (!none_taken || is_replay).then_some(draft);
        let drafts = whole.into_iter().chain(kept).collect();
        let answer: WriteAnswer = match resource.bundle_type() {
            Some(kind @ ("transaction" | "batch")) => {
                let answers = self.entry_answers(&entries, &refused, &given, &named);
                let body = match kind {
                    "batch" => fhir::batch_response(&answers),
                    _ => fhir::transaction_response(&answers),
                };
                always(Reply { status: 200, content_type: CONTENT_TYPE, location: None, body: body.into() })
            }
            _ => self.created(seen, &resource, given, &named, condition.is_some()),
        };
        Read { drafts, type_, control_id: id, codes, outcome: Outcome::Accepted(answer) }
    }

    /// 201 with a versioned Location, or 200 for the next version of what was here before (FHIR R4 http.html#create,
    /// #upsert).
    fn created(
        &self,
        seen: &Seen,
        resource: &Resource,
        given: String,
        named: &[String],
        is_conditional: bool,
    ) -> WriteAnswer {
        let type_ = resource.type_().to_owned();
        let name = resource.id().map(|id| resources::named(&type_, id)).filter(|name| named.contains(name));
        let is_put = seen.inbound.headers.get("method").is_some_and(|method| method == "PUT");
        let status =
            if is_put && name.as_ref().is_some_and(|name| self.resources.is_known(name)) { 200 } else { 201 };
        let own = resource.id().filter(|_| name.is_some());
        let address = Address::of(&type_, own, given);
        if !is_conditional {
            return always(located(status, &address));
        }
        let known = self.resources.clone();
        Box::new(move |outcomes| {
            let first = outcomes.first().filter(|outcome| outcome.duplicate);
            let last = match first {
                // Another one with the same condition came first.
                Some(first) => located(200, &known.address(first.index, &type_).unwrap_or(address)),
                None => located(201, &address),
            };
            Accepted { first: None, last, last_at_quorum: false }
        })
    }

    /// Tags the draft with these names, as many as there is room for, and says with which.
    fn name(&self, draft: &mut Draft, names: Vec<String>) -> Vec<String> {
        let room = MAX_TAGS.saturating_sub(draft.tags.len());
        let named: Vec<String> = names.into_iter().take(room).collect();
        draft.tags.extend(named.iter().map(|name| self.keys.tag(RESOURCE_TAG, name.as_bytes())));
        named
    }

    /// Two requests at one time have the same key: the ledger takes one of them.
    fn condition_key(&self, type_: &str, condition: &Condition) -> [u8; 32] {
        let parts = [&*self.feed, type_, &*condition.system, &*condition.value].map(str::as_bytes);
        self.keys.keyed_hash("fhir-if-none-exist", &parts)
    }

    fn matches(&self, type_: &str, condition: &Condition, key: &[u8; 32]) -> Vec<Address> {
        let found = self.resources.with_identifier(type_, &condition.system, &condition.value);
        match found.is_empty() {
            true => self.resources.waiting(key, type_).into_iter().collect(),
            false => found,
        }
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

/// `POST /fhir/Observation` takes Observations, `PUT /fhir/Patient/7` the Patient 7 (FHIR R4 http.html#create, #update).
fn wrong_endpoint(seen: &Seen, resource: &Resource) -> Option<Issue> {
    let path = seen.inbound.headers.get("path")?;
    let mut parts =
        path.split('/').skip_while(|part| *part != "fhir").skip(1).filter(|part| !part.is_empty());
    let asked = parts.next()?;
    if asked != resource.type_() {
        let text = "the resource is of another type than the address: post it to its own type's address";
        return Some(error("resource-type-mismatch", "resourceType", text));
    }
    let id = parts.next()?;
    let text = "the resource has another id than the address, or none: an update carries its id in both";
    (resource.id() != Some(id)).then(|| error("fhir-request-url-mismatch", "id", text))
}

/// It asks that nothing is taken unless a certain version stands here: kept for a retry, it would be taken all the same.
fn has_if_match(seen: &Seen) -> bool {
    seen.inbound.position.starts_with("http#") && seen.inbound.headers.contains_key("if-match")
}

/// An `If-None-Exist` that cannot be decided is refused, never taken for "no match".
fn condition(seen: &Seen, resource: &Resource) -> Result<Option<Condition>, Issue> {
    let Some(asked) = seen.inbound.headers.get("if-none-exist") else { return Ok(None) };
    let (system, value) = fhir::identifier_condition(asked)?;
    if resource.bundle_type().is_some() {
        let text = "a Bundle is not created under a condition; send the resource on its own";
        return Err(error("fhir-condition-unsupported", "If-None-Exist", text));
    }
    if !resource.identifiers().contains(&(&*system, &*value)) {
        let text = "the resource does not have the identifier that the condition asks for";
        return Err(error("fhir-condition-unsupported", "If-None-Exist", text));
    }
    Ok(Some(Condition { system, value }))
}

fn several() -> Issue {
    let text = "several resources have that identifier: send an update to the one that is meant";
    error("fhir-condition-ambiguous", "If-None-Exist", text)
}

fn error(code: &'static str, location: &str, text: &str) -> Issue {
    let severity = clinical::Severity::Error;
    Issue { severity, code: code.into(), location: location.into(), text: text.into() }
}

fn unreadable_status(issues: &[Issue]) -> u16 {
    match issues.first().map(|issue| &*issue.code) {
        Some("fhir-xml-unsupported") => 415,
        Some(code) if code.starts_with("fhir-json") => 400,
        _ => 422,
    }
}

fn not_taken(type_: &str, id: String, reply: Reply) -> Read {
    let refusal = Refusal { code: "fhir-condition-unsupported".into(), reason: "If-Match".into() };
    let outcome = Outcome::Refused(refusal, reply);
    Read { drafts: Vec::new(), type_: type_.to_owned(), control_id: id, codes: Vec::new(), outcome }
}

fn nothing_created(type_: String, id: String, found: &Address) -> Read {
    let outcome = Outcome::Accepted(always(located(200, found)));
    Read { drafts: Vec::new(), type_, control_id: id, codes: Vec::new(), outcome }
}

fn located(status: u16, address: &Address) -> Reply {
    let location = Some(address.location());
    Reply { status, content_type: CONTENT_TYPE, location, body: Bytes::new() }
}

fn always(last: Reply) -> WriteAnswer {
    Box::new(move |_| Accepted { first: None, last, last_at_quorum: false })
}

pub(super) fn outcome_reply(status: u16, issues: &[Issue]) -> Reply {
    Reply { status, content_type: CONTENT_TYPE, location: None, body: fhir::outcome(issues).into() }
}
