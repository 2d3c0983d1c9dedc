//! How long an application answer is tried. Decides and does nothing.

use connectors::SinkError;

/// AE and CE also mean "not now"; AR and CR do not.
const REFUSALS_MAX: u32 = 5;
/// A receiver may acknowledge no ACK at all, and later answers must not wait for it for good.
const UNANSWERED_MAX: u32 = 5;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    Again,
    /// The next answer follows. Named as it is counted.
    GivenUp(&'static str),
}

/// A receiver that is away is waited for in any case.
#[derive(Default)]
pub(super) struct Patience {
    refused: u32,
    unanswered: u32,
    /// The last answer was given up for want of any word to it: the next ones go out once each, until there is one.
    is_mute: bool,
}

impl Patience {
    /// Of a try that failed.
    pub fn after(&mut self, error: &SinkError) -> After {
        match error {
            SinkError::Unreachable(_) | SinkError::Unroutable(_) => After::Again,
            SinkError::Unanswered(_) => {
                self.unanswered += 1;
                let tries = if self.is_mute { 1 } else { UNANSWERED_MAX };
                if self.unanswered < tries { After::Again } else { After::GivenUp("unanswered") }
            }
            SinkError::Refused(code) => {
                self.is_mute = false;
                self.refused += 1;
                let may_take_it_later = matches!(code.as_str(), "AE" | "CE");
                if may_take_it_later && self.refused < REFUSALS_MAX {
                    After::Again
                } else {
                    After::GivenUp("refused")
                }
            }
        }
    }

    /// For the next answer; `outcome` of this one.
    pub fn begin_anew(&mut self, outcome: &str) {
        *self = Patience { is_mute: outcome == "unanswered", ..Patience::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_goes_by_what_the_receiver_says() {
        let refused = |code: &str| SinkError::Refused(code.into());
        let unanswered = || SinkError::Unanswered("nothing".into());
        let mut patience = Patience::default();
        let mut tries_of = |error: &SinkError| {
            let tries = (1..=100).find_map(|tries| match patience.after(error) {
                After::Again => None,
                After::GivenUp(outcome) => Some((tries, outcome)),
            });
            if let Some((_, outcome)) = tries {
                patience.begin_anew(outcome);
            }
            tries
        };
        assert_eq!(tries_of(&SinkError::Unreachable("away".into())), None, "it is waited for");
        for (code, tries) in [("AE", 5), ("CE", 5), ("AR", 1), ("CR", 1)] {
            assert_eq!(tries_of(&refused(code)), Some((tries, "refused")), "{code}");
        }
        assert_eq!(tries_of(&unanswered()), Some((5, "unanswered")));
        assert_eq!(tries_of(&unanswered()), Some((1, "unanswered")), "it acknowledges none");
        assert_eq!(tries_of(&refused("AR")), Some((1, "refused")));
        assert_eq!(tries_of(&unanswered()), Some((5, "unanswered")), "it has said a word since");
    }
}
