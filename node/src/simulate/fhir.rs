//! Sends the simulated hospital's messages as FHIR R4 Bundles over REST: the same facts in the other standard.

use std::time::Duration;

use async_trait::async_trait;
use clinical::hl7;
use connectors::{Outbound, Sink, SinkError};

pub struct Poster {
    url: String,
    client: reqwest::Client,
}

impl Poster {
    pub fn new(url: &str) -> anyhow::Result<Poster> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        Ok(Poster { url: url.to_owned(), client })
    }
}

#[async_trait]
impl Sink for Poster {
    async fn deliver(&mut self, message: &Outbound) -> Result<(), SinkError> {
        // A broken message goes out as it is: the receiver's answer to it is part of the simulation.
        let body = to_bundle(message).unwrap_or_else(|| message.body.to_vec());
        let request = self.client.post(&self.url).header("content-type", "application/fhir+json").body(body);
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) if answer.status().is_server_error() || answer.status().as_u16() == 429 => {
                Err(SinkError::Unreachable(format!("HTTP {}", answer.status())))
            }
            Ok(answer) => Err(SinkError::Refused(format!("HTTP {}", answer.status()))),
            Err(error) => Err(SinkError::Unreachable(error.without_url().to_string())),
        }
    }
}

fn to_bundle(message: &Outbound) -> Option<Vec<u8>> {
    let parsed = hl7::Message::parse(message.body.clone(), &hl7::Limits::default()).ok()?;
    let feed = clinical::Feed {
        authority: "SIMHOSP".into(),
        codes: clinical::CodeTable::parse(super::CODES).ok()?,
        ..clinical::Feed::default()
    };
    let (events, issues) = hl7::to_events(&parsed, &feed, clinical::Time(i64::MAX));
    if events.is_empty() || issues.iter().any(|issue| issue.severity == clinical::Severity::Error) {
        return None;
    }
    Some(clinical::fhir::from_hl7(&parsed, &feed, clinical::Time(0)))
}
