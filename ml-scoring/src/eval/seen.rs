//! Whom a model was trained on, among those who are to judge it: on them every model looks better than it is.

use serde::{Deserialize, Serialize};

use crate::dataset::{INTERNAL_TEST, bucket};
use crate::{Card, TrainingData};

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeenInTraining {
    /// Of a file that the card names by its hash, and not held out.
    pub patients: usize,
    /// Of all judged; absent where there are none.
    pub share: Option<f64>,
    /// Patients of whom the card does not say it: their file is not among those that it names.
    pub unknown: usize,
}

impl SeenInTraining {
    /// `people`: each one's pid, and the SHA-256 of the file that he was read from, hex.
    pub fn of<'a>(card: &Card, people: impl Iterator<Item = (&'a str, &'a str)>) -> SeenInTraining {
        // What an adapted model began from has seen its own.
        let mut trainings = vec![card.training_data.clone()];
        let from = &card.training["adapted_from"]["training_data"];
        trainings.extend(serde_json::from_value::<TrainingData>(from.clone()));
        let (mut seen, mut all) = (SeenInTraining::default(), 0_usize);
        for (pid, file) in people {
            all += 1;
            let by = |training: &TrainingData| is_seen(training, pid, file);
            if trainings.iter().any(|training| by(training) == Some(true)) {
                seen.patients += 1;
            } else if trainings.iter().any(|training| by(training).is_none()) {
                seen.unknown += 1;
            }
        }
        seen.share = (all > 0).then(|| seen.patients as f64 / all as f64);
        seen
    }

    /// `None` where nobody of them trained the model.
    pub fn warning(&self) -> Option<String> {
        let flatters = match self.patients {
            0 => None,
            patients => Some(format!(
                "{patients} of the patients judged trained this model, which flatters every figure of it here"
            )),
        };
        let silent = match self.unknown {
            0 => None,
            unknown => Some(format!(
                "whether {unknown} of the patients judged trained this model its card does not say: their file is not among \
                 those that it names"
            )),
        };
        match (flatters, silent) {
            (Some(one), Some(other)) => Some(format!("{one}; {other}")),
            (one, other) => one.or(other),
        }
    }
}

/// `None`: nothing says so.
fn is_seen(training: &TrainingData, pid: &str, file: &str) -> Option<bool> {
    if training.held_out && INTERNAL_TEST.contains(&bucket(pid)) {
        return Some(false);
    }
    training.files.iter().any(|known| known.sha256 == file).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the shipped model, whose card names both files and holds nobody out.
    fn card() -> Card {
        serde_json::from_slice(include_bytes!("../../models/sepsis/card.json")).unwrap()
    }

    #[test]
    fn those_who_trained_are_counted_and_those_of_other_files_are_not_known() {
        let mut card = card();
        let file = card.training_data.files[1].sha256.clone();
        // Buckets 45 and 4; p000010 to p000039 have some of 70 to 79 among them.
        let pids: Vec<String> = (10..40).map(|number| format!("p{number:06}")).collect();
        let held_out = pids.iter().filter(|pid| INTERNAL_TEST.contains(&bucket(pid))).count();
        assert!(held_out > 0);
        let of =
            |card: &Card, file: &str| SeenInTraining::of(card, pids.iter().map(|pid| (pid.as_str(), file)));
        assert_eq!(of(&card, &file), SeenInTraining { patients: 30, share: Some(1.0), unknown: 0 });
        assert!(of(&card, &file).warning().unwrap().starts_with("30 of the patients judged trained"));
        let copy = of(&card, "00");
        assert_eq!((copy.patients, copy.unknown), (0, 30));
        assert!(copy.warning().unwrap().starts_with("whether 30"));
        card.training_data.held_out = true;
        assert_eq!(of(&card, &file).patients, 30 - held_out);
        assert_eq!(of(&card, "00").unknown, 30 - held_out);
        let judged = pids.iter().filter(|pid| INTERNAL_TEST.contains(&bucket(pid)));
        assert_eq!(SeenInTraining::of(&card, judged.map(|pid| (pid.as_str(), "00"))).warning(), None);
    }

    #[test]
    fn an_adapted_model_has_seen_what_it_began_from() {
        let (mut card, from) = (card(), card());
        card.training_data.files.clear();
        card.training["adapted_from"]["training_data"] = serde_json::to_value(&from.training_data).unwrap();
        let file = from.training_data.files[0].sha256.as_str();
        assert_eq!(SeenInTraining::of(&card, [("p000001", file)].into_iter()).patients, 1);
    }

    #[test]
    fn a_card_that_says_nothing_holds_nobody_out() {
        let mut card = serde_json::to_value(card()).unwrap();
        card["training_data"].as_object_mut().unwrap().remove("held_out");
        assert!(!serde_json::from_value::<Card>(card).unwrap().training_data.held_out);
    }
}
