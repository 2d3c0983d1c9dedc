//! As much of gRPC and Protocol Buffers as putting a value into etcd takes: unary calls over one HTTP/2 connection.

use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use tokio::net::TcpStream;

/// The receiver's windows: large enough that flow control never waits.
const WINDOW_BYTES: u32 = 8 << 20;
/// gRPC's message prefix: u8 compressed, u32 length.
const PREFIX_LEN: usize = 5;

pub struct Connection {
    send: SendRequest<Bytes>,
    address: String,
}

impl Connection {
    pub async fn open(address: &str) -> anyhow::Result<Connection> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (send, connection) = builder.handshake(tcp).await?;
        // Ends with the connection; whoever waits for an answer then learns it from the call.
        tokio::spawn(connection);
        Ok(Connection { send, address: address.to_owned() })
    }

    /// One unary call; the answer's message.
    pub async fn call(&self, method: &str, message: &[u8]) -> anyhow::Result<Bytes> {
        let request = http::Request::post(format!("http://{}{method}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut send = self.send.clone().ready().await?;
        let (answer, mut body) = send.send_request(request, false)?;
        body.send_data(prefixed(message)?, true)?;
        let answer = answer.await?;
        let early = status(answer.headers());
        let mut body = answer.into_body();
        let mut bytes = BytesMut::new();
        while let Some(part) = body.data().await {
            let part = part?;
            body.flow_control().release_capacity(part.len())?;
            bytes.extend_from_slice(&part);
        }
        let late = body.trailers().await?.as_ref().and_then(status);
        match early.or(late) {
            Some(0) => {}
            code => bail!("{method}: gRPC status {code:?}"),
        }
        ensure!(bytes.len() >= PREFIX_LEN, "{method}: an answer without a message");
        Ok(bytes.freeze().slice(PREFIX_LEN..))
    }
}

fn status(headers: &http::HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn prefixed(message: &[u8]) -> anyhow::Result<Bytes> {
    let mut out = BytesMut::with_capacity(PREFIX_LEN + message.len());
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).context("a message of 4 GiB")?);
    out.put_slice(message);
    Ok(out.freeze())
}

/// Appends a length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
}

/// A field of a message: its number, and its varint or its bytes.
pub enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

/// The fields that a message begins with, up to the first that is of another form.
pub fn fields(mut message: &[u8]) -> Vec<Field<'_>> {
    let mut found = Vec::new();
    while let Some(key) = varint(&mut message) {
        match key & 7 {
            0 => match varint(&mut message) {
                Some(number) => found.push(Field::Number(key >> 3, number)),
                None => break,
            },
            2 => {
                let Some(len) = varint(&mut message) else { break };
                let Some((bytes, rest)) = message.split_at_checked(len as usize) else { break };
                found.push(Field::Bytes(key >> 3, bytes));
                message = rest;
            }
            _ => break,
        }
    }
    found
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read() {
        let mut message = vec![0x20, 0xac, 0x02];
        put_bytes(&mut message, 1, &[7; 300]);
        let found = fields(&message);
        assert!(matches!(found[0], Field::Number(4, 300)));
        assert!(matches!(found[1], Field::Bytes(1, bytes) if bytes == [7; 300]));
        assert_eq!(found.len(), 2);
        assert!(fields(&message[..100]).len() < 2, "cut off");
    }
}
