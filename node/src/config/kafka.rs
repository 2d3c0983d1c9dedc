//! How a Kafka client signs in: `options`, and a token where they say OAUTHBEARER.

use std::collections::BTreeMap;

use connectors::{TokenSource, kafka};

use super::check::{self, KafkaCheck};
use super::table::Table;
use super::{Secret, token};

pub fn read_sign_in(table: &Table, is_taken: KafkaCheck) -> (BTreeMap<String, Secret>, Option<TokenSource>) {
    let options = table.secrets("options");
    let token = token::read(table);
    let mut is_told = token.is_err();
    // What was found wrong with a token is told once.
    if let Ok(token) = &token {
        let option = |name: &str| options.get(name).map(|option| option.value.expose());
        if let Err((name, text)) = kafka::check_token(option, token.is_some()) {
            is_told = true;
            match (options.get(name), token) {
                (Some(option), _) => option.refuse(table.report(), "value-invalid", text),
                (None, Some(token)) => token.refuse(table.report(), "value-invalid", text),
                (None, None) => table.refuse("value-invalid", text),
            }
        }
    }
    let options = options.into_iter().map(|(name, option)| (name, option.value)).collect();
    let token = token.ok().flatten().map(|token| token.value);
    if !is_told {
        check::kafka_options(table, &options, token.as_ref(), is_taken);
    }
    (options, token)
}
