//! XCN, XON and HD to Practitioner and Organization: one resource for each that the sender names.

use std::borrow::Cow;

use super::Writer;
use super::datatypes::{assigner, authority, code_system, first, identifier_of, part, text, xad};
use super::tables;
use crate::fhir::common::Uuid;
use crate::fhir::json::{Json, array, members_of, object, trim};
use crate::hl7::Part;

impl<'m> Writer<'m> {
    /// XCN, or a CNN one level down; the place of its Practitioner.
    pub(super) fn practitioner(&mut self, xcn: Part<'m>) -> Option<usize> {
        let id = trim(part(xcn, 1));
        let (family, given) = (first(xcn, 2), [part(xcn, 3), part(xcn, 4)]);
        let authority = xcn.below(9).map(authority).unwrap_or_default();
        let names = [family.trim(), given[0].trim(), given[1].trim()];
        if id.is_empty() && names.iter().all(|n| n.is_empty()) {
            return None;
        }
        let sender = &self.sender;
        let key = match (&*id, &*authority) {
            ("", _) => Uuid::of(&["Practitioner", sender, "name", names[0], names[1], names[2]]),
            (id, "") => Uuid::of(&["Practitioner", sender, id, names[0], names[1]]),
            (id, authority) => Uuid::of(&["Practitioner", authority, id]),
        };
        let name = object([
            ("use", text(tables::code("NameType", &part(xcn, 10)).unwrap_or_default())),
            ("family", text(family)),
            ("given", array(given.map(text))),
            ("prefix", array([text(part(xcn, 6))])),
            ("suffix", array([text(part(xcn, 5)), text(part(xcn, 7))])),
        ]);
        let name =
            if name.str("family").is_none() && name.get("given").is_none() { Json::Null } else { name };
        let identifier = identifier_of(id, xcn.below(9), part(xcn, 13));
        let body = members_of([("identifier", array([identifier])), ("name", array([name]))]);
        Some(self.put("Practitioner", key, body))
    }

    /// XON; the place of its Organization, which is at this address (XAD).
    pub(super) fn organization(&mut self, xon: Part<'m>, address: Option<Part<'m>>) -> Option<usize> {
        let name = trim(part(xon, 1));
        let mut ids = [10, 3].into_iter().map(|n| trim(part(xon, n)));
        let id = ids.find(|id| !id.is_empty()).unwrap_or_default();
        let authority = xon.below(6).map(authority).unwrap_or_default();
        let identifier = identifier_of(id.clone(), xon.below(6), part(xon, 7));
        let address = address.map_or(Json::Null, xad);
        self.named_organization(name, &id, &authority, identifier, address)
    }

    /// HD; an Organization by its name, with its universal id as identifier.
    pub(super) fn facility(&mut self, hd: Part<'m>) -> Option<usize> {
        let (name, universal) = (part(hd, 1), part(hd, 2));
        let known = assigner(name.clone(), universal.clone(), part(hd, 3));
        let identifier = known.get("identifier").cloned().unwrap_or(Json::Null);
        self.named_organization(trim(name), universal.trim(), "", identifier, Json::Null)
    }

    /// CWE of a maker: RXA-17 (table 0227).
    pub(super) fn manufacturer(&mut self, cwe: Part<'m>) -> Option<usize> {
        let (code, name) = (trim(part(cwe, 1)), trim(part(cwe, 2)));
        let system = code_system(part(cwe, 3));
        let identifier = object([("system", text(system.clone())), ("value", text(code.clone()))]);
        let identifier = if code.is_empty() { Json::Null } else { identifier };
        self.named_organization(name, &code, &system, identifier, Json::Null)
    }

    fn named_organization(
        &mut self,
        name: Cow<'m, str>,
        id: &str,
        authority: &str,
        identifier: Json<'m>,
        address: Json<'m>,
    ) -> Option<usize> {
        if name.is_empty() && id.is_empty() {
            return None;
        }
        let scope = if authority.is_empty() { self.sender.as_str() } else { authority };
        let key = Uuid::of(&["Organization", scope, id, &name]);
        let body = members_of([
            ("identifier", array([identifier])),
            ("name", text(name)),
            ("address", array([address.clone()])),
        ]);
        let at = self.put("Organization", key, body);
        // Named before without its address.
        if self.entries[at].body.get("address").is_none() {
            self.push(at, "address", address);
        }
        Some(at)
    }
}
