//! What follows a delivery that failed. Decides and does nothing.

use connectors::SinkError;

use crate::parts::OnNack;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// After a pause.
    Again {
        /// The receiver was there and did not want it.
        refused: bool,
    },
    /// Not again: the next alert follows.
    Skip(String),
    /// Not before a person says so, and nothing before it.
    Hold(String),
}

/// `refusals`: how often this alert was refused before.
pub(super) fn after(on_nack: OnNack, error: SinkError, refusals: u8) -> After {
    match (error, on_nack) {
        (SinkError::Unreachable(_) | SinkError::Unanswered(_), _) => After::Again { refused: false },
        // A queue that nobody has bound yet: what was not asked for is not thrown away.
        (SinkError::Unroutable(_), OnNack::Skip) => After::Again { refused: false },
        (SinkError::Refused(reason) | SinkError::Unroutable(reason), OnNack::Hold) => After::Hold(reason),
        (SinkError::Refused(_) | SinkError::Unroutable(_), OnNack::Retry(times)) if refusals < times => {
            After::Again { refused: true }
        }
        (SinkError::Refused(reason) | SinkError::Unroutable(reason), OnNack::Retry(_))
        | (SinkError::Refused(reason), OnNack::Skip) => After::Skip(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_goes_by_the_destination() {
        let away = || SinkError::Unreachable("away".into());
        let refused = || SinkError::Refused("AE".into());
        let nowhere = || SinkError::Unroutable("no queue".into());
        for on_nack in [OnNack::Skip, OnNack::Hold, OnNack::Retry(2)] {
            assert_eq!(after(on_nack, away(), 9), After::Again { refused: false }, "{on_nack:?}");
        }
        assert_eq!(after(OnNack::Skip, refused(), 0), After::Skip("AE".into()));
        assert_eq!(after(OnNack::Skip, nowhere(), 0), After::Again { refused: false });
        assert_eq!(after(OnNack::Hold, refused(), 0), After::Hold("AE".into()));
        assert_eq!(after(OnNack::Hold, nowhere(), 0), After::Hold("no queue".into()));
        for error in [refused, nowhere] {
            assert_eq!(after(OnNack::Retry(2), error(), 1), After::Again { refused: true });
            assert!(matches!(after(OnNack::Retry(2), error(), 2), After::Skip(_)));
        }
    }
}
