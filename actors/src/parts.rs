//! What a site's pipeline is made of; the program builds these from its configuration.

use std::time::Duration;

use ml_scoring::{AlertPolicy, Scorer};
use raft_ledger::Ledger;

use crate::silence::Silence;

pub struct Parts {
    pub site: String,
    pub ledger: Ledger,
    pub feeds: Vec<Feed>,
    pub sinks: Vec<Sink>,
    pub scorers: Vec<Scorer>,
    /// Models that score as these do and alert nobody.
    pub shadow_scorers: Vec<Scorer>,
    pub policy: AlertPolicy,
    /// How often hours are closed for patients who send nothing; an hour in production.
    pub tick: Duration,
}

pub struct Feed {
    pub name: String,
    /// `mllp`, `kafka`, `amqp`, `http`, `file`.
    pub kind: &'static str,
    pub source: Box<dyn connectors::Source>,
    pub reader: clinical::Feed,
    pub limits: clinical::hl7::Limits,
    pub on_error: OnError,
    pub ack: Ack,
    /// Where HL7 enhanced mode's application answers go as messages of their own; without it they follow the first ones
    /// on the connection that brought the message.
    pub application_acks: Option<Box<dyn connectors::Sink>>,
    pub silence: Silence,
}

/// The point before which no positive answer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// A quorum has the message and this site has applied it.
    Quorum,
    /// The message is durable in this site's outbox, which forwards it.
    Site,
}

impl Ack {
    /// As in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Ack::Quorum => "quorum",
            Ack::Site => "site",
        }
    }
}

/// What a transport does with a message that was refused. It is in the ledger either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Acknowledged; it waits in the ledger for a person.
    Hold,
    /// The same, and it is read again by itself when the feed starts and reads otherwise, at most so often.
    Retry(u8),
    /// Published to the feed's dead-letter topic or exchange, then acknowledged.
    DeadLetter,
}

pub struct Sink {
    pub name: String,
    pub kind: &'static str,
    pub sink: Box<dyn connectors::Sink>,
    pub form: SinkForm,
    /// Sites whose alerts it also gets while this site stands in for them.
    pub takeover_for: Vec<String>,
    pub on_nack: OnNack,
}

/// What becomes of an alert that its receiver refuses. The refusal is in the ledger either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNack {
    /// It is not sent again, and the next one follows.
    Skip,
    /// Nothing follows it until a person has let it go.
    Hold,
    /// It is sent so often again, at growing intervals, and then as with `Skip`.
    Retry(u8),
}

impl OnNack {
    /// As in the configuration.
    pub fn text(self) -> String {
        match self {
            OnNack::Skip => "skip".into(),
            OnNack::Hold => "hold".into(),
            OnNack::Retry(times) => format!("retry {times}"),
        }
    }
}

/// How an alert is written for its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkForm {
    /// FHIR R4 collection Bundle.
    FhirBundle,
    /// HL7 v2 ORU^R01.
    Oru { sending: String, receiving: String },
}
