//! The organisers' own figures for simple rules on the 2019 dev files, to 1e-9.

mod shared;

use ml_scoring::Task;
use ml_scoring::dataset;
use ml_scoring::eval::{self, Options, Predictor, Rule};

const TOLERANCE: f64 = 1e-9;

#[test]
fn the_official_script_and_ours_agree() {
    let Some(data) = shared::data() else { return };
    let golden = std::fs::read_to_string(data.join("golden_utility.tsv")).unwrap();
    let golden: Vec<Vec<&str>> =
        golden.lines().filter(|l| l.starts_with("cinc2019")).map(|l| l.split('\t').collect()).collect();
    assert!(golden.len() >= 7, "{} golden lines", golden.len());
    for file in ["cinc2019_A_dev", "cinc2019_B_dev"] {
        let expected: Vec<_> = golden.iter().filter(|line| line[0] == file).collect();
        let rules: Vec<Rule> = expected.iter().map(|line| line[1].parse().unwrap()).collect();
        let predictors: Vec<&dyn Predictor> = rules.iter().map(|rule| rule as &dyn Predictor).collect();
        let started = std::time::Instant::now();
        let mut cohort =
            eval::judge(dataset::read(shared::open(&data, file)), Task::Sepsis, &predictors, |_| {}).unwrap();
        println!("{file}: {} rows with features in {:?}", cohort.labels.len(), started.elapsed());
        let judged = std::mem::take(&mut cohort.judged);
        for (line, table) in expected.iter().zip(judged) {
            cohort.judged = vec![table];
            let options = Options { bootstrap_samples: 0, ..Options::default() };
            let report = eval::report(&cohort, &options, |_, _| {});
            assert_eq!(report.patients.to_string(), line[2]);
            check(line, "AUROC", line[3], report.auroc);
            check(line, "AUPRC", line[4], report.auprc);
            check(line, "utility", line[7], report.utility);
        }
    }
}

fn check(line: &[&str], what: &str, expected: &str, found: Option<f64>) {
    // The script prints n/a where every row has one probability.
    let Ok(expected) = expected.parse::<f64>() else { return };
    let found = found.unwrap_or(f64::NAN);
    assert!(
        (found - expected).abs() <= TOLERANCE,
        "{} {}: {what} {found}, expected {expected}",
        line[0],
        line[1]
    );
}
