//! What the site is asked to do may take long: how far it is, until it answers.

use std::convert::Infallible;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::progress;
use crate::http::{AdminClient, ClientError};

/// How often the site is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// As `/api/ledger/work` has it.
#[derive(Deserialize)]
struct UnderWay {
    work: String,
    doing: String,
    done: u64,
    total: u64,
}

/// Has the site do `work`, which is `/api/ledger/{work}`; `shown` says it in words.
pub async fn ask<T: DeserializeOwned>(
    client: &AdminClient,
    work: &str,
    body: &Value,
    shown: &'static str,
) -> Result<T, ClientError> {
    let bar = progress::waiting(shown);
    let path = format!("/api/ledger/{work}");
    let answer = tokio::select! {
        answer = client.post(&path, body) => answer,
        never = show(client, work, shown, &bar) => match never {},
    };
    bar.finish_and_clear();
    answer
}

async fn show(client: &AdminClient, work: &str, shown: &str, bar: &ProgressBar) -> Infallible {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Where it cannot be asked, the answer says why.
        let Ok(all) = client.get::<Vec<UnderWay>>("/api/ledger/work").await else { continue };
        // The last of its kind is the one that was asked for here.
        if let Some(now) = all.iter().rev().find(|now| now.work == work && now.total > 0) {
            bar.set_message(format!("{shown}: {}", now.in_words()));
        }
    }
}

impl UnderWay {
    fn in_words(&self) -> String {
        let UnderWay { doing, done, total, .. } = self;
        let percent = u128::from(*done) * 100 / u128::from((*total).max(1));
        format!("{} of {} {doing} ({percent} %)", HumanCount(*done), HumanCount(*total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_is_in_words() {
        let text = r#"{"work": "backup", "doing": "leaves checked", "done": 120000, "total": 1000000}"#;
        let now: UnderWay = serde_json::from_str(text).unwrap();
        assert_eq!(now.in_words(), "120,000 of 1,000,000 leaves checked (12 %)");
    }
}
