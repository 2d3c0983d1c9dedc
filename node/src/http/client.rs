//! The command line's way to a running site: the same API, over the unix socket.

use std::path::{Path, PathBuf};

use reqwest::{Method, Response};
use serde::de::DeserializeOwned;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "no site answers at {socket}; start it with `medulla run --config …`, or look whether --config is right"
    )]
    NotRunning { socket: String },
    #[error("{socket} belongs to another user; run this as the user that runs the site")]
    Forbidden { socket: String },
    #[error("{text} [{code}]")]
    Refused {
        code: String,
        text: String,
        /// One by one, where a configuration was refused.
        findings: Vec<serde_json::Value>,
    },
    #[error("the connection to the site broke: {0}")]
    Broken(#[from] reqwest::Error),
}

/// A stream of server-sent events (WHATWG HTML §9.2), as this site writes them.
pub struct Events {
    response: Response,
    received: Vec<u8>,
}

impl Events {
    /// Name and data of the next event; `None`: the site has ended the stream.
    pub async fn next(&mut self) -> Result<Option<(String, String)>, ClientError> {
        loop {
            while let Some(end) = self.received.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.received.drain(..end + 2).collect();
                let event = String::from_utf8_lossy(&event);
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                // A comment keeps the connection open and says nothing.
                if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                    return Ok(Some((name.to_owned(), data.to_owned())));
                }
            }
            match self.response.chunk().await? {
                Some(chunk) => self.received.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

pub struct AdminClient {
    client: reqwest::Client,
    socket: PathBuf,
}

impl AdminClient {
    /// Nothing is connected yet.
    pub fn new(socket: &Path) -> Result<AdminClient, ClientError> {
        // None is kept between requests: the server closes idle ones, which may cross with the next request.
        let client = reqwest::Client::builder().unix_socket(socket).pool_max_idle_per_host(0).build()?;
        Ok(AdminClient { client, socket: socket.to_path_buf() })
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        Ok(self.request(Method::GET, path, None).await?.json().await?)
    }

    /// Server-sent events from here on.
    pub async fn events(&self, path: &str) -> Result<Events, ClientError> {
        Ok(Events { response: self.request(Method::GET, path, None).await?, received: Vec::new() })
    }

    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        Ok(self.request(Method::GET, path, None).await?.text().await?)
    }

    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, ClientError> {
        Ok(self.request(Method::POST, path, Some(body)).await?.json().await?)
    }

    /// The host in the URL is not looked up: the socket leads to the site.
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Response, ClientError> {
        let mut request = self.client.request(method, format!("http://localhost{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.explain(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let refusal: serde_json::Value = response.json().await.unwrap_or_default();
        let field = |name: &str| refusal.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        Err(ClientError::Refused {
            code: field("code").unwrap_or_else(|| status.as_u16().to_string()),
            text: field("text").unwrap_or_else(|| "the site refused".into()),
            findings: refusal["findings"].as_array().cloned().unwrap_or_default(),
        })
    }

    fn explain(&self, error: reqwest::Error) -> ClientError {
        let socket = self.socket.display().to_string();
        if !error.is_connect() {
            return ClientError::Broken(error);
        }
        match std::os::unix::net::UnixStream::connect(&self.socket) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                ClientError::Forbidden { socket }
            }
            _ => ClientError::NotRunning { socket },
        }
    }
}
