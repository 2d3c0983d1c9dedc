//! What a Patient is called at a server. A logical id (R4 resource.html#identifiers) is no record number: `Patient/4711`
//! and the number 4711 may be two people. So logical ids have authorities of their own, `fhir:` and the feed's authority,
//! or `fhir://` and the server's address, and a Patient that has an identifier, too, is merged from one to the other.

use smol_str::SmolStr;

use crate::fhir::json::Json;
use crate::fhir::primitive::is_id;
use crate::{Feed, PatientId};

/// Hex digits of an id that this site gave to a resource that was created without one.
const GIVEN_ID: usize = 32;

/// What names a resource beside its own id: nothing, unless it is an entry of a Bundle.
#[derive(Clone, Copy, Default)]
pub(super) struct Place<'e> {
    pub full_url: Option<&'e str>,
    pub method: Option<&'e str>,
}

impl<'e> Place<'e> {
    pub fn of(entry: &'e Json<'_>) -> Place<'e> {
        let method = entry.get("request").and_then(|request| request.str("method"));
        Place { full_url: entry.str("fullUrl"), method }
    }

    /// The server that the entry's relative references are meant at (R4 bundle.html#references).
    pub fn server(self) -> Option<&'e str> {
        Address::of(self.full_url?)?.server
    }

    /// Whether an id is the resource's own: under a `urn:` it is made up for the Bundle, unless the entry is to be put at
    /// that id.
    pub fn is_here(self) -> bool {
        self.full_url.is_none() || self.method == Some("PUT")
    }

    /// The names by which other messages may refer to this Patient.
    pub fn names(self, patient: &Json, feed: &Feed) -> Vec<PatientId> {
        let there = self.full_url.and_then(Address::of).filter(|address| address.type_ == "Patient");
        let there = there.filter(|address| address.server.is_some()).and_then(|a| a.patient(None, feed));
        let here = patient.str("id").filter(|_| self.is_here());
        let here = here.and_then(|id| Address { server: None, type_: "Patient", id }.patient(None, feed));
        here.into_iter().chain(there).collect()
    }

    /// Who it is where it has neither identifier nor name: the entry's own UUID, which nobody else has.
    pub fn uuid(self) -> Option<PatientId> {
        let uuid = self.full_url?.strip_prefix("urn:uuid:").filter(|uuid| uuid.len() == 36)?;
        Some(PatientId { authority: "fhir:urn:uuid".into(), id: uuid.into() })
    }
}

/// `Type/id` at a server, which a relative reference does not name.
#[derive(Clone, Copy)]
pub(super) struct Address<'r> {
    pub server: Option<&'r str>,
    pub type_: &'r str,
    pub id: &'r str,
}

impl<'r> Address<'r> {
    pub fn of(reference: &'r str) -> Option<Address<'r>> {
        let plain = reference.split("/_history/").next()?;
        let (before, id) = plain.rsplit_once('/')?;
        let (server, type_) = match before.rsplit_once('/') {
            Some((server, type_)) => (Some(server), type_),
            None => (None, before),
        };
        let is_server =
            server.is_none_or(|server| server.starts_with("http://") || server.starts_with("https://"));
        let is_type = type_.starts_with(|c: char| c.is_ascii_uppercase());
        (is_server && is_type && is_id(id)).then_some(Address { server, type_, id })
    }

    /// The patient of that logical id; a relative reference is meant `at` that server, else at the feed's.
    pub fn patient(self, at: Option<&str>, feed: &Feed) -> Option<PatientId> {
        let server = self.server.or(at).filter(|_| !is_given(self.id));
        let authority = match server {
            Some(server) => SmolStr::from(format!("fhir://{}", without_scheme(server))),
            None if feed.authority.is_empty() => return None,
            None => SmolStr::from(format!("fhir:{}", feed.authority)),
        };
        Some(PatientId { authority, id: self.id.into() })
    }

    /// An id that the answer to a Bundle gave to one of its entries: nothing says which patient that was.
    pub fn is_entry(&self) -> bool {
        let parts = self.id.split_once('-');
        parts.is_some_and(|(id, at)| is_given(id) && !at.is_empty() && at.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// The same server, however it is reached.
pub(super) fn without_scheme(url: &str) -> &str {
    url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or(url)
}

/// Whether this site gave it: also where a reference names the site by its address.
fn is_given(id: &str) -> bool {
    id.len() == GIVEN_ID && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
