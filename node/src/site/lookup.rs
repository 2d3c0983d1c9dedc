//! `GET /fhir/metadata` and `GET /fhir/{Type}/{id}`: ids are ledger indices, as the answer to a create said.

use actors::entry::{self, Format, Kind};
use async_trait::async_trait;
use bytes::Bytes;
use clinical::Time;
use connectors::{Reply, fhir_rest};
use raft_ledger::{Ledger, Payload};

const CONTENT_TYPE: &str = "application/fhir+json";

pub struct Lookup {
    ledger: Ledger,
    started_at: Time,
}

impl Lookup {
    pub fn new(ledger: Ledger) -> Lookup {
        Lookup { ledger, started_at: Time(jiff::Timestamp::now().as_millisecond()) }
    }

    /// The resource as it was sent, when this site has it and may open it.
    fn find(&self, resource_type: &str, id: &str) -> Option<Bytes> {
        let index: u64 = id.parse().ok()?;
        let entry = self.ledger.read_from(index, 1).ok()?.into_iter().find(|entry| entry.index == index)?;
        if entry.kind != Kind::Message as u16 {
            return None;
        }
        let Payload::Open(payload) = entry.payload else { return None };
        let (head, raw) = entry::decode::<entry::Message>(&payload).ok()?;
        (head.format == Format::Fhir && head.type_ == resource_type).then_some(raw)
    }
}

#[async_trait]
impl fhir_rest::Lookup for Lookup {
    async fn metadata(&self) -> Reply {
        let body = clinical::fhir::metadata("/fhir", env!("CARGO_PKG_VERSION"), self.started_at);
        Reply { status: 200, content_type: CONTENT_TYPE, location: None, body: body.into() }
    }

    async fn read(&self, resource_type: &str, id: &str) -> Reply {
        match self.find(resource_type, id) {
            Some(body) => Reply { status: 200, content_type: CONTENT_TYPE, location: None, body },
            None => {
                let issue = clinical::Issue {
                    severity: clinical::Severity::Error,
                    code: "not-found".into(),
                    location: resource_type.to_owned(),
                    text: "there is no such resource at this site; use the location that the create answered"
                        .into(),
                };
                let body = clinical::fhir::outcome(&[issue]);
                Reply { status: 404, content_type: CONTENT_TYPE, location: None, body: body.into() }
            }
        }
    }
}
