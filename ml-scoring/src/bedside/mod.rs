//! Bedside scores: published rules that need no training. A ward without a model still has these.
//!
//! Each says `insufficient data` rather than adding up too little. A missing part adds nothing to a total, as on paper.

mod kdigo;
// Models see the points of single values as features.
pub(crate) mod news2;
pub(crate) mod qsofa;
mod score;
pub(crate) mod sirs;
pub(crate) mod sofa;
mod urine;

use clinical::{PatientState, Time};

pub(crate) use score::points_or_nan;
pub use score::{Part, Score};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bedside {
    /// Royal College of Physicians, 2017.
    News2,
    /// ACCP/SCCM consensus conference, 1992.
    Sirs,
    /// Sepsis-3, 2016.
    Qsofa,
    /// Vincent et al., 1996: the parts that are known.
    Sofa,
    /// KDIGO 2012: stage of acute kidney injury.
    Kdigo,
}

/// What each file of this module says of its score.
struct Spec {
    /// As configuration and alerts write it.
    name: &'static str,
    /// As people and `--rule` write it.
    title: &'static str,
    /// What it looks for.
    task: &'static str,
    /// Alerts cite its hash: what changes a total, or whether there is one, is a new version.
    version: &'static str,
    /// Highest total.
    max: u8,
    /// Total from which a patient belongs on the watch list.
    watch: u8,
    /// Total from which an alert may interrupt; `None`: the source names one limit only, which is the watch list's.
    interruptive: Option<u8>,
    of: fn(&PatientState, Time) -> Option<Score>,
}

impl Bedside {
    pub const ALL: [Bedside; 5] =
        [Bedside::News2, Bedside::Sirs, Bedside::Qsofa, Bedside::Sofa, Bedside::Kdigo];

    /// By the name that configuration and alerts write.
    pub fn from_name(name: &str) -> Option<Bedside> {
        Bedside::ALL.into_iter().find(|score| score.name() == name)
    }

    /// By the title that people write.
    pub fn from_title(title: &str) -> Option<Bedside> {
        Bedside::ALL.into_iter().find(|score| score.title() == title)
    }

    pub fn name(self) -> &'static str {
        self.spec().name
    }

    pub fn title(self) -> &'static str {
        self.spec().title
    }

    pub fn task(self) -> &'static str {
        self.spec().task
    }

    /// Highest total.
    pub fn max(self) -> u8 {
        self.spec().max
    }

    /// Total from which a patient belongs on the watch list.
    pub fn watch(self) -> u8 {
        self.spec().watch
    }

    /// Total from which an alert may interrupt.
    pub fn interruptive(self) -> Option<u8> {
        self.spec().interruptive
    }

    /// The score at `at`; `None` is `insufficient data`.
    pub fn score(self, state: &PatientState, at: Time) -> Option<Score> {
        (self.spec().of)(state, at)
    }

    pub(crate) fn version(self) -> &'static str {
        self.spec().version
    }

    fn spec(self) -> &'static Spec {
        match self {
            Bedside::News2 => &news2::SPEC,
            Bedside::Sirs => &sirs::SPEC,
            Bedside::Qsofa => &qsofa::SPEC,
            Bedside::Sofa => &sofa::SPEC,
            Bedside::Kdigo => &kdigo::SPEC,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_titles_and_versions_tell_them_apart() {
        for words in [Bedside::name, Bedside::title, Bedside::task, Bedside::version] {
            let distinct: HashSet<&str> = Bedside::ALL.into_iter().map(words).collect();
            assert_eq!(distinct.len(), Bedside::ALL.len(), "{distinct:?}");
        }
        for score in Bedside::ALL {
            assert_eq!(Bedside::from_name(score.name()), Some(score));
            assert_eq!(Bedside::from_title(score.title()), Some(score));
            assert!(0 < score.watch() && score.watch() <= score.interruptive().unwrap_or(score.max()));
        }
    }

    #[test]
    fn nothing_known_is_no_score() {
        for score in Bedside::ALL {
            assert!(score.score(&PatientState::default(), Time(0)).is_none(), "{}", score.title());
        }
    }
}
