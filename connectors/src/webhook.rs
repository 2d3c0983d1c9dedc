//! Sends messages by HTTP POST.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use crate::{ConnectorError, Outbound, Secret, SinkError};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// May hold a token, so it is never printed.
    pub url: Secret,
    /// Sent with every request; values may be secret.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// PEM file with authorities to trust besides the system's.
    pub tls_ca: Option<PathBuf>,
    #[serde(default = "default_timeout")]
    pub timeout_s: u64,
}

fn default_timeout() -> u64 {
    15
}

impl Config {
    pub fn new(url: &str) -> Config {
        Config { url: Secret::new(url), headers: BTreeMap::new(), tls_ca: None, timeout_s: default_timeout() }
    }
}

pub struct Sink {
    client: reqwest::Client,
    url: Url,
    headers: BTreeMap<String, Secret>,
}

impl Sink {
    pub fn new(config: Config) -> Result<Sink, ConnectorError> {
        let url = Url::parse(config.url.expose()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| ConnectorError::config("url", "is no http:// or https:// address"))?;
        // reqwest takes the process's provider; an error says that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let timeout = Duration::from_secs(config.timeout_s.max(1));
        let mut builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            // A redirected alert would go where nobody configured it.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("medulla");
        if let Some(path) = &config.tls_ca {
            let pem = std::fs::read(path).map_err(|error| ConnectorError::file(path, error))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem);
            builder =
                builder.tls_certs_merge(certificates.map_err(|error| ConnectorError::file(path, error))?);
        }
        let client =
            builder.build().map_err(|error| ConnectorError::Http(error.without_url().to_string()))?;
        Ok(Sink { client, url, headers: config.headers })
    }
}

#[async_trait]
impl crate::Sink for Sink {
    async fn deliver(&mut self, message: &Outbound) -> Result<(), SinkError> {
        let mut request = self
            .client
            .post(self.url.clone())
            .header("content-type", message.content_type)
            // Receivers deduplicate by it (draft-ietf-httpapi-idempotency-key-header).
            .header("idempotency-key", &message.id)
            .body(message.body.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value.expose());
        }
        match request.send().await {
            Ok(response) => judge(response.status()),
            Err(error) => Err(SinkError::Unreachable(describe(&error))),
        }
    }
}

fn judge(status: StatusCode) -> Result<(), SinkError> {
    let text = format!("the receiver answered {status}");
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(SinkError::Unreachable(text)),
        status if status.is_client_error() => Err(SinkError::Refused(text)),
        _ => Err(SinkError::Unreachable(text)),
    }
}

/// Without the URL, which may hold a token.
fn describe(error: &reqwest::Error) -> String {
    match error {
        error if error.is_timeout() => "no answer in time".to_owned(),
        error if error.is_connect() => "cannot connect to the receiver".to_owned(),
        error if error.is_builder() => "a configured header is no valid header".to_owned(),
        _ => "the connection to the receiver failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_is_delivered_and_only_what_cannot_help_is_refused() {
        let judge = |code: u16| judge(StatusCode::from_u16(code).unwrap());
        assert!(judge(200).is_ok() && judge(202).is_ok());
        assert!([400, 401, 404, 422].iter().all(|code| matches!(judge(*code), Err(SinkError::Refused(_)))));
        let later = [302, 408, 429, 500, 503];
        assert!(later.iter().all(|code| matches!(judge(*code), Err(SinkError::Unreachable(_)))));
    }
}
