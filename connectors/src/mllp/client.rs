//! The sending side: `medulla send`, the load generator and the sink.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::frame::{Decoder, Event, encode};
use super::stream::{BoxedStream, tune};
use crate::{ConnectorError, tls};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// `host:port`.
    pub address: String,
    /// PEM file with the authorities to trust; TLS is spoken if it is given.
    pub tls_ca: Option<PathBuf>,
    /// The name expected in the receiver's certificate; default: the host of `address`.
    pub tls_name: Option<String>,
    /// PEM files to show to a receiver that asks for a certificate.
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// For connecting and for each answer.
    #[serde(default = "default_timeout")]
    pub timeout_s: u64,
}

fn default_timeout() -> u64 {
    30
}

impl ClientConfig {
    pub fn new(address: impl Into<String>) -> ClientConfig {
        ClientConfig {
            address: address.into(),
            tls_ca: None,
            tls_name: None,
            tls_cert: None,
            tls_key: None,
            timeout_s: default_timeout(),
        }
    }

    fn server_name(&self) -> Result<ServerName<'static>, ConnectorError> {
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let name = self.tls_name.clone().unwrap_or_else(|| host.trim_matches(['[', ']']).to_owned());
        ServerName::try_from(name)
            .map_err(|_| ConnectorError::config("tls_name", "is no host name; give the receiver's name"))
    }

    fn connector(&self) -> Result<Option<TlsConnector>, ConnectorError> {
        let Some(ca) = &self.tls_ca else { return Ok(None) };
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some((cert.as_path(), key.as_path())),
            (None, None) => None,
            _ => return Err(ConnectorError::config("tls_cert", "give tls_cert and tls_key together")),
        };
        Ok(Some(TlsConnector::from(tls::client(ca, identity)?)))
    }
}

/// One connection to a receiver. [`Client::send`] for one at a time; [`Client::split`] for pipelining.
pub struct Client {
    reader: ClientReader,
    writer: ClientWriter,
}

/// Reads answers, in the order of the frames that they answer.
pub struct ClientReader {
    address: String,
    timeout: Duration,
    decoder: Decoder,
    input: ReadHalf<BoxedStream>,
}

pub struct ClientWriter {
    address: String,
    output: WriteHalf<BoxedStream>,
}

impl Client {
    pub async fn connect(config: &ClientConfig) -> Result<Client, ConnectorError> {
        let timeout = Duration::from_secs(config.timeout_s.max(1));
        let address = config.address.clone();
        let stream = match tokio::time::timeout(timeout, open(config)).await {
            Ok(stream) => stream?,
            Err(_) => return Err(ConnectorError::NoAnswer { address, seconds: timeout.as_secs() }),
        };
        let (input, output) = tokio::io::split(stream);
        let decoder = Decoder::new(16 * 1024 * 1024);
        Ok(Client {
            reader: ClientReader { address: address.clone(), timeout, decoder, input },
            writer: ClientWriter { address, output },
        })
    }

    /// Sends one message and waits for its answer. After an error, connect anew: a late answer would be
    /// taken for the next message's.
    pub async fn send(&mut self, message: &[u8]) -> Result<Bytes, ConnectorError> {
        self.write(message).await?;
        self.reader.answer().await
    }

    /// The next answer on this connection, whichever message it is to.
    pub(super) async fn answer(&mut self) -> Result<Bytes, ConnectorError> {
        self.reader.answer().await
    }

    /// A receiver that reads no more is one that does not answer.
    pub(super) async fn write(&mut self, message: &[u8]) -> Result<(), ConnectorError> {
        match tokio::time::timeout(self.reader.timeout, self.writer.write(message)).await {
            Ok(written) => written,
            Err(_) => Err(self.reader.no_answer()),
        }
    }

    pub fn split(self) -> (ClientWriter, ClientReader) {
        (self.writer, self.reader)
    }
}

impl ClientWriter {
    /// Sends one message without waiting for an answer; waits while the receiver's window is full.
    pub async fn write(&mut self, message: &[u8]) -> Result<(), ConnectorError> {
        let frame = encode(message);
        let written = async {
            self.output.write_all(&frame).await?;
            self.output.flush().await
        };
        written.await.map_err(|source| ConnectorError::Connect { address: self.address.clone(), source })
    }

    /// Says that no further message comes; answers can still be read.
    pub async fn end(&mut self) -> Result<(), ConnectorError> {
        let ended = self.output.shutdown().await;
        ended.map_err(|source| ConnectorError::Connect { address: self.address.clone(), source })
    }
}

impl ClientReader {
    /// The next answer; an error if none comes within the configured time.
    pub async fn answer(&mut self) -> Result<Bytes, ConnectorError> {
        match tokio::time::timeout(self.timeout, self.read()).await {
            Ok(answer) => answer,
            Err(_) => Err(self.no_answer()),
        }
    }

    fn no_answer(&self) -> ConnectorError {
        ConnectorError::NoAnswer { address: self.address.clone(), seconds: self.timeout.as_secs() }
    }

    async fn read(&mut self) -> Result<Bytes, ConnectorError> {
        loop {
            while let Some(event) = self.decoder.next() {
                if let Event::Message(answer) = event {
                    return Ok(answer);
                }
            }
            let read = self.input.read_buf(self.decoder.buffer()).await;
            match read.map_err(|source| ConnectorError::Connect { address: self.address.clone(), source })? {
                0 if self.decoder.lacks_cr() => {
                    if let Some(Event::Message(answer)) = self.decoder.supply_cr() {
                        return Ok(answer);
                    }
                }
                0 => return Err(ConnectorError::Closed { address: self.address.clone() }),
                _ => {}
            }
        }
    }
}

async fn open(config: &ClientConfig) -> Result<BoxedStream, ConnectorError> {
    let unreachable = |source| ConnectorError::Connect { address: config.address.clone(), source };
    let connector = config.connector()?;
    let stream = TcpStream::connect(&config.address).await.map_err(unreachable)?;
    tune(&stream).map_err(unreachable)?;
    match connector {
        None => Ok(Box::new(stream)),
        Some(tls) => Ok(Box::new(tls.connect(config.server_name()?, stream).await.map_err(unreachable)?)),
    }
}
