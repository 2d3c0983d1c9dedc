//! What each entry of a transaction or batch came to.

use std::collections::BTreeMap;

use clinical::fhir::{Entry, EntryAnswer};
use clinical::{Issue, Severity};
use raft_ledger::Draft;

use super::{Reader, Seen};
use crate::entry::Format;
use crate::resources::{self, Address};

impl Reader {
    /// One line an entry. `given`: the id that the site gives to the Bundle; `named`: by which names of its entries it
    /// is found.
    pub(super) fn entry_answers(
        &self,
        entries: &[Entry],
        refused: &BTreeMap<usize, Vec<Issue>>,
        given: &str,
        named: &[String],
    ) -> Vec<EntryAnswer> {
        let answer = |(place, entry): (usize, &Entry)| {
            if let Some(issues) = refused.get(&place) {
                return EntryAnswer {
                    status: status(issues).into(),
                    location: String::new(),
                    issues: issues.clone(),
                };
            }
            let Some(type_) = entry.resource_type.as_deref() else {
                return EntryAnswer { status: "200 OK".into(), ..EntryAnswer::default() };
            };
            let own = entry.id.as_deref().filter(|id| named.contains(&resources::named(type_, id)));
            let updated = own.is_some_and(|id| self.resources.is_known(&resources::named(type_, id)));
            let status = if updated { "200 OK" } else { "201 Created" };
            let address = Address::of(type_, own, resources::entry_id(given, place));
            EntryAnswer { status: status.into(), location: address.location(), issues: Vec::new() }
        };
        entries.iter().enumerate().map(answer).collect()
    }

    /// A batch's entries that cannot be used are kept like messages that cannot.
    pub(super) fn refused_entries(
        &self,
        seen: &Seen,
        entries: &[Entry],
        refused: &BTreeMap<usize, Vec<Issue>>,
    ) -> Vec<Draft> {
        let draft = |(place, issues): (&usize, &Vec<Issue>)| {
            let entry = entries.get(*place)?;
            let raw = if entry.bytes.is_empty() { &entry.whole } else { &entry.bytes };
            let id = entry.id.as_deref().unwrap_or_default();
            Some(self.rejected(seen, Format::Fhir, [id, ""], raw, issues))
        };
        refused.iter().filter_map(draft).collect()
    }
}

/// The names by which a Bundle's entries are found: those that are put at an id of their sender's.
pub(super) fn names(entries: &[Entry], refused: &BTreeMap<usize, Vec<Issue>>) -> Vec<String> {
    let taken = entries
        .iter()
        .enumerate()
        .filter(|(place, entry)| entry.method.as_deref() == Some("PUT") && !refused.contains_key(place));
    taken.filter_map(|(_, e)| Some(resources::named(e.resource_type.as_deref()?, e.id.as_deref()?))).collect()
}

fn status(issues: &[Issue]) -> &'static str {
    let first = issues.iter().find(|issue| issue.severity == Severity::Error);
    match first.map(|issue| &*issue.code) {
        Some("fhir-method-unsupported") => "405 Method Not Allowed",
        Some("fhir-condition-unsupported") => "412 Precondition Failed",
        _ => "422 Unprocessable Entity",
    }
}
