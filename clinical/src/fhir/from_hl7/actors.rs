//! XCN, XON and HD to Practitioner and Organization: one resource for each that the sender names.

use super::Writer;
use super::datatypes::{assigner, authority, code_system, first, identifier_of, part, text, xad};
use super::tables;
use crate::fhir::common::uuid;
use crate::fhir::json::{Json, array, object};
use crate::hl7::Part;

impl<'m> Writer<'m> {
    /// XCN, or a CNN one level down; the URL of its Practitioner.
    pub(super) fn practitioner(&mut self, xcn: Part<'m>) -> Option<String> {
        let id = part(xcn, 1).trim().to_owned();
        let (family, given) = (first(xcn, 2), [part(xcn, 3), part(xcn, 4)]);
        let authority = xcn.below(9).map(authority).unwrap_or_default();
        let names = [family.trim(), given[0].trim(), given[1].trim()];
        if id.is_empty() && names.iter().all(|n| n.is_empty()) {
            return None;
        }
        let sender = self.sender.clone();
        let key = match (id.as_str(), authority.as_str()) {
            ("", _) => uuid(&["Practitioner", &sender, "name", names[0], names[1], names[2]]),
            (id, "") => uuid(&["Practitioner", &sender, id, names[0], names[1]]),
            (id, authority) => uuid(&["Practitioner", authority, id]),
        };
        let name = object([
            ("use", text(tables::code("NameType", &part(xcn, 10)).unwrap_or_default())),
            ("family", text(&family)),
            ("given", array(given.iter().map(text))),
            ("prefix", array([text(part(xcn, 6))])),
            ("suffix", array([text(part(xcn, 5)), text(part(xcn, 7))])),
        ]);
        let name =
            if name.str("family").is_none() && name.get("given").is_none() { Json::Null } else { name };
        let identifier = identifier_of(&id, xcn.below(9), &part(xcn, 13));
        let members = vec![("identifier", array([identifier])), ("name", array([name]))];
        Some(self.put("Practitioner", key, members))
    }

    /// XON; the URL of its Organization, which is at this address (XAD).
    pub(super) fn organization(&mut self, xon: Part<'m>, address: Option<Part<'m>>) -> Option<String> {
        let name = part(xon, 1).trim().to_owned();
        let mut ids = [10, 3].into_iter().map(|n| part(xon, n).trim().to_owned());
        let id = ids.find(|id| !id.is_empty()).unwrap_or_default();
        let authority = xon.below(6).map(authority).unwrap_or_default();
        let identifier = identifier_of(&id, xon.below(6), &part(xon, 7));
        let address = address.map_or(Json::Null, xad);
        self.named_organization(&name, &id, &authority, vec![identifier], address)
    }

    /// HD; an Organization by its name, with its universal id as identifier.
    pub(super) fn facility(&mut self, hd: Part<'m>) -> Option<String> {
        let (name, universal) = (part(hd, 1), part(hd, 2));
        let known = assigner(&name, &universal, &part(hd, 3));
        let identifier = known.get("identifier").cloned().unwrap_or(Json::Null);
        self.named_organization(name.trim(), universal.trim(), "", vec![identifier], Json::Null)
    }

    /// CWE of a maker: RXA-17 (table 0227).
    pub(super) fn manufacturer(&mut self, cwe: Part<'m>) -> Option<String> {
        let (code, name) = (part(cwe, 1).trim().to_owned(), part(cwe, 2).trim().to_owned());
        let system = code_system(&part(cwe, 3));
        let identifier = object([("system", text(&system)), ("value", text(&code))]);
        let identifier = if code.is_empty() { Json::Null } else { identifier };
        self.named_organization(&name, &code, &system, vec![identifier], Json::Null)
    }

    fn named_organization(
        &mut self,
        name: &str,
        id: &str,
        authority: &str,
        identifiers: Vec<Json>,
        address: Json,
    ) -> Option<String> {
        if name.is_empty() && id.is_empty() {
            return None;
        }
        let sender = self.sender.clone();
        let scope = if authority.is_empty() { sender.as_str() } else { authority };
        let key = uuid(&["Organization", scope, id, name]);
        let members = vec![
            ("identifier", array(identifiers)),
            ("name", text(name)),
            ("address", array([address.clone()])),
        ];
        let url = self.put("Organization", key, members);
        // Named before without its address.
        if let Some(at) = self.place_of(&url)
            && self.entries[at].body.get("address").is_none()
        {
            self.push(at, "address", address);
        }
        Some(url)
    }
}
