//! What a scorer says of a patient at one time.

use crate::features::Group;

/// One feature's part in a score.
#[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Contribution {
    pub feature: String,
    /// NaN (`null` in JSON) = missing, which can speak too.
    #[serde(with = "nan_is_null")]
    pub value: f64,
    /// Model: part of the margin (log odds), TreeSHAP. Bedside score: points.
    pub weight: f64,
    pub group: Group,
    /// For a person to read: `lactate 3.1 mmol/L, up 1.2`.
    pub words: String,
}

/// How much of the weight that speaks for a risk each kind of feature has; all 0 where nothing speaks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    pub physiology: f64,
    pub trend: f64,
    pub care_process: f64,
}

impl Shares {
    pub fn of(weights: impl Iterator<Item = (Group, f64)>) -> Shares {
        let (mut shares, mut sum) = (Shares::default(), 0.0);
        for (group, weight) in weights.filter(|(_, weight)| *weight > 0.0) {
            *shares.place(group) += weight;
            sum += weight;
        }
        if sum > 0.0 {
            Group::ALL.into_iter().for_each(|group| *shares.place(group) /= sum);
        }
        shares
    }

    pub fn get(mut self, group: Group) -> f64 {
        *self.place(group)
    }

    pub fn rests_on_care_process(self) -> bool {
        self.care_process > 0.5
    }

    fn place(&mut self, group: Group) -> &mut f64 {
        match group {
            Group::Physiology => &mut self.physiology,
            Group::Trend => &mut self.trend,
            Group::CareProcess => &mut self.care_process,
        }
    }
}

/// Reasons of one kind.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ReasonGroup {
    pub group: Group,
    /// Of the weight that speaks for the risk.
    pub share: f64,
    /// In words, strongest first.
    pub reasons: Vec<String>,
}

/// Why a scorer keeps silent about a patient: the reason behind `insufficient data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Insufficient {
    /// Too few of the measurements that the scorer needs, or they are too old.
    TooFewMeasurements,
    /// The model is meant for intensive care; the patient is not there, or nothing says that he is.
    NotInIntensiveCare,
    /// The model or the rule is meant for adults; the patient is younger.
    NotAnAdult,
}

impl Insufficient {
    /// For a person to read, behind "insufficient data: ".
    pub fn words(self) -> &'static str {
        match self {
            Insufficient::TooFewMeasurements => "too few recent measurements",
            Insufficient::NotInIntensiveCare => "not in intensive care",
            Insufficient::NotAnAdult => "not an adult",
        }
    }
}

/// Risks from which a scorer speaks, by how loudly.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Thresholds {
    pub watch: f64,
    /// At least `watch`.
    pub interruptive: f64,
}

impl Thresholds {
    /// Above every risk, also by the share of it at which a tier is left: where nothing is to interrupt anybody.
    pub(crate) const NEVER: f64 = 2.0;
    /// Of what says yes (1) or no (0).
    pub(crate) const YES: Thresholds = Thresholds::only(1.0);

    /// The watch list alone.
    pub(crate) const fn only(watch: f64) -> Thresholds {
        Thresholds { watch, interruptive: Thresholds::NEVER }
    }
}

/// A risk with its reasons, or `insufficient data`.
#[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Assessment {
    pub scorer: String,
    pub task: String,
    /// SHA-256 of the model file, or of the rule's name and version.
    pub model_hash: [u8; 32],
    /// 0 to 1; `None` = insufficient data.
    pub risk: Option<f64>,
    /// Why there is no risk; `None` where there is one.
    pub insufficient: Option<Insufficient>,
    /// Risk from which the patient belongs on the watch list.
    pub threshold: f64,
    /// Risk from which an alert may interrupt; at least `threshold`.
    pub interruptive_threshold: f64,
    /// A bedside score's total; models have none.
    pub total: Option<u8>,
    /// Greatest weight first.
    pub contributions: Vec<Contribution>,
    /// More than half of the weight that speaks for the risk comes from how care is done and not from the patient.
    pub rests_on_care_process: bool,
}

impl Default for Assessment {
    fn default() -> Assessment {
        Assessment {
            scorer: String::new(),
            task: String::new(),
            model_hash: [0; 32],
            risk: None,
            insufficient: None,
            threshold: f64::INFINITY,
            interruptive_threshold: f64::INFINITY,
            total: None,
            contributions: Vec::new(),
            rests_on_care_process: false,
        }
    }
}

impl std::fmt::Debug for Contribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contribution({})", self.feature)
    }
}

impl std::fmt::Debug for Assessment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Assessment({}, redacted)", self.scorer)
    }
}

impl Assessment {
    pub fn thresholds(&self) -> Thresholds {
        Thresholds { watch: self.threshold, interruptive: self.interruptive_threshold }
    }

    /// The same risk, held to others.
    pub fn at_thresholds(mut self, thresholds: Thresholds) -> Assessment {
        (self.threshold, self.interruptive_threshold) = (thresholds.watch, thresholds.interruptive);
        self
    }

    /// The `n` strongest reasons that speak for the risk, in words.
    pub fn reasons(&self, n: usize) -> Vec<String> {
        self.contributions.iter().filter(|c| c.weight > 0.0).take(n).map(|c| c.words.clone()).collect()
    }
}

impl Assessment {
    pub fn shares(&self) -> Shares {
        Shares::of(self.contributions.iter().map(|c| (c.group, c.weight)))
    }

    /// The `n` strongest reasons, by kind; greatest share first.
    pub fn reasons_by_group(&self, n: usize) -> Vec<ReasonGroup> {
        let shares = self.shares();
        let strongest: Vec<&Contribution> =
            self.contributions.iter().filter(|c| c.weight > 0.0).take(n).collect();
        let of = |group: Group| {
            let own = strongest.iter().filter(|c| c.group == group);
            ReasonGroup { group, share: shares.get(group), reasons: own.map(|c| c.words.clone()).collect() }
        };
        let mut groups: Vec<ReasonGroup> = Group::ALL.into_iter().map(of).collect();
        groups.retain(|group| group.share > 0.0);
        groups.sort_by(|a, b| b.share.total_cmp(&a.share));
        groups
    }
}

/// Whether a risk has come to a threshold; NaN never has.
pub(crate) fn reaches(risk: f64, threshold: f64) -> bool {
    risk >= threshold
}

mod nan_is_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        (!value.is_nan()).then_some(*value).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_by_kind_with_their_share_of_what_speaks_for_the_risk() {
        let part = |group, weight, words: &str| Contribution {
            feature: String::new(),
            value: 1.0,
            weight,
            group,
            words: words.into(),
        };
        let contributions = vec![
            part(Group::CareProcess, 3.0, "long here"),
            part(Group::Physiology, -2.0, "calm pulse"),
            part(Group::Physiology, 1.5, "lactate"),
            part(Group::CareProcess, 0.5, "often measured"),
        ];
        let assessment = Assessment { contributions, ..Assessment::default() };
        let group = |group, share, reasons: &[&str]| ReasonGroup {
            group,
            share,
            reasons: reasons.iter().map(|words| (*words).to_owned()).collect(),
        };
        let expected =
            [group(Group::CareProcess, 0.7, &["long here"]), group(Group::Physiology, 0.3, &["lactate"])];
        assert_eq!(assessment.reasons_by_group(2), expected);
        assert!(assessment.shares().rests_on_care_process());
        assert_eq!(Assessment::default().shares(), Shares::default());
        assert!(!Shares::default().rests_on_care_process());
    }
}
