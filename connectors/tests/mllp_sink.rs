//! The MLLP sink against receivers that misbehave, over real sockets: refusals, late and foreign answers, peers that
//! vanish, peers that read no more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use connectors::mllp::{Answered, ClientConfig, Judge, Sink};
use connectors::{Outbound, Sink as _, SinkError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the receiver does with a message.
enum Reply {
    /// Answers `CODE ID`, in this order.
    Say(Vec<String>),
    /// After so long, when its sender has given it up.
    Late(Duration, String),
    Silence,
    Close,
}

/// Which connection a message came by, and which it was.
type Heard = Arc<Mutex<Vec<(usize, String)>>>;

struct Receiver {
    config: ClientConfig,
    heard: Heard,
}

impl Receiver {
    /// `reply` gets the number of the message, counted over all connections, and its id.
    async fn start(reply: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = ClientConfig::new(listener.local_addr().unwrap().to_string());
        config.timeout_s = 1;
        let (heard, reply) = (Heard::default(), Arc::new(reply));
        let kept = heard.clone();
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, connection, kept.clone(), reply.clone()));
            }
        });
        Receiver { config, heard }
    }

    fn sink(&self) -> Sink {
        Sink::new(self.config.clone(), judge())
    }

    fn heard(&self) -> Vec<(usize, String)> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    heard: Heard,
    reply: Arc<impl Fn(usize, &str) -> Reply>,
) {
    let mut bytes = Vec::new();
    loop {
        while let Some(end) = bytes.iter().position(|byte| *byte == 0x1c) {
            let frame: Vec<u8> = bytes.drain(..=end).collect();
            let text = String::from_utf8_lossy(&frame);
            let id = text.trim_matches(|c: char| c.is_control()).to_owned();
            let number = {
                let mut heard = heard.lock().unwrap();
                heard.push((connection, id.clone()));
                heard.len() - 1
            };
            let said = match reply(number, &id) {
                Reply::Say(said) => said,
                Reply::Late(wait, said) => {
                    tokio::time::sleep(wait).await;
                    vec![said]
                }
                Reply::Silence => vec![],
                Reply::Close => return,
            };
            for answer in said {
                if stream.write_all(format!("\x0b{answer}\x1c\r").as_bytes()).await.is_err() {
                    return;
                }
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

fn judge() -> Judge {
    Arc::new(|message, answer| match std::str::from_utf8(answer).unwrap_or_default().split_once(' ') {
        Some((_, id)) if id != message.id => Answered::Other,
        Some(("AA" | "CA", _)) => Answered::Taken,
        Some((code, _)) => Answered::Refused(code.to_owned()),
        None => Answered::Unreadable("no answer".into()),
    })
}

fn message(id: &str) -> Outbound {
    Outbound {
        id: id.into(),
        key: "k".into(),
        content_type: "x",
        body: Bytes::copy_from_slice(id.as_bytes()),
    }
}

fn heard(expected: &[(usize, &str)]) -> Vec<(usize, String)> {
    expected.iter().map(|(connection, id)| (*connection, (*id).to_owned())).collect()
}

#[tokio::test]
async fn a_storm_of_refusals_keeps_order_and_connection() {
    let receiver = Receiver::start(|number, id| {
        let code = ["AE", "AR", "CE", "CR"][number % 4];
        Reply::Say(vec![if number < 200 { format!("{code} {id}") } else { format!("AA {id}") }])
    })
    .await;
    let mut sink = receiver.sink();
    for number in 0..200 {
        let told = sink.deliver(&message(&number.to_string())).await;
        assert!(matches!(told, Err(SinkError::Refused(_))), "{number}: {told:?}");
    }
    sink.deliver(&message("last")).await.unwrap();
    let expected: Vec<_> = (0..200).map(|n| (0, n.to_string())).chain([(0, "last".to_owned())]).collect();
    assert_eq!(receiver.heard(), expected);
}

#[tokio::test]
async fn answers_to_other_messages_are_dropped() {
    let receiver = Receiver::start(|number, id| {
        let of = |code: &str, id: &str| format!("{code} {id}");
        Reply::Say(match number {
            // Enhanced mode's two answers: the second one arrives while the next message waits for its own.
            0 => vec![of("CA", id), of("AA", id)],
            1 => vec![of("AE", "a"), of("AA", "nobody"), of("AA", id)],
            _ => vec![of("AA", "b"), of("AE", id)],
        })
    })
    .await;
    let mut sink = receiver.sink();
    sink.deliver(&message("a")).await.unwrap();
    sink.deliver(&message("b")).await.unwrap();
    let refused = sink.deliver(&message("c")).await;
    assert!(matches!(&refused, Err(SinkError::Refused(code)) if code == "AE"), "{refused:?}");
    assert_eq!(receiver.heard(), heard(&[(0, "a"), (0, "b"), (0, "c")]));
}

#[tokio::test]
async fn a_refusal_said_twice_is_not_the_second_trys() {
    let receiver = Receiver::start(|number, id| {
        let of = |code: &str| format!("{code} {id}");
        Reply::Say(if number == 0 { vec![of("AE"), of("AE")] } else { vec![of("AA")] })
    })
    .await;
    let mut sink = receiver.sink();
    let told = sink.deliver(&message("a")).await;
    assert!(matches!(told, Err(SinkError::Refused(_))), "{told:?}");
    sink.deliver(&message("a")).await.unwrap();
    assert_eq!(receiver.heard(), heard(&[(0, "a"), (1, "a")]));
}

#[tokio::test]
async fn a_wrong_msa_2_alone_is_no_answer() {
    let receiver = Receiver::start(|number, id| {
        Reply::Say(vec![if number == 0 { "AA other".into() } else { format!("AA {id}") }])
    })
    .await;
    let mut sink = receiver.sink();
    let told = sink.deliver(&message("a")).await;
    assert!(matches!(&told, Err(SinkError::Unanswered(text)) if text.contains("within 1 s")), "{told:?}");
    sink.deliver(&message("a")).await.unwrap();
    assert_eq!(receiver.heard(), heard(&[(0, "a"), (1, "a")]));
}

#[tokio::test]
async fn what_comes_late_is_taken_for_nothing() {
    let receiver = Receiver::start(|number, id| match number {
        0 => Reply::Late(Duration::from_millis(1_500), format!("AA {id}")),
        1 => Reply::Say(vec![format!("AE {id}")]),
        _ => Reply::Say(vec![format!("AA {id}")]),
    })
    .await;
    let mut sink = receiver.sink();
    let told = sink.deliver(&message("a")).await;
    assert!(matches!(told, Err(SinkError::Unanswered(_))), "{told:?}");
    let told = sink.deliver(&message("a")).await;
    assert!(matches!(told, Err(SinkError::Refused(_))), "the AA of the former try counts not: {told:?}");
    sink.deliver(&message("b")).await.unwrap();
    assert_eq!(receiver.heard(), heard(&[(0, "a"), (1, "a"), (1, "b")]));
}

#[tokio::test]
async fn a_peer_that_vanished_is_left_and_dialled_anew() {
    let receiver = Receiver::start(|number, id| match number {
        1 => Reply::Silence,
        2 => Reply::Close,
        _ => Reply::Say(vec![format!("AA {id}")]),
    })
    .await;
    let mut sink = receiver.sink();
    sink.deliver(&message("a")).await.unwrap();
    for _ in 0..2 {
        let told = sink.deliver(&message("b")).await;
        let is_tried_again = matches!(told, Err(SinkError::Unreachable(_) | SinkError::Unanswered(_)));
        assert!(is_tried_again, "{told:?}");
    }
    sink.deliver(&message("b")).await.unwrap();
    sink.deliver(&message("c")).await.unwrap();
    assert_eq!(receiver.heard(), heard(&[(0, "a"), (0, "b"), (1, "b"), (2, "b"), (2, "c")]));
}

#[tokio::test]
async fn a_peer_that_reads_no_more_does_not_hold_the_sink_for_good() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = ClientConfig::new(listener.local_addr().unwrap().to_string());
    config.timeout_s = 1;
    // More than the sockets' buffers hold.
    let large = Outbound { body: Bytes::from(vec![b'x'; 64 << 20]), ..message("a") };
    let mut sink = Sink::new(config, judge());
    let told = sink.deliver(&large).await;
    assert!(matches!(&told, Err(SinkError::Unreachable(text)) if text.contains("within 1 s")), "{told:?}");
    drop(listener);
}
