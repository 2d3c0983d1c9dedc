//! When an assessment becomes an alert: few, timely, never from too little data. All times are event times.

use std::collections::{BTreeMap, VecDeque};

use clinical::Time;
use serde::{Deserialize, Serialize};

use crate::assessment::reaches;
use crate::{Assessment, Thresholds};

/// Wards times scorers, of which budgets are kept: more than any house has.
const PLACES_MAX: usize = 4096;

/// How loudly an alert speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Shown on the board.
    Watch,
    /// Interrupts somebody; counted against the ward's budget.
    Interruptive,
}

impl Tier {
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Watch => "watch",
            Tier::Interruptive => "interruptive",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub tier: Tier,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertPolicy {
    /// No second alert of a tier within it.
    pub refractory_h: u32,
    /// A tier is left only below this share of its threshold: a risk that trembles around it alerts once.
    pub rearm_below: f64,
    /// Interruptive alerts of one scorer in a ward in 24 h; further ones only join the watch list. Each has its own, so that
    /// none spends what another one needs, and evaluated alone it alerts as beside others.
    pub per_ward_budget_per_day: u32,
    /// Another one for scorers of these names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scorer_budgets: BTreeMap<String, u32>,
    /// Once somebody has confirmed what a scorer warned of, it says nothing more of the patient for so long.
    pub quiet_after_confirmation_h: u32,
}

impl Default for AlertPolicy {
    fn default() -> AlertPolicy {
        AlertPolicy {
            refractory_h: 12,
            rearm_below: 0.8,
            per_ward_budget_per_day: 10,
            scorer_budgets: BTreeMap::new(),
            quiet_after_confirmation_h: 72,
        }
    }
}

/// One patient under one scorer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyState {
    /// The tier that has been reported and not been left since.
    standing: Option<Tier>,
    last_watch: Option<Time>,
    last_interruptive: Option<Time>,
    /// A person asked for it.
    #[serde(default)]
    quiet_until: Option<Time>,
}

/// What a person who answered an alert wants of those to come, of the same patient and scorer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answered {
    /// Nothing.
    #[default]
    Seen,
    Snoozed {
        hours: u32,
    },
    /// The patient has it: no need to be told again.
    Confirmed,
}

impl PolicyState {
    /// Of two numbers that are one patient: nobody is alerted twice for a merge, and what was asked for still holds.
    pub fn absorb(&mut self, other: &PolicyState) {
        self.standing = self.standing.max(other.standing);
        self.last_watch = self.last_watch.max(other.last_watch);
        self.last_interruptive = self.last_interruptive.max(other.last_interruptive);
        self.quiet_until = self.quiet_until.max(other.quiet_until);
    }

    /// Who reported the tier speaks no longer: the next one that is reached is an edge again. Whether there was any.
    pub fn leave(&mut self) -> bool {
        self.standing.take().is_some()
    }
}

/// Interruptive alerts per ward and scorer, for [`AlertPolicy::decide_within`]. Bounded by their budgets and `PLACES_MAX`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WardBudgets(BTreeMap<String, VecDeque<Time>>);

impl AlertPolicy {
    /// What concerns the scorer of this name, and no other.
    pub fn of_scorer(&self, name: &str) -> AlertPolicy {
        let per_ward_budget_per_day = self.budget_of(name);
        AlertPolicy { per_ward_budget_per_day, scorer_budgets: BTreeMap::new(), ..self.clone() }
    }

    fn budget_of(&self, scorer: &str) -> u32 {
        self.scorer_budgets.get(scorer).copied().unwrap_or(self.per_ward_budget_per_day)
    }

    /// Whether the assessment of `at` is a new alert.
    ///
    /// Rising edge: a tier alerts when it is reached, and again only after it was left. An edge within the
    /// refractory time waits for its end. `insufficient data` neither alerts nor changes anything.
    pub fn decide(&self, state: &mut PolicyState, assessment: &Assessment, at: Time) -> Option<Decision> {
        let tier = self.step(state, assessment.risk, assessment.thresholds(), at)?;
        Some(Decision { tier })
    }

    /// The same of a risk: evaluation has no more.
    pub(crate) fn step(
        &self,
        state: &mut PolicyState,
        risk: Option<f64>,
        thresholds: Thresholds,
        at: Time,
    ) -> Option<Tier> {
        let risk = risk?;
        let reached = tier_of(thresholds, risk, 1.0);
        let not_left = tier_of(thresholds, risk, self.rearm_below);
        state.standing = state.standing.min(not_left);
        let tier = reached.filter(|tier| Some(*tier) > state.standing)?;
        self.fire(state, tier, at).then_some(tier)
    }

    /// `at`: when the patient was last scored, in event time. A risk that is still high when the quiet ends is told of
    /// then: it is an edge, and the refractory time of what was answered is over.
    pub fn answered(&self, state: &mut PolicyState, answer: Answered, at: Time) {
        let hours = match answer {
            Answered::Seen => return,
            Answered::Snoozed { hours } => hours,
            Answered::Confirmed => self.quiet_after_confirmation_h,
        };
        let until = Time(at.0.saturating_add(i64::from(hours) * Time::HOUR_MS));
        let quiet_until = state.quiet_until.max(Some(until));
        *state = PolicyState { quiet_until, ..PolicyState::default() };
    }

    /// Like [`AlertPolicy::decide`]; an interruptive alert beyond the scorer's budget in the ward becomes one of the watch
    /// list.
    pub fn decide_within(
        &self,
        budgets: &mut WardBudgets,
        ward: &str,
        state: &mut PolicyState,
        assessment: &Assessment,
        at: Time,
    ) -> Option<Decision> {
        let decision = self.decide(state, assessment, at)?;
        Some(Decision { tier: self.afford(budgets, ward, &assessment.scorer, decision.tier, at) })
    }

    /// The tier that the scorer's budget in the ward leaves of one that was decided on.
    pub fn afford(&self, budgets: &mut WardBudgets, ward: &str, scorer: &str, tier: Tier, at: Time) -> Tier {
        let spent = tier == Tier::Interruptive && !budgets.spend((ward, scorer), at, self.budget_of(scorer));
        if spent { Tier::Watch } else { tier }
    }

    fn fire(&self, state: &mut PolicyState, tier: Tier, at: Time) -> bool {
        let refractory_ms = i64::from(self.refractory_h) * Time::HOUR_MS;
        // An interruptive alert has said whatever a watch-list alert would say.
        let last = match tier {
            Tier::Watch => state.last_watch.max(state.last_interruptive),
            Tier::Interruptive => state.last_interruptive,
        };
        let is_refractory = last.is_some_and(|last| at.0.saturating_sub(last.0) < refractory_ms);
        if is_refractory || state.quiet_until.is_some_and(|until| at < until) {
            return false;
        }
        state.standing = Some(tier);
        match tier {
            Tier::Watch => state.last_watch = Some(at),
            Tier::Interruptive => state.last_interruptive = Some(at),
        }
        true
    }
}

/// The tier at thresholds multiplied by `share`.
fn tier_of(thresholds: Thresholds, risk: f64, share: f64) -> Option<Tier> {
    if reaches(risk, thresholds.interruptive * share) {
        Some(Tier::Interruptive)
    } else {
        reaches(risk, thresholds.watch * share).then_some(Tier::Watch)
    }
}

impl WardBudgets {
    fn spend(&mut self, (ward, scorer): (&str, &str), at: Time, per_day: u32) -> bool {
        // A ward's name may have line breaks (HL7 v2 can write them). No scorer's has, so its own, standing last, keeps two
        // places apart.
        let own = format!("{ward}\n{scorer}");
        let mut spent = self.spent_in(&own, at);
        if !ward.contains('\n') {
            // By all scorers together, as an earlier release counted it: it is over in a day.
            spent += self.spent_in(ward, at);
        }
        let left = spent < per_day as usize;
        if left {
            self.0.entry(own).or_default().push_back(at);
            self.keep_within(PLACES_MAX);
        }
        left
    }

    /// In the 24 h before `at`; what is older is dropped.
    fn spent_in(&mut self, place: &str, at: Time) -> usize {
        let Some(spent) = self.0.get_mut(place) else { return 0 };
        spent.retain(|then| at.0.saturating_sub(then.0) < 24 * Time::HOUR_MS);
        let left = spent.len();
        if left == 0 {
            self.0.remove(place);
        }
        left
    }

    /// Wards go on in their own event time, so that one's day is over says nothing of another's: only where there are too
    /// many, the one that was silent for longest goes.
    fn keep_within(&mut self, places_max: usize) {
        while self.0.len() > places_max {
            let silent = self.0.iter().min_by_key(|(_, spent)| spent.iter().max().copied());
            let Some(place) = silent.map(|(place, _)| place.clone()) else { return };
            self.0.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (hour, risk) → (hour, tier) with thresholds 0.5 and 0.8.
    fn run(risks: &[(i64, Option<f64>)]) -> Vec<(i64, Tier)> {
        let policy = AlertPolicy::default();
        let mut state = PolicyState::default();
        let mut alerts = Vec::new();
        for (hour, risk) in risks {
            let assessment = Assessment {
                risk: *risk,
                threshold: 0.5,
                interruptive_threshold: 0.8,
                ..Assessment::default()
            };
            let at = Time(hour * Time::HOUR_MS);
            alerts.extend(policy.decide(&mut state, &assessment, at).map(|decision| (*hour, decision.tier)));
            let kept = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<PolicyState>(&kept).unwrap(), state);
        }
        alerts
    }

    #[test]
    fn a_rise_alerts_once_and_trembling_does_not_repeat_it() {
        let risks = [(0, 0.4), (1, 0.6), (2, 0.7), (3, 0.45), (20, 0.55), (21, 0.45), (40, 0.6)];
        assert_eq!(run(&risks.map(|(h, r)| (h, Some(r)))), [(1, Tier::Watch)]);
    }

    #[test]
    fn after_a_real_fall_it_alerts_again_but_not_within_the_refractory_time() {
        let risks = [(0, 0.6), (1, 0.1), (5, 0.6), (11, 0.6), (12, 0.6), (13, 0.6), (14, 0.1), (30, 0.6)];
        let expected = [(0, Tier::Watch), (12, Tier::Watch), (30, Tier::Watch)];
        assert_eq!(run(&risks.map(|(h, r)| (h, Some(r)))), expected);
    }

    #[test]
    fn the_louder_tier_does_not_wait_for_the_quieter_one() {
        let risks = [(0, 0.6), (1, 0.9), (2, 0.6), (3, 0.9)];
        assert_eq!(run(&risks.map(|(h, r)| (h, Some(r)))), [(0, Tier::Watch), (1, Tier::Interruptive)]);
    }

    #[test]
    fn insufficient_data_never_alerts_and_a_late_event_does_not_either() {
        assert_eq!(run(&[(0, None), (1, Some(f64::NAN)), (2, None)]), []);
        assert_eq!(run(&[(9, Some(0.6)), (10, Some(0.1)), (3, Some(0.6))]), [(9, Tier::Watch)]);
    }

    #[test]
    fn who_was_answered_is_quiet_for_a_while_and_then_tells_of_what_is_still_so() {
        let policy = AlertPolicy { quiet_after_confirmation_h: 48, ..AlertPolicy::default() };
        let first = |answer: Answered| {
            let mut state = PolicyState::default();
            policy.answered(&mut state, answer, Time(0));
            let kept = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<PolicyState>(&kept).unwrap(), state);
            let risk = |hour| if hour == 2 { 0.1 } else { 0.9 };
            (0..60).find(|hour| {
                let at = Time(hour * Time::HOUR_MS);
                policy.step(&mut state, Some(risk(*hour)), Thresholds::only(0.5), at).is_some()
            })
        };
        assert_eq!(first(Answered::Seen), Some(0));
        assert_eq!(first(Answered::Snoozed { hours: 5 }), Some(5));
        assert_eq!(first(Answered::Confirmed), Some(48));
        let mut state = PolicyState::default();
        policy.answered(&mut state, Answered::Confirmed, Time(0));
        policy.answered(&mut state, Answered::Snoozed { hours: 1 }, Time(0));
        let after = Time(Time::HOUR_MS);
        assert_eq!(
            policy.step(&mut state, Some(0.9), Thresholds::only(0.5), after),
            None,
            "the longer one holds"
        );
    }

    #[test]
    fn what_is_still_so_when_the_quiet_ends_is_told_of_then() {
        let policy = AlertPolicy::default();
        let mut state = PolicyState::default();
        let told = |state: &mut PolicyState, hour: i64| {
            policy.step(state, Some(0.9), Thresholds::only(0.5), Time(hour * Time::HOUR_MS)).is_some()
        };
        assert!(told(&mut state, 0));
        policy.answered(&mut state, Answered::Snoozed { hours: 4 }, Time(Time::HOUR_MS));
        assert_eq!([2, 3, 4, 5, 6].map(|hour| told(&mut state, hour)), [false, false, false, true, false]);
        let mut survivor = PolicyState::default();
        policy.answered(&mut state, Answered::Confirmed, Time(6 * Time::HOUR_MS));
        survivor.absorb(&state);
        assert!(!told(&mut survivor, 20), "a merge keeps what was asked for");
    }

    #[test]
    fn beyond_the_budget_an_alert_joins_the_watch_list() {
        let policy = AlertPolicy { per_ward_budget_per_day: 2, ..AlertPolicy::default() };
        let assessment = Assessment {
            risk: Some(0.9),
            threshold: 0.5,
            interruptive_threshold: 0.8,
            ..Assessment::default()
        };
        let mut budgets = WardBudgets::default();
        let mut tier = |ward: &str, hour: i64| {
            let mut state = PolicyState::default();
            let at = Time(hour * Time::HOUR_MS);
            policy.decide_within(&mut budgets, ward, &mut state, &assessment, at).map(|d| d.tier)
        };
        let (loud, quiet) = (Some(Tier::Interruptive), Some(Tier::Watch));
        assert_eq!([tier("W1", 0), tier("W1", 1), tier("W1", 2), tier("W2", 2)], [loud, loud, quiet, loud]);
        assert_eq!(tier("W1", 24), loud);
    }

    #[test]
    fn no_scorer_spends_what_another_one_needs() {
        let scorer_budgets = [("news2".to_owned(), 1)].into();
        let policy = AlertPolicy { per_ward_budget_per_day: 2, scorer_budgets, ..AlertPolicy::default() };
        let tiers = |policy: &AlertPolicy, scorers: &[&str]| -> Vec<Tier> {
            let mut budgets = WardBudgets::default();
            let mut tier =
                |scorer| policy.afford(&mut budgets, "W1", scorer, Tier::Interruptive, Time(Time::HOUR_MS));
            scorers.iter().map(|scorer| tier(*scorer)).collect()
        };
        use Tier::{Interruptive, Watch};
        let beside = tiers(&policy, &["news2", "news2", "news2", "sepsis", "sepsis", "sepsis"]);
        assert_eq!(beside, [Interruptive, Watch, Watch, Interruptive, Interruptive, Watch]);
        let alone = policy.of_scorer("news2");
        assert_eq!((alone.per_ward_budget_per_day, alone.scorer_budgets.len()), (1, 0));
        assert_eq!(tiers(&alone, &["news2", "news2"]), beside[..2]);
    }

    #[test]
    fn what_an_earlier_release_counted_by_ward_alone_counts_for_each_scorer_and_is_over_in_a_day() {
        let mut budgets: WardBudgets =
            serde_json::from_value(serde_json::json!({ "W1": [0, Time::HOUR_MS] })).unwrap();
        let mut spend = |scorer, hour| budgets.spend(("W1", scorer), Time(hour * Time::HOUR_MS), 3);
        assert_eq!([spend("news2", 2), spend("news2", 2)], [true, false]);
        assert_eq!([spend("sepsis", 3), spend("sepsis", 3)], [true, false]);
        assert!(spend("sepsis", 25) && spend("sepsis", 25), "both of the former are over");
        assert!(!budgets.0.contains_key("W1"));
    }

    #[test]
    fn what_is_kept_of_budgets_is_bounded() {
        let mut budgets = WardBudgets::default();
        assert!(!budgets.spend(("W0", "news2"), Time(0), 0) && budgets.0.is_empty(), "nothing was spent");
        for ward in 0..3_i64 {
            assert!(budgets.spend((&format!("W{ward}"), "news2"), Time(ward * 100 * Time::HOUR_MS), 1));
        }
        assert_eq!(budgets.0.len(), 3, "a ward that is far ahead spends nobody's day");
        budgets.keep_within(2);
        assert_eq!(budgets.0.keys().collect::<Vec<_>>(), ["W1\nnews2", "W2\nnews2"]);
        assert!(
            !budgets.spend(("W1", "news2"), Time(101 * Time::HOUR_MS), 1),
            "those that are left still hold"
        );
    }
}
