//! Evaluation on the 2019 set that cannot flatter: the official utility, ranking, calibration and alerts, always
//! beside rules that anybody could run.

mod alerts;
mod bootstrap;
mod calibration;
mod cohort;
mod csv;
mod judged;
mod ranking;
mod report;
mod rule;
mod seen;
mod stays;
mod utility;
mod wards;

pub use alerts::{Alerted, Alerting, Said, alerting, alerts};
pub use cohort::{At, Cohort, Heard, Hour, Person, Prediction, Predictor, judge, judge_as_stream};
pub use csv::write_csv;
pub use ranking::{auprc, auroc};
pub use report::{
    Baseline, Difference, GroupReport, InterruptiveReport, Options, PolicyReport, Report, against, figures,
    report,
};
pub use rule::{BASELINES, Rule, RuleError};
pub use seen::SeenInTraining;
pub use stays::{StayModel, StayPredictor, StayRule, judge_stays};
pub use utility::{Utility, utility};
pub use wards::{admissions, told};
