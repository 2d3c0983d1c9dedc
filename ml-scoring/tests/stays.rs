//! The 2012 set as it is published.

mod shared;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use ml_scoring::eval::{self, Options, StayPredictor, StayRule};
use ml_scoring::stays::{self, Stay};

fn files(data: &std::path::Path) -> Vec<(String, Box<dyn BufRead + '_>)> {
    let outcomes = ["cinc2012_outcomes_a", "cinc2012_outcomes_b"].map(|name| {
        let file = File::open(data.join(format!("{name}.csv"))).expect("the outcome file");
        (name.to_owned(), Box::new(BufReader::new(file)) as Box<dyn BufRead + '_>)
    });
    let name = "cinc2012_ab_long";
    let long = (name.to_owned(), Box::new(shared::open(data, name)) as Box<dyn BufRead>);
    outcomes.into_iter().chain([long]).collect()
}

#[test]
fn the_published_stays_are_read_whole_and_scores_rank_them_as_known() {
    let Some(data) = shared::data() else { return };
    let mut set_aside = BTreeMap::<&str, u64>::new();
    let stays: Vec<Stay> = stays::open(files(&data)).unwrap().map(Result::unwrap).collect();
    for stay in &stays {
        stay.set_aside.iter().for_each(|(name, count)| *set_aside.entry(name).or_default() += count);
    }
    let died = stays.iter().filter(|stay| stay.outcome.is_some_and(|outcome| outcome.died)).count();
    assert_eq!((stays.len(), died), (8000, 1122));
    println!("{set_aside:?}");
    assert!(set_aside["pH"] > 0 && set_aside["Temp"] > 0 && set_aside["Height"] > 0, "{set_aside:?}");
    // Of 3.5 million values: a few thousand at the most, or a range is wrong.
    assert!(set_aside.values().sum::<u64>() < 20_000, "{set_aside:?}");
    assert!(!set_aside.contains_key("GCS") && !set_aside.contains_key("Na"), "{set_aside:?}");

    let rules: Vec<&dyn StayPredictor> =
        StayRule::ALL.iter().map(|rule| rule as &dyn StayPredictor).collect();
    let cohort = eval::judge_stays(stays.into_iter().map(Ok), &rules, |_| {}).unwrap();
    let names = StayRule::ALL[1..].iter().map(|rule| rule.name().to_owned()).collect();
    let options = Options { bootstrap_samples: 0, baselines: names, ..Options::default() };
    let report = eval::report(&cohort, &options, |_, _| {});
    let of = |name: &str| report.baselines[name].auroc.unwrap();
    println!("SAPS-I {:?}, SOFA {}, age {}", report.auroc, of("SOFA"), of("age"));
    assert!(report.auroc > Some(0.6) && of("SOFA") > 0.6 && of("age") > 0.55);
    let units: Vec<_> = report.groups.iter().filter(|group| group.by == "unit").collect();
    assert_eq!(units.iter().map(|group| group.patients).sum::<usize>(), 8000);
    assert_eq!(units.len(), 4);
}
