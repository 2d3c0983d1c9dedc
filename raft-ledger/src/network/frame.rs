//! One frame: `kind(1) id(8) body`, behind a u32 length. Integers big-endian.

use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::codec::LengthDelimitedCodec;

/// An append carries a few MiB, a batch far less; nothing honest comes near.
pub(super) const FRAME_BYTES_MAX: usize = 32 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hello = 1,
    Append = 2,
    Vote = 3,
    PreVote = 4,
    TransferLeader = 5,
    Forward = 6,
    SnapshotBegin = 7,
    SnapshotChunk = 8,
    SnapshotEnd = 9,
    /// A signed checkpoint; the answer is signature lines.
    Cosign = 10,
    /// To the leader: what is committed as of now; the answer is a raft log id.
    ReadIndex = 11,
    /// To the leader: who the members are, or a change of them.
    Membership = 12,
    /// What a leader forged; the answer is a signature, if the peer has seen the same.
    Testify = 13,
    /// About the keys of the asking site that this one holds for it (`partner/request.rs`).
    Keys = 14,
    /// From the leader: what the raft logs of the members have acknowledged to it.
    Acknowledged = 15,
    /// The answer: what leaders have signed of what they sent to the peer.
    Sent = 16,
    /// A batch of the asking site, for the leader that does not propose it; the answer is a marker (`passed_over.rs`).
    PassOn = 17,
    /// A site without a ledger asks for a snapshot; the answer announces one.
    FetchBegin = 20,
    /// A piece of it: file number and offset.
    FetchPiece = 21,
    /// Sealed payloads of entries, see payloads.rs.
    Payloads = 22,
    Answer = 128,
    /// The body says in words why there is no answer.
    Failed = 129,
    /// Of a later release.
    Unknown = 255,
}

impl Kind {
    /// Former releases close a connection over these.
    pub(super) fn is_later(self) -> bool {
        matches!(self, Kind::Testify | Kind::Acknowledged | Kind::Sent | Kind::PassOn | Kind::Payloads)
    }

    fn from_u8(kind: u8) -> Kind {
        [
            Kind::Hello,
            Kind::Append,
            Kind::Vote,
            Kind::PreVote,
            Kind::TransferLeader,
            Kind::Forward,
            Kind::SnapshotBegin,
            Kind::SnapshotChunk,
            Kind::SnapshotEnd,
            Kind::Cosign,
            Kind::ReadIndex,
            Kind::Membership,
            Kind::Testify,
            Kind::Keys,
            Kind::Acknowledged,
            Kind::Sent,
            Kind::PassOn,
            Kind::FetchBegin,
            Kind::FetchPiece,
            Kind::Payloads,
            Kind::Answer,
            Kind::Failed,
        ]
        .into_iter()
        .find(|known| *known as u8 == kind)
        .unwrap_or(Kind::Unknown)
    }
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) id: u64,
    pub(super) body: Bytes,
}

pub(super) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec()
}

/// Into the buffer of `writer`; flush it after the last of several.
pub(super) async fn write<W: AsyncWrite + Unpin>(writer: &mut W, frame: &Frame) -> std::io::Result<()> {
    let len = 9 + frame.body.len();
    if len > FRAME_BYTES_MAX {
        return Err(std::io::Error::other(format!("a frame of {len} bytes is over the limit")));
    }
    let mut header = [0; 13];
    header[..4].copy_from_slice(&(len as u32).to_be_bytes());
    header[4] = frame.kind as u8;
    header[5..].copy_from_slice(&frame.id.to_be_bytes());
    writer.write_all(&header).await?;
    writer.write_all(&frame.body).await
}

pub(super) fn decode(bytes: BytesMut) -> Result<Frame, String> {
    let mut bytes = bytes.freeze();
    if bytes.len() < 9 {
        return Err(format!("a frame of {} bytes is shorter than its header", bytes.len()));
    }
    let kind = bytes.get_u8();
    let id = bytes.get_u64();
    Ok(Frame { kind: Kind::from_u8(kind), id, body: bytes })
}

pub(super) fn pack<T: Serialize>(value: &T) -> Result<Bytes, String> {
    rmp_serde::to_vec_named(value).map(Bytes::from).map_err(|e| format!("encode: {e}"))
}

pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|e| format!("a message could not be read: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_survive_and_nonsense_does_not() {
        let frame = Frame { kind: Kind::Vote, id: 7, body: Bytes::from_static(b"body") };
        let mut written = Vec::new();
        write(&mut written, &frame).await.unwrap();
        assert_eq!(hex::encode(&written), "0000000d030000000000000007626f6479");
        let back = decode(BytesMut::from(&written[4..])).unwrap();
        assert_eq!((back.kind, back.id, back.body), (Kind::Vote, 7, Bytes::from_static(b"body")));
        assert!(decode(BytesMut::from(&[1u8; 8][..])).is_err());
        assert_eq!(decode(BytesMut::from(&[99u8; 12][..])).unwrap().kind, Kind::Unknown);
    }
}
