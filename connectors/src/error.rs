//! What keeps a connector from starting. Once started it mends itself and says so in its status.

/// Messages name what, where and what to do; they hold no secret and no patient data.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    #[error("{field}: {text}")]
    Config { field: &'static str, text: String },
    #[error("cannot listen on {address}: {source}; choose a free address of this machine")]
    Listen { address: String, source: std::io::Error },
    #[error("cannot reach {address}: {source}")]
    Connect { address: String, source: std::io::Error },
    #[error("{address} did not answer within {seconds} s")]
    NoAnswer { address: String, seconds: u64 },
    #[error("{address} closed the connection before it answered")]
    Closed { address: String },
    #[error("cannot use {path}: {text}")]
    File { path: String, text: String },
    #[error("{0}")]
    Token(String),
    #[error("kafka: {0}")]
    Kafka(String),
    #[error("amqp: {0}")]
    Amqp(String),
    #[error("http: {0}")]
    Http(String),
}

impl ConnectorError {
    pub(crate) fn config(field: &'static str, text: impl Into<String>) -> ConnectorError {
        ConnectorError::Config { field, text: text.into() }
    }

    pub(crate) fn file(path: &std::path::Path, text: impl ToString) -> ConnectorError {
        ConnectorError::File { path: path.display().to_string(), text: text.to_string() }
    }
}
