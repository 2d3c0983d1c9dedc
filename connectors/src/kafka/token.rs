//! SASL OAUTHBEARER with a token that the site brings. librdkafka asks for the next one at four fifths of the last one's
//! life, and signs in with it on the connections that there are.

use std::error::Error;
use std::time::UNIX_EPOCH;

use rdkafka::client::OAuthToken;

use crate::TokenSource;

/// What is wrong with a sign-in by token, if anything: the option (or `token`), and why.
///
/// # Errors
/// What librdkafka would refuse later, or wait for without a word.
pub fn check_token<'o>(
    option: impl Fn(&str) -> Option<&'o str>,
    has_token: bool,
) -> Result<(), (&'static str, &'static str)> {
    let is = |name: &str, value| option(name) == Some(value);
    if is("sasl.oauthbearer.method", "oidc") {
        let text =
            "librdkafka fetches no token by itself here; remove this, and add token_file or token_command";
        return Err(("sasl.oauthbearer.method", text));
    }
    let mechanism = ["sasl.mechanism", "sasl.mechanisms"].into_iter().find(|name| is(name, "OAUTHBEARER"));
    match (mechanism, has_token) {
        (Some(name), false) => Err((name, "OAUTHBEARER needs a token; add token_file or token_command")),
        (None, true) => {
            Err(("token", "is for OAUTHBEARER; set options.\"sasl.mechanism\", or remove the token"))
        }
        _ => Ok(()),
    }
}

/// For librdkafka, which tells an error to the client's context and asks again after 10 s.
pub(super) fn read(source: Option<&TokenSource>) -> Result<OAuthToken, Box<dyn Error>> {
    let token = source.ok_or("OAUTHBEARER needs a token; add token_file or token_command")?.read();
    let token = token.inspect_err(|error| tracing::warn!(%error, "kafka: no token to sign in with"))?;
    let lifetime_ms = token.ends_at.duration_since(UNIX_EPOCH)?.as_millis();
    Ok(OAuthToken {
        token: token.text.expose().to_owned(),
        principal_name: token.subject,
        lifetime_ms: i64::try_from(lifetime_ms)?,
    })
}
