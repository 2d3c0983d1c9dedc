//! One message at a time over MLLP: sent, and its answers waited for.

use std::time::Duration;

use bytes::Bytes;
use clinical::hl7::ack::{self, Asked};
use clinical::hl7::{Limits, Message};
use connectors::ConnectorError;
use connectors::mllp::{Client, ClientConfig, ClientReader, ClientWriter};
use tokio::time::Instant;

use crate::simulate::Answer;

/// For an answer that comes only for one outcome.
const PERHAPS: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(500);

pub struct Line {
    config: ClientConfig,
    ends: Option<(ClientWriter, ClientReader)>,
    patience: Duration,
}

/// What came of a message.
pub struct Heard {
    /// Every answer that is sure to be sent came; where not, the first one did: its receiver has the message.
    pub is_all: bool,
}

/// Whether another answer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Another {
    Sure,
    Perhaps,
    No,
}

impl Line {
    pub fn new(config: ClientConfig, patience: Duration) -> Line {
        Line { config, ends: None, patience }
    }

    /// Sends it until an answer to it comes, again where the connection is lost before. `hears` every answer, also those to
    /// others: they may be late.
    ///
    /// # Errors
    /// None came for as long as there is patience.
    pub async fn deliver(
        &mut self,
        message: &Bytes,
        mut hears: impl FnMut(&Answer),
    ) -> anyhow::Result<Heard> {
        let read = Message::parse(message.clone(), &Limits::default()).ok();
        let asked = read.as_ref().map(ack::asked);
        let control_id = read.as_ref().map(|message| message.control_id().into_owned());
        let until = Instant::now() + self.patience;
        let (mut last, mut is_sent) = (None, false);
        loop {
            let another = another(asked, last);
            if is_sent && another == Another::No {
                return Ok(Heard { is_all: true });
            }
            let answer = match self.exchange(message, &mut is_sent, another, until).await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Ok(Heard { is_all: another != Another::Sure }),
                Err(error) => {
                    (self.ends, is_sent) = (None, false);
                    match last {
                        // Its receiver has it: sent again it would be another one to hear of.
                        Some(_) => return Ok(Heard { is_all: another != Another::Sure }),
                        None if Instant::now() >= until => return Err(error.into()),
                        None => tokio::time::sleep(PAUSE).await,
                    }
                    continue;
                }
            };
            hears(&answer);
            // What is no acknowledgement, or names no message, can be to no other one.
            let is_own = control_id
                .as_ref()
                .is_none_or(|own| answer.control_id.is_empty() || answer.control_id == *own);
            if is_own {
                last = Some(answer.code);
            }
        }
    }

    /// `None`: an answer that may come did not.
    async fn exchange(
        &mut self,
        message: &Bytes,
        is_sent: &mut bool,
        another: Another,
        until: Instant,
    ) -> Result<Option<Answer>, ConnectorError> {
        if self.ends.is_none() {
            self.ends = Some(Client::connect(&self.config).await?.split());
        }
        let Some((writer, reader)) = &mut self.ends else { return Ok(None) };
        if !std::mem::replace(is_sent, true) {
            writer.write(message).await?;
        }
        let wait_until = match another {
            Another::Sure => until,
            Another::Perhaps => until.min(Instant::now() + PERHAPS),
            Another::No => return Ok(None),
        };
        match tokio::time::timeout_at(wait_until, reader.answer()).await {
            Ok(answer) => answer.map(|bytes| Some(Answer::read(bytes))),
            Err(_) if another == Another::Perhaps => Ok(None),
            Err(_) => {
                let (address, seconds) = (self.config.address.clone(), self.patience.as_secs());
                Err(ConnectorError::NoAnswer { address, seconds })
            }
        }
    }
}

/// After the last answer to it, if there was one; its code is `None` where it is no acknowledgement.
fn another(asked: Option<Asked>, last: Option<Option<ack::AckCode>>) -> Another {
    // Bytes that no receiver can read either are answered once.
    let Some(asked) = asked else { return if last.is_none() { Another::Sure } else { Another::No } };
    let answered = match last {
        None => (asked.accept.wants(true) || asked.application.wants(true), asked.refusal().is_some()),
        Some(Some(ack::AckCode::CommitAccept)) => {
            (asked.application.wants(true), asked.application.wants(false))
        }
        Some(_) => (false, false),
    };
    match answered {
        (true, true) => Another::Sure,
        (false, false) => Another::No,
        _ => Another::Perhaps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_waited_for_as_they_were_asked_for() {
        use ack::AckCode::{Accept, CommitAccept, CommitError};
        let asked = |asks: &str| {
            let text = format!("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5|||{asks}\r");
            Some(ack::asked(&Message::parse(text.into(), &Limits::default()).unwrap()))
        };
        for (asks, first, behind_ca) in [
            ("|", Another::Sure, Another::Sure),
            ("AL|AL", Another::Sure, Another::Sure),
            ("AL|NE", Another::Sure, Another::No),
            ("AL|ER", Another::Sure, Another::Perhaps),
            ("NE|AL", Another::Sure, Another::Sure),
            ("NE|NE", Another::No, Another::No),
            ("ER|NE", Another::Perhaps, Another::No),
            ("SU|ER", Another::Sure, Another::Perhaps),
        ] {
            assert_eq!(another(asked(asks), None), first, "{asks}");
            assert_eq!(another(asked(asks), Some(Some(CommitAccept))), behind_ca, "{asks}");
            assert_eq!(another(asked(asks), Some(Some(Accept))), Another::No, "{asks}");
            assert_eq!(another(asked(asks), Some(Some(CommitError))), Another::No, "{asks}");
        }
        assert_eq!((another(None, None), another(None, Some(None))), (Another::Sure, Another::No));
    }
}
