//! MSH, SFT and EVN to MessageHeader and Provenance.

use super::datatypes::{first, part, text};
use super::{Writer, tables};
use crate::fhir::common::{coding, system};
use crate::fhir::json::{self, Json, Object, array, members_of, object, trim};
use crate::fhir::primitive;
use crate::hl7::{Part, Segment};

impl<'m> Writer<'m> {
    pub(super) fn header(&mut self, msh: Segment<'m>) {
        if !self.entries.is_empty() {
            return;
        }
        let sender = msh.valued(4).and_then(|hd| self.facility(hd));
        let receiver = msh.valued(6).and_then(|hd| self.facility(hd));
        let responsible = msh.valued(22).and_then(|xon| self.organization(xon, None));
        let refer = |place: Option<usize>| place.map_or(Json::Null, Json::Entry);
        let source = msh.valued(24).or_else(|| msh.valued(3));
        let destination = msh.valued(25).or_else(|| msh.valued(5));
        let name = |n: usize| msh.valued(n).map(|hd| first(hd, 1)).unwrap_or_default();
        let destination = object([
            ("name", text(name(5))),
            ("endpoint", destination.map_or(Json::Null, endpoint)),
            ("receiver", refer(receiver)),
        ]);
        // Without an address it is no destination (R4: 1..1).
        let destination = if destination.get("endpoint").is_some() { destination } else { Json::Null };
        let unknown = || text(system("unknown"));
        let source_endpoint = source.map(endpoint).filter(|e| !json::is_empty(e)).unwrap_or_else(unknown);
        let body = members_of([
            event(&self.message.type_(), part_of_type(msh)),
            ("destination", array([destination])),
            ("sender", refer(sender)),
            ("source", object([("name", text(name(3))), ("endpoint", source_endpoint)])),
            ("responsible", refer(responsible)),
        ]);
        let id = self.id(&["MessageHeader", &self.message.control_id()]);
        self.header = self.put("MessageHeader", id, body);
    }

    /// The first SFT that names its product.
    pub(super) fn software(&mut self, sft: Segment<'m>) {
        let (version, product) = (sft.text(2, 1), sft.text(3, 1));
        self.touch(self.header);
        let Some(entry) = self.entries.get_mut(self.header) else { return };
        let Json::Object(source) = entry.body.member("source", object([])) else { return };
        for (key, value) in [("software", product), ("version", version)] {
            if source.get(key).is_none() && !value.trim().is_empty() && value != "\"\"" {
                source.members.push((key.into(), text(value)));
            }
        }
    }

    /// Who recorded the event, and when: only where both are said.
    pub(super) fn provenance(&mut self, evn: Segment<'m>) {
        // EVN-1 repeats the trigger.
        self.touch(self.header);
        let target = array([Json::Entry(self.header)]);
        let mut body = Object { members: vec![("target".into(), target)], span: 0..0 };
        self.fill(&mut body, evn, "EVN", "Provenance");
        let sender = self.entries[self.header].body.get("sender").cloned();
        if body.get("agent").is_none()
            && let Some(sender) = sender
        {
            body.members.push(("agent".into(), array([object([("who", sender)])])));
        }
        if body.get("recorded").is_some() && body.get("agent").is_some() {
            let id = self.id(&["Provenance", &self.message.control_id()]);
            self.put("Provenance", id, body);
        }
    }
}

/// HD as an address: its universal id where it is one, else its name.
fn endpoint(hd: Part<'_>) -> Json<'_> {
    let (name, universal) = (trim(part(hd, 1)), trim(part(hd, 2)));
    let address = system(if universal.is_empty() { name } else { universal });
    if address.contains(char::is_whitespace) {
        return Json::Null;
    }
    let address = text(address);
    if primitive::is_valid("url", &address) { address } else { Json::Null }
}

/// `ADT^A01^ADT_A01`, as written.
fn part_of_type(msh: Segment<'_>) -> String {
    let parts = [1, 2, 3].map(|n| msh.text(9, n).trim().to_owned());
    parts.join("^").trim_end_matches('^').to_owned()
}

/// The trigger as a code of table 0003; a local one as an address.
fn event<'m>(type_: &str, written: String) -> (&'static str, Json<'m>) {
    let trigger = type_.split('^').nth(1).unwrap_or_default();
    match tables::concept("EventType", trigger) {
        Some(found) => ("eventCoding", coding(&*found.system, found.code, "")),
        None => ("eventUri", text(system(if written.is_empty() { "unknown".to_owned() } else { written }))),
    }
}
