//! A Bundle's entries, and what R4 demands of a Bundle as a whole (bundle.html, http.html#transaction).

use std::collections::HashSet;

use super::Mapper;
use super::names::{Address, Place};
use super::reference::conditional_identifier;
use crate::fhir::json::Json;
use crate::fhir::read::{Resource, read_bytes};
use crate::{Issue, Severity};

impl<'a> Mapper<'a> {
    pub(super) fn bundle(&mut self, bundle: &'a Resource, type_: &str) {
        let does = matches!(type_, "transaction" | "batch");
        if !does && !matches!(type_, "message" | "collection" | "document" | "searchset") {
            self.path.push_str(".type");
            return self.error(
                "fhir-bundle-unsupported",
                "send a transaction, batch, message, collection, document or searchset",
            );
        }
        self.same_urls(&bundle.root);
        match type_ {
            "batch" => return self.batch(bundle),
            "transaction" => self.same_resources(&bundle.root),
            _ => {}
        }
        for (at, entry) in bundle.root.items("entry").iter().enumerate() {
            self.path = format!("Bundle.entry[{at}]");
            self.entry(entry, does);
        }
    }

    /// bdl-7: a reference to a `fullUrl` must name one resource.
    fn same_urls(&mut self, bundle: &Json) {
        let mut known = HashSet::new();
        for (at, entry) in bundle.items("entry").iter().enumerate() {
            let version = entry.get("resource").and_then(|r| r.get("meta")).and_then(|m| m.str("versionId"));
            let Some(url) = entry.str("fullUrl") else { continue };
            if !known.insert((url, version)) {
                self.path = format!("Bundle.entry[{at}].fullUrl");
                self.error(
                    "fhir-bundle-full-url-repeated",
                    "is that of an earlier entry, too; each needs its own",
                );
            }
        }
    }

    /// A transaction has no order of its entries (http.html#trules): which of two updates would be the last is not said. Only
    /// updates name a resource that may be another's, too: a create makes one, and neither deletes nor conditional
    /// creates are taken. An update by identifier is of the resource that another one brings with that.
    fn same_resources(&mut self, bundle: &Json) {
        let (mut updated, mut brought) = (HashSet::new(), HashSet::new());
        for (at, entry) in bundle.items("entry").iter().enumerate() {
            let Some(request) = entry.get("request").filter(|r| r.str("method") == Some("PUT")) else {
                continue;
            };
            let name = name_of(request);
            let identifiers: Vec<_> = match name.1.starts_with("_id=") {
                true => {
                    entry.get("resource").into_iter().flat_map(|r| names_by_identifier(name.0, r)).collect()
                }
                false => Vec::new(),
            };
            let is_repeated =
                brought.contains(&name) || identifiers.iter().any(|identifier| updated.contains(identifier));
            brought.extend(identifiers);
            if !updated.insert(name) || is_repeated {
                self.path = format!("Bundle.entry[{at}].request.url");
                let text = "updates what an earlier entry updates; a transaction brings each resource once";
                self.error("fhir-transaction-resource-repeated", text);
            }
        }
    }

    /// `does`: an entry says what is to be done with its resource.
    fn entry(&mut self, entry: &'a Json<'a>, does: bool) {
        self.place = Place::of(entry);
        let resource = entry.get("resource");
        match entry.get("request") {
            Some(request) if !self.request(request, resource) => return,
            Some(_) => {}
            None if does => {
                return self.report_at(
                    Severity::Error,
                    "fhir-element-missing",
                    "request",
                    "is required in a transaction or batch",
                );
            }
            None => {}
        }
        if let Some(resource) = resource {
            self.path.push_str(".resource");
            self.resource(resource, None);
        }
    }

    /// Whether it can be done, and is what it says; reports why not.
    fn request(&mut self, request: &Json, resource: Option<&Json>) -> bool {
        let method = request.str("method").unwrap_or_default();
        if !matches!(method, "POST" | "PUT") {
            let text = "only POST and PUT are taken: events are added, not removed";
            self.report_at(Severity::Error, "fhir-method-unsupported", "request.method", text);
            return false;
        }
        if request.str("ifNoneExist").is_some() {
            let text =
                "a conditional create is taken on its own, with the header If-None-Exist; not in a Bundle";
            self.report_at(Severity::Error, "fhir-condition-unsupported", "request.ifNoneExist", text);
            return false;
        }
        if request.str("ifMatch").is_some() {
            let text = "versions are not compared here; send the update without it";
            self.report_at(Severity::Error, "fhir-condition-unsupported", "request.ifMatch", text);
            return false;
        }
        let Some(resource) = resource else {
            self.report_at(
                Severity::Error,
                "fhir-element-missing",
                "resource",
                "is required to create or update",
            );
            return false;
        };
        let url = request.str("url").unwrap_or_default();
        let path = path_of(request);
        let address = Address::of(path);
        let named =
            address.map_or_else(|| path.rsplit('/').next().unwrap_or_default(), |address| address.type_);
        if Some(named) != resource.str("resourceType") {
            let text = "names another resource type than the resource is of";
            self.report_at(Severity::Error, "fhir-request-url-mismatch", "request.url", text);
            return false;
        }
        let at_id = address.filter(|_| method == "PUT").map(|address| address.id);
        if at_id.is_some() && at_id != resource.str("id") {
            let text = "names another id than the resource has; an update carries its id in both";
            self.report_at(Severity::Error, "fhir-request-url-mismatch", "request.url", text);
            return false;
        }
        if method == "PUT" && at_id.is_none() && !url.contains('?') {
            let text = "names no id; an update needs one, a create is a POST";
            self.report_at(Severity::Error, "fhir-request-url-mismatch", "request.url", text);
            return false;
        }
        true
    }

    fn batch(&mut self, batch: &'a Resource) {
        let entries = batch.root.items("entry").iter().zip(batch.entries());
        for (at, (entry, face)) in entries.enumerate() {
            self.path = format!("Bundle.entry[{at}]");
            let place = format!("{}.resource", self.path);
            let inside = |issue: Issue| {
                let (_, inside) = issue.location.split_once('.').unwrap_or_default();
                let location = if inside.is_empty() { place.clone() } else { format!("{place}.{inside}") };
                Issue { location, ..issue }
            };
            let before = self.issues.len();
            if face.bytes.is_empty() {
                self.entry(entry, true);
            } else {
                match read_bytes(face.bytes) {
                    Ok(read) => {
                        self.issues.extend(read.warnings().iter().cloned().map(inside));
                        self.entry(entry, true);
                    }
                    Err(issues) => self.issues.extend(issues.into_iter().map(inside)),
                }
            }
            let own = &mut self.issues[before..];
            if own.iter().any(|issue| issue.severity == Severity::Error) {
                self.refused.insert(at, own.to_vec());
            }
            for issue in own.iter_mut().filter(|issue| issue.severity == Severity::Error) {
                issue.severity = Severity::Warning;
            }
        }
    }
}

/// Which resource an update is of: its type, and its id or what is searched for.
fn name_of<'r>(request: &'r Json) -> (&'r str, String) {
    let path = path_of(request);
    if let Some(Address { type_, id, .. }) = Address::of(path) {
        return (type_, format!("_id={id}"));
    }
    let type_ = path.rsplit('/').next().unwrap_or_default();
    let query = request.str("url").and_then(|url| url.split_once('?')).unwrap_or_default().1;
    let name = match conditional_identifier(query) {
        Some((system, value)) => by_identifier(&system, &value),
        None => query.to_owned(),
    };
    (type_, name)
}

fn names_by_identifier<'r>(type_: &'r str, resource: &'r Json) -> impl Iterator<Item = (&'r str, String)> {
    resource.items("identifier").iter().filter_map(move |identifier| {
        let system = identifier.str("system").unwrap_or_default();
        Some((type_, by_identifier(system, identifier.str("value")?)))
    })
}

fn by_identifier(system: &str, value: &str) -> String {
    format!("identifier={system}|{value}")
}

/// Of `request.url`, without a condition.
fn path_of<'r>(request: &'r Json) -> &'r str {
    request.str("url").and_then(|url| url.split('?').next()).unwrap_or_default().trim_matches('/')
}
