//! The set names neither wards nor days. So that a ward's budget is spent as on the stream, its patients lie in one ward
//! of so many beds, in the order of the files: each takes the bed that is free first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use clinical::Time;

use super::alerts::{Alerted, is_right};
use super::cohort::{Cohort, Person};
use crate::policy::{AlertPolicy, Tier, WardBudgets};
use crate::task::Task;

pub(super) const BEDS: u32 = 20;

/// What a ward would be interrupted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Interruptive {
    pub alerts: u64,
    /// In rows that the task can judge.
    pub judged: u64,
    pub true_alerts: u64,
    /// Patients with the event and an alert before it came.
    pub found: u64,
    /// Further ones, which joined the watch list instead.
    pub beyond_budget: u64,
}

/// When each person's intensive care begins, in hours, in the order of `people`.
pub fn admissions(cohort: &Cohort, people: &[&Person], beds: u32) -> Vec<i64> {
    let mut free: BinaryHeap<Reverse<(i64, u32)>> = (0..beds.max(1)).map(|bed| Reverse((0, bed))).collect();
    let stay_h = |person: &&Person| {
        let last = cohort.iculos.get(person.rows.clone()).and_then(<[u32]>::last);
        i64::from(last.copied().unwrap_or(0))
    };
    let lie_in = |stay_h: i64| {
        let Reverse((from, bed)) = free.pop().unwrap_or(Reverse((0, 0)));
        free.push(Reverse((from + stay_h, bed)));
        from
    };
    people.iter().map(stay_h).map(lie_in).collect()
}

/// What the ward is told, by the person's place and in the order of time: `alerts` of each of the people, as far as the
/// budget goes.
pub fn told(
    policy: &AlertPolicy,
    beds: u32,
    cohort: &Cohort,
    people: &[&Person],
    alerts: &[Vec<Alerted>],
) -> Vec<(usize, Alerted)> {
    let mut due = Vec::new();
    for ((place, from_h), alerts) in admissions(cohort, people, beds).into_iter().enumerate().zip(alerts) {
        let when = |alert: &Alerted| Time(from_h * Time::HOUR_MS + alert.at.0);
        due.extend(alerts.iter().map(|alert| (when(alert), place, *alert)));
    }
    due.sort_by_key(|(at, place, _)| (*at, *place));
    let mut budgets = WardBudgets::default();
    let mut afford = |(at, place, alert): (Time, usize, Alerted)| {
        let tier = policy.afford(&mut budgets, "", "", alert.tier, at);
        (place, Alerted { tier, ..alert })
    };
    due.into_iter().map(&mut afford).collect()
}

/// Of what the ward is told, what interrupts.
pub(super) fn within_budget(
    policy: &AlertPolicy,
    beds: u32,
    cohort: &Cohort,
    people: &[&Person],
    alerts: &[Vec<Alerted>],
) -> Interruptive {
    // Those that the task cannot judge spend the budget and interrupt like any other.
    let is_loud = |alert: &&Alerted| alert.tier == Tier::Interruptive;
    let decided = alerts.iter().flatten().filter(is_loud).count() as u64;
    let mut sum = Interruptive::default();
    let mut found = vec![false; people.len()];
    let told = told(policy, beds, cohort, people, alerts);
    for (place, alert) in told.into_iter().filter(|(_, alert)| is_loud(&alert)) {
        let person = people[place];
        sum.alerts += 1;
        if !alert.is_judgeable {
            continue;
        }
        sum.judged += 1;
        sum.true_alerts += u64::from(is_right(cohort, person, alert.row));
        found[place] |= match cohort.task {
            Task::Sepsis => person.hours_from_onset(alert.row).is_some_and(|d| d <= 0),
            _ => is_right(cohort, person, alert.row),
        };
    }
    sum.beyond_budget = decided - sum.alerts;
    sum.found = found.iter().filter(|found| **found).count() as u64;
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cohort(stays_h: &[u32]) -> Cohort {
        let mut cohort = Cohort::default();
        for hours in stays_h {
            let start = cohort.iculos.len();
            cohort.iculos.extend(1..=*hours);
            cohort.people.push(Person {
                pid: String::new(),
                hospital: 'A',
                age: 50.0,
                sex: "male",
                unit: "unknown",
                rows: start..start + *hours as usize,
                onset: None,
            });
        }
        cohort.labels = vec![false; cohort.iculos.len()];
        cohort
    }

    #[test]
    fn a_bed_is_taken_by_the_next_patient_when_it_is_free() {
        let cohort = cohort(&[10, 4, 3, 5, 2]);
        let people: Vec<&Person> = cohort.people.iter().collect();
        assert_eq!(admissions(&cohort, &people, 2), [0, 0, 4, 7, 10]);
        assert_eq!(admissions(&cohort, &people, 1), [0, 10, 14, 17, 22]);
        assert_eq!(admissions(&cohort, &people, 9), [0; 5]);
    }

    #[test]
    fn the_budget_is_the_ward_s_and_not_the_patient_s() {
        let cohort = cohort(&[30, 30, 30]);
        let people: Vec<&Person> = cohort.people.iter().collect();
        let policy = AlertPolicy { per_ward_budget_per_day: 1, ..AlertPolicy::default() };
        let loud = |row: usize| Alerted {
            row,
            at: Time((row as i64 + 1) * Time::HOUR_MS),
            tier: Tier::Interruptive,
            is_judgeable: true,
        };
        let alerts = [vec![loud(3)], vec![loud(2)], vec![loud(27)]];
        let sum = within_budget(&policy, 3, &cohort, &people, &alerts);
        assert_eq!((sum.alerts, sum.beyond_budget), (2, 1), "within 24 h of the second one's");
        let sum = within_budget(&policy, 1, &cohort, &people, &alerts);
        assert_eq!((sum.alerts, sum.beyond_budget), (3, 0), "one after the other");
        let unjudged = |alert: Alerted| vec![Alerted { is_judgeable: false, ..alert }];
        let alerts = [unjudged(loud(3)), unjudged(loud(2)), vec![loud(27)]];
        let sum = within_budget(&policy, 3, &cohort, &people, &alerts);
        assert_eq!((sum.alerts, sum.judged, sum.beyond_budget), (2, 1, 1), "they interrupt like any other");
    }
}
