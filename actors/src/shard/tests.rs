//! Whose patients are scored, and when.

use std::sync::Mutex;

use clinical::{
    Code, CodeSystem, Encounter, EncounterChange, EventKind, Observation, ObservationStatus, PatientId,
    Precision, Value,
};
use ml_scoring::{AlertPolicy, Scorer, Thresholds, WardBudgets};

use super::*;
use crate::metrics::Metrics;
use crate::registry::sample;
use crate::registry::standing::{Place, Role};

/// LOINC code, unit, a value that alarms and one that does not.
const VITAL_SIGNS: [(&str, &str, f64, f64); 5] = [
    ("9279-1", "/min", 30.0, 14.0),
    ("2708-6", "%", 85.0, 98.0),
    ("8480-6", "mm[Hg]", 80.0, 120.0),
    ("8867-4", "/min", 140.0, 70.0),
    ("8310-5", "Cel", 35.0, 37.0),
];

fn work(patient: &str, index: u64, site: &str, is_sick: bool) -> Work {
    let at = Time(i64::try_from(index).unwrap() * 60_000);
    let event = |value, code: &str| Event {
        patient: PatientId { authority: "H".into(), id: patient.into() },
        visit: None,
        at,
        precision: Precision::Second,
        kind: EventKind::Observed(Observation {
            code: Code { system: CodeSystem::Loinc, code: code.into(), display: "".into() },
            value,
            status: ObservationStatus::Final,
            source_id: format!("{code}/{index}"),
            is_version: false,
            sent_at: None,
        }),
    };
    let sign = |(code, unit, sick, well): &(&str, &str, f64, f64)| {
        let number = if is_sick { *sick } else { *well };
        event(
            Value::Quantity {
                number,
                text: number.to_string().into(),
                unit: (*unit).into(),
                comparator: None,
            },
            code,
        )
    };
    let mut events: Vec<Event> = VITAL_SIGNS.iter().map(sign).collect();
    events.push(event(Value::Text(if is_sick { "V" } else { "A" }.into()), "67775-7"));
    Work { key: patient.into(), index, site: site.into(), received_at: at, events, again: None }
}

fn shard() -> Addr<Shard> {
    shard_of(vec![Scorer::news2()])
}

fn shard_of(scorers: Vec<Scorer>) -> Addr<Shard> {
    let budgets: Arc<Mutex<WardBudgets>> = Arc::default();
    let scorers = Arc::new(scorers);
    let assessor = Assessor::new(scorers, AlertPolicy::default(), budgets, Metrics::new().unwrap());
    Shard::new(assessor, "b".into()).start()
}

fn cover(sites: &[&str]) -> Cover {
    Cover { sites: sites.iter().map(|site| (*site).to_owned()).collect(), at: Time(1) }
}

/// Patient, trigger and on whose behalf.
fn alerts(done: &Done) -> Vec<(String, u64, Option<String>)> {
    let alert = |proposal: &Proposal| {
        let facts = &proposal.alert.facts;
        (facts.patient.id.to_string(), proposal.trigger, facts.takeover_for.clone())
    };
    done.proposals.iter().map(alert).collect()
}

fn expected(alerts: &[(&str, u64, Option<&str>)]) -> Vec<(String, u64, Option<String>)> {
    let owned = |(patient, trigger, site): &(&str, u64, Option<&str>)| {
        ((*patient).to_owned(), *trigger, site.map(str::to_owned))
    };
    alerts.iter().map(owned).collect()
}

#[actix::test]
async fn a_message_that_corrects_what_was_known_is_remembered() {
    let shard = shard();
    let mut corrected = work("p", 2, "a", false);
    let first = work("p", 1, "a", true);
    for (event, before) in corrected.events.iter_mut().zip(&first.events) {
        let (EventKind::Observed(new), EventKind::Observed(old)) = (&mut event.kind, &before.kind) else {
            unreachable!("observations alone")
        };
        (new.status, event.at) = (ObservationStatus::Corrected, before.at);
        new.source_id.clone_from(&old.source_id);
    }
    let amended = |done: &Done| -> Vec<(i64, u64)> {
        done.rows[0].amended.iter().map(|amended| (amended.at.0, amended.index)).collect()
    };
    assert_eq!(amended(&shard.send(Fold(vec![first])).await.unwrap()), []);
    assert_eq!(amended(&shard.send(Fold(vec![corrected])).await.unwrap()), [(60_000, 2)]);
    assert_eq!(amended(&shard.send(Fold(vec![work("p", 3, "a", true)])).await.unwrap()), [(60_000, 2)]);
}

#[actix::test]
async fn patients_of_another_site_are_followed_and_scored_only_under_a_lease() {
    let shard = shard();
    let done = shard.send(Fold(vec![work("own", 1, "b", true), work("p", 2, "a", false)])).await.unwrap();
    assert_eq!(alerts(&done), expected(&[("own", 1, None)]));
    let origins: Vec<_> = done.rows.iter().map(|row| row.origin.as_deref()).collect();
    assert_eq!(origins, [None, Some("a")]);
    let done = shard.send(Fold(vec![work("p", 3, "a", true), work("q", 4, "c", true)])).await.unwrap();
    assert!(alerts(&done).is_empty());
    assert!(alerts(&shard.send(Close { index: 5, at: Time(360_000) }).await.unwrap()).is_empty());

    // What came in and nobody told of: under the index by which the site itself would have told of it.
    let done = shard.send(cover(&["a"])).await.unwrap();
    assert_eq!(alerts(&done), expected(&[("p", 3, Some("a"))]));
    assert!(alerts(&shard.send(cover(&["a"])).await.unwrap()).is_empty(), "once");
    let late = work("r", 6, "a", true);
    let done = shard.send(Fold(vec![late])).await.unwrap();
    assert_eq!(alerts(&done), expected(&[("r", 6, Some("a"))]), "a batch that was under way");

    shard.send(cover(&[])).await.unwrap();
    let done = shard.send(Fold(vec![work("s", 7, "a", true)])).await.unwrap();
    assert!(alerts(&done).is_empty());
}

#[actix::test]
async fn what_senders_bring_here_meanwhile_is_about_the_other_sites_patient() {
    let shard = shard();
    shard.send(Fold(vec![work("p", 1, "a", false), work("q", 2, "a", false)])).await.unwrap();
    shard.send(cover(&["a"])).await.unwrap();
    let done = shard.send(Fold(vec![work("p", 3, "b", true)])).await.unwrap();
    assert_eq!(alerts(&done), expected(&[("p", 3, Some("a"))]));
    assert_eq!(done.rows[0].origin.as_deref(), Some("a"));
    shard.send(cover(&[])).await.unwrap();
    // Without a lease whoever comes here belongs here.
    let done = shard.send(Fold(vec![work("q", 4, "b", true)])).await.unwrap();
    assert_eq!(alerts(&done), expected(&[("q", 4, None)]));
}

#[actix::test]
async fn who_lies_here_stays_here_when_another_sites_message_comes() {
    let shard = shard();
    shard.send(Fold(vec![work("p", 1, "b", false)])).await.unwrap();
    let done = shard.send(Fold(vec![work("p", 2, "a", true)])).await.unwrap();
    assert_eq!(done.rows[0].origin, None);
    let done = shard.send(Close { index: 3, at: Time(360_000) }).await.unwrap();
    assert_eq!(alerts(&done), expected(&[("p", 3, None)]));

    let mut discharge = work("p", 10, "b", false);
    let encounter = Encounter::of(EncounterChange::Discharged);
    discharge.events[0].kind = EventKind::Encounter(encounter);
    shard.send(Fold(vec![discharge])).await.unwrap();
    let done = shard.send(Fold(vec![work("p", 11, "a", false)])).await.unwrap();
    assert_eq!(done.rows[0].origin.as_deref(), Some("a"), "it has left this house");
}

#[actix::test]
async fn what_another_site_shreds_goes_where_it_was_heard_of() {
    let shard = shard();
    shard.send(Fold(vec![work("p", 1, "a", false), work("q", 2, "b", false)])).await.unwrap();
    let forget = |site: &str| Forget { site: site.into(), is_meant: Arc::new(|_: &[u8]| true) };
    assert!(shard.send(forget("c")).await.unwrap().is_empty());
    assert_eq!(shard.send(forget("a")).await.unwrap(), ["p"]);
    assert_eq!(shard.send(forget("b")).await.unwrap(), ["q"]);
}

/// Everybody is over it.
const LOW: Option<Thresholds> = Some(Thresholds { watch: 1e-9, interruptive: 1.0 });

fn places(all: [(Role, Option<u64>); 2]) -> Stand {
    let places = all.map(|(role, counted_since)| Place { role, thresholds: LOW, counted_since });
    Stand(places.to_vec(), AlertPolicy::default())
}

/// Hashes of the models that alerted, and from which threshold on; how often a model in shadow spoke.
fn told(done: &Done) -> (Vec<(String, f64)>, usize) {
    let facts = done.proposals.iter().map(|proposal| &proposal.alert.facts);
    (facts.map(|facts| (facts.model_hash.clone(), facts.threshold)).collect(), done.shadow.len())
}

#[actix::test]
async fn two_of_one_name_stand_side_by_side_and_the_one_in_shadow_alerts_nobody() {
    let scorers = vec![sample::model("sepsis", "2026"), sample::model("sepsis", "2027")];
    let [old, new] = [0, 1].map(|at| hex::encode(scorers[at].hash()));
    let shard = shard_of(scorers);
    let fold = async |index| shard.send(Fold(vec![work("p", index, "b", true)])).await.unwrap();
    let stand = async |all| shard.send(places(all)).await.unwrap();

    // The entry from which it is counted is not met yet.
    stand([(Role::Live, None), (Role::Shadow, None)]).await;
    let done = fold(1).await;
    assert_eq!(told(&done), (vec![(old, 1e-9)], 0));
    assert_eq!(done.rows[0].risks.len(), 1, "the board shows nothing of it");
    stand([(Role::Live, None), (Role::Shadow, Some(1))]).await;
    assert_eq!(told(&fold(2).await), (vec![], 1), "no edge for the one, counted for the other");

    let swapped = stand([(Role::Shadow, Some(2)), (Role::Live, None)]).await;
    assert!(swapped.rows[0].risks.is_empty(), "what the old one said is off the board");
    let done = fold(3).await;
    assert_eq!(told(&done), (vec![(new, 1e-9)], 1), "it begins afresh under the same name");
    assert_eq!(done.rows[0].risks.len(), 1);
    let detail = shard.send(Detail("p".into())).await.unwrap().unwrap();
    assert_eq!(detail.curves["sepsis"].len(), 1, "also its curve");

    stand([(Role::Off, None), (Role::Live, None)]).await;
    assert_eq!(told(&fold(4).await), (vec![], 0));
}

#[actix::test]
async fn another_sites_patients_are_not_counted_in_shadow() {
    let shard = shard_of(vec![sample::model("old", "2026"), sample::model("new", "2027")]);
    shard.send(places([(Role::Live, None), (Role::Shadow, Some(0))])).await.unwrap();
    shard.send(cover(&["a"])).await.unwrap();
    let done = shard.send(Fold(vec![work("p", 1, "a", true), work("q", 2, "b", true)])).await.unwrap();
    assert_eq!((done.proposals.len(), done.shadow.len()), (2, 1));
    assert_eq!(done.shadow[0].trigger, 2);
}

#[actix::test]
async fn a_checkpoint_that_knew_scorers_by_name_goes_on() {
    let hash = hex::encode(Scorer::news2().hash());
    let first = shard();
    first.send(Fold(vec![work("p", 1, "b", true)])).await.unwrap();
    let kept = first.send(Dirty).await.unwrap().remove(0).1.unwrap().encoded;
    // As the former release kept it: MessagePack strings, of 64 bytes and of 5.
    let (long, short) = ([&[0xd9, 64], hash.as_bytes()].concat(), [&[0xa5], &b"news2"[..]].concat());
    let places: Vec<usize> = (0..kept.len()).filter(|at| kept[*at..].starts_with(&long)).collect();
    assert_eq!(places.len(), 2, "policy and risk");
    let parts =
        [&kept[..places[0]], &kept[places[0] + long.len()..places[1]], &kept[places[1] + long.len()..]];
    let former = Patient::decode(&parts.join(&short[..])).unwrap();
    let second = shard();
    second.send(Restore(vec![("p".into(), former)])).await.unwrap();
    let done = second.send(Fold(vec![work("p", 2, "b", true)])).await.unwrap();
    assert!(alerts(&done).is_empty(), "nobody is alerted twice for an upgrade");
    assert_eq!(done.rows[0].risks.len(), 1);
}

/// A release that compared no model with the site's patients kept nothing of it.
#[actix::test]
async fn who_lies_here_at_an_upgrade_is_no_stay_that_begins() {
    let upgraded = async |forget: bool| {
        let scorers = || vec![sample::for_intensive_care()];
        let first = shard_of(scorers());
        first.send(Fold(vec![work("p", 1, "b", false)])).await.unwrap();
        let kept = first.send(Dirty).await.unwrap().remove(0).1.unwrap().encoded;
        let mut kept: serde_json::Value = rmp_serde::from_slice(&kept).unwrap();
        if forget {
            kept.as_object_mut().unwrap().remove("counted").unwrap();
        }
        let second = shard_of(scorers());
        let patient = Patient::decode(&rmp_serde::to_vec_named(&kept).unwrap()).unwrap();
        second.send(Restore(vec![("p".into(), patient)])).await.unwrap();
        let mut hours = Vec::new();
        for index in [200, 300] {
            let done = second.send(Fold(vec![work("p", index, "b", false)])).await.unwrap();
            hours.push(done.closed.iter().map(|hour| hour.is_first).collect::<Vec<_>>());
        }
        hours
    };
    assert_eq!(upgraded(false).await, [vec![true, false, false], vec![false]]);
    assert_eq!(upgraded(true).await, [vec![], vec![false]]);
}

#[actix::test]
async fn whoever_answers_can_have_a_patient_left_alone_for_a_while() {
    let told = async |answer: Answered| {
        let shard = shard();
        let mut indices = Vec::new();
        for (index, is_sick) in [(1, true), (2, false), (800, true), (801, false), (1600, true)] {
            if index == 800 {
                let hash = hex::encode(Scorer::news2().hash());
                shard.send(Quiet { key: "p".into(), hash, answer }).await.unwrap();
                let other = Quiet { key: "nobody".into(), hash: String::new(), answer };
                shard.send(other).await.unwrap();
            }
            let done = shard.send(Fold(vec![work("p", index, "b", is_sick)])).await.unwrap();
            indices.extend(alerts(&done).into_iter().map(|(_, index, _)| index));
        }
        indices
    };
    assert_eq!(told(Answered::Seen).await, [1, 800, 1600]);
    assert_eq!(told(Answered::Snoozed { hours: 24 }).await, [1, 1600]);
    assert_eq!(told(Answered::Confirmed).await, [1]);
}
