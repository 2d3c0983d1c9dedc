//! Feeds that bring nothing when they should: a flag that is raised, told and cleared.

mod rhythm;
mod watch;

use std::time::Duration;

use clinical::Time;
use serde::Serialize;

pub(crate) use watch::{Sitter, Watch};

/// When the silence of a feed is out of the ordinary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// By what it brought at that hour of the week in the weeks before.
    Auto,
    After(Duration),
    Off,
}

impl Silence {
    /// As in the configuration.
    pub fn text(self) -> String {
        match self {
            Silence::Auto => "auto".to_owned(),
            Silence::Off => "off".to_owned(),
            Silence::After(after) => span(after),
        }
    }
}

/// A feed that is silent and should not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedSilent {
    /// Its last message, or when the site began to listen.
    pub since: Time,
    /// In words.
    pub why: String,
}

/// `90s`, `15m`, `2h`: the largest unit that says it without a rest.
fn span(time: Duration) -> String {
    match time.as_secs() {
        s if s > 0 && s.is_multiple_of(3_600) => format!("{}h", s / 3_600),
        s if s > 0 && s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}
