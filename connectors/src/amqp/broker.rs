//! How a broker is reached and who we are to it: the url's user and password, a certificate, or a token.

use std::path::PathBuf;

use lapin::auth::AuthProvider;
use reqwest::Url;
use serde::Deserialize;

use crate::{ConnectorError, Secret, TokenSource};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// `amqp://user:password@host:port/vhost` or `amqps://…`; may hold a password, so it is never printed.
    pub url: Secret,
    /// PEM file with authorities to trust besides the system's, for `amqps://`.
    pub tls_ca: Option<PathBuf>,
    /// PEM files, shown to a broker that asks for a certificate; read for each connection.
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// Without it by certificate where there is one and the url names no user.
    pub auth: Option<Auth>,
    /// In the place of the url's password.
    pub token: Option<TokenSource>,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// By password or token.
    Plain,
    /// By the certificate that was shown.
    External,
}

impl Broker {
    pub fn new(url: &str) -> Broker {
        let url = Secret::new(url);
        Broker { url, tls_ca: None, tls_cert: None, tls_key: None, auth: None, token: None }
    }

    /// What cannot work, if anything: the field, and why; it shows no url.
    ///
    /// # Errors
    /// A url that is none, and ways to sign in that contradict each other.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let url = Url::parse(self.url.expose()).ok();
        let (Some(url), Ok(_)) = (url, self.url.expose().parse::<lapin::uri::AMQPUri>()) else {
            return Err(("url", "is no amqp://user:password@host:port/vhost or amqps:// address"));
        };
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(("tls_cert", "tls_cert and tls_key go together; add the other one"));
        }
        if self.tls_cert.is_some() && url.scheme() != "amqps" {
            return Err(("tls_cert", "a certificate is shown over TLS alone; begin url with amqps://"));
        }
        if self.auth == Some(Auth::External) {
            if self.tls_cert.is_none() {
                return Err(("auth", "\"external\" signs in by a certificate; add tls_cert and tls_key"));
            }
            if self.token.is_some() {
                return Err((
                    "auth",
                    "\"external\" signs in by the certificate, and there is a token; remove one",
                ));
            }
            if names_user(&url) {
                let text = "names a user, and with auth = \"external\" the certificate does; remove one";
                return Err(("url", text));
            }
        }
        if self.token.is_some() && url.password().is_some() {
            return Err(("url", "holds a password, and there is a token; remove one"));
        }
        Ok(())
    }

    pub(super) fn checked(&self) -> Result<(), ConnectorError> {
        self.check().map_err(|(field, text)| ConnectorError::config(field, text))
    }

    fn user(&self) -> Option<String> {
        let names_one = Url::parse(self.url.expose()).is_ok_and(|url| names_user(&url));
        let uri = self.url.expose().parse::<lapin::uri::AMQPUri>().ok();
        uri.filter(|_| names_one).map(|uri| uri.authority.userinfo.username)
    }

    /// lapin itself signs in by the url's user and password.
    pub(super) fn signs_in_by_certificate(&self) -> bool {
        let implied = self.tls_cert.is_some() && self.token.is_none() && self.user().is_none();
        self.auth.map_or(implied, |auth| auth == Auth::External)
    }

    /// RabbitMQ takes the user from the token, whatever the url says.
    pub(super) fn by_token(&self, token: Secret) -> ByToken {
        ByToken { user: self.user().unwrap_or_default(), token }
    }

    /// For whoever reads an error.
    pub(super) fn shown(&self) -> String {
        let certificate =
            self.tls_cert.as_ref().map(|cert| format!(" with the certificate {}", cert.display()));
        let token = self.token.as_ref().map(|token| format!(" with the token of {token}"));
        [certificate, token].into_iter().flatten().collect()
    }
}

fn names_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// EXTERNAL: the certificate has said it all.
pub(super) struct ByCertificate;

impl AuthProvider for ByCertificate {}

pub(super) struct ByToken {
    user: String,
    token: Secret,
}

impl AuthProvider for ByToken {
    fn mechanism(&self) -> lapin::types::ShortString {
        "PLAIN".into()
    }

    fn auth_starter(&self) -> Result<lapin::types::LongString, String> {
        Ok(format!("\0{}\0{}", self.user, self.token.expose()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(url: &str) -> Broker {
        let file = |name: &str| Some(PathBuf::from(name));
        Broker { tls_cert: file("cert.pem"), tls_key: file("key.pem"), ..Broker::new(url) }
    }

    #[test]
    fn a_certificate_signs_in_where_the_url_names_no_user() {
        assert!(shows("amqps://rabbit/%2f").signs_in_by_certificate());
        for other in [
            Broker::new("amqps://rabbit/%2f"),
            shows("amqps://medulla:hunter2@rabbit/%2f"),
            Broker { auth: Some(Auth::Plain), ..shows("amqps://rabbit/%2f") },
            Broker { token: Some(TokenSource::File("token".into())), ..shows("amqps://rabbit/%2f") },
        ] {
            assert_eq!((other.check(), other.signs_in_by_certificate()), (Ok(()), false), "{other:?}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_found_and_not_shown() {
        let external = |broker| Broker { auth: Some(Auth::External), ..broker };
        let token = |broker| Broker { token: Some(TokenSource::File("token".into())), ..broker };
        for (broker, field) in [
            (Broker::new("hunter2"), "url"),
            (Broker { tls_key: None, ..shows("amqps://rabbit") }, "tls_cert"),
            (shows("amqp://rabbit"), "tls_cert"),
            (external(Broker::new("amqps://rabbit")), "auth"),
            (external(token(shows("amqps://rabbit"))), "auth"),
            (external(shows("amqps://medulla:hunter2@rabbit")), "url"),
            (token(Broker::new("amqps://medulla:hunter2@rabbit")), "url"),
        ] {
            let (found, text) = broker.check().unwrap_err();
            assert_eq!(found, field, "{text}");
            assert!(!format!("{text}{broker:?}").contains("hunter2"), "{text}");
        }
        assert_eq!(external(shows("amqps://rabbit")).check(), Ok(()));
    }
}
