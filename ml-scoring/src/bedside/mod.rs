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
use sha2::{Digest, Sha256};

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
    /// NEWS2 as alerts cite it by version 1. One of [`Bedside::FORMER`].
    News2Version1,
    /// By version 2, which judged children too.
    News2Version2,
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
    /// Completed years from which the source means a patient; 0: it names none.
    age_min: u8,
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

    /// What earlier releases scored by: no site scores by them any more, but their alerts can still be explained.
    /// A version that was ever released stays here.
    const FORMER: [Bedside; 2] = [Bedside::News2Version1, Bedside::News2Version2];

    /// The one whose version has this hash, also a former one.
    pub(crate) fn from_hash(hash: &[u8; 32]) -> Option<Bedside> {
        Bedside::ALL.into_iter().chain(Bedside::FORMER).find(|score| score.hash() == *hash)
    }

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

    /// A total as a share of the highest one: what stands for a risk.
    pub(crate) fn share(self, total: f64) -> f64 {
        total / f64::from(self.max())
    }

    /// The score at `at`; `None` is `insufficient data`.
    pub fn score(self, state: &PatientState, at: Time) -> Option<Score> {
        if !self.is_for(state) {
            return None;
        }
        (self.spec().of)(state, at)
    }

    /// Whether its source means a patient of this age; one of unknown age is taken for one of them.
    pub fn is_for(self, state: &PatientState) -> bool {
        state.age_years().is_none_or(|age| age >= self.spec().age_min)
    }

    pub(crate) fn hash(self) -> [u8; 32] {
        Sha256::digest(format!("medulla rule: {}", self.spec().version)).into()
    }

    fn spec(self) -> &'static Spec {
        match self {
            Bedside::News2 => &news2::SPEC,
            Bedside::Sirs => &sirs::SPEC,
            Bedside::Qsofa => &qsofa::SPEC,
            Bedside::Sofa => &sofa::SPEC,
            Bedside::Kdigo => &kdigo::SPEC,
            Bedside::News2Version1 => &news2::VERSION_1,
            Bedside::News2Version2 => &news2::VERSION_2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_titles_and_versions_tell_them_apart() {
        for words in [Bedside::name, Bedside::title, Bedside::task] {
            let distinct: HashSet<&str> = Bedside::ALL.into_iter().map(words).collect();
            assert_eq!(distinct.len(), Bedside::ALL.len(), "{distinct:?}");
        }
        for score in Bedside::ALL {
            assert_eq!(Bedside::from_name(score.name()), Some(score));
            assert_eq!(Bedside::from_title(score.title()), Some(score));
            assert!(0 < score.watch() && score.watch() <= score.interruptive().unwrap_or(score.max()));
        }
    }

    /// Alerts in ledgers cite these: where one of them changes, its version was not raised, or a former one is lost.
    #[test]
    fn hashes_that_alerts_cite_stay() {
        let cited = |score: Bedside| hex::encode(&score.hash()[..4]);
        let all: Vec<String> = Bedside::ALL.into_iter().chain(Bedside::FORMER).map(cited).collect();
        assert_eq!(all, ["476d9c2e", "65bef80f", "00fd788a", "fea0fc61", "cf0951e1", "50982a3f", "b387dc72"]);
        for score in Bedside::FORMER {
            assert_eq!(Bedside::from_hash(&score.hash()), Some(score));
            assert!(
                Bedside::from_name(score.name()).is_some_and(|now| now != score),
                "configuration means today's"
            );
        }
        assert_eq!(Bedside::from_hash(&[0; 32]), None);
    }

    #[test]
    fn nothing_known_is_no_score() {
        for score in Bedside::ALL {
            assert!(score.score(&PatientState::default(), Time(0)).is_none(), "{}", score.title());
        }
    }
}
