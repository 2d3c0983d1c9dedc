//! A feed for the tests of this crate.

use clinical::hl7::Limits;
use connectors::mllp;

use crate::parts::{Ack, Feed, OnError};
use crate::silence::Silence;

/// MLLP, on a port of its own.
pub(crate) async fn mllp() -> Feed {
    let listens = mllp::Config::new("127.0.0.1:0");
    Feed {
        name: "adt".into(),
        kind: "mllp",
        source: Box::new(mllp::Source::listen(listens).await.unwrap()),
        reader: clinical::Feed { authority: "HOSP".into(), ..clinical::Feed::default() },
        limits: Limits::default(),
        on_error: OnError::Hold,
        ack: Ack::Quorum,
        application_acks: None,
        silence: Silence::Off,
    }
}
