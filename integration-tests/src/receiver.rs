//! An MLLP receiver that answers as it is told to, reads as slowly as it is told to, and goes away and comes back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    pub message: String,
    /// What was said to it, in words of the test's own.
    pub said: String,
}

impl Heard {
    /// MSH-`number`; MSH-1 is the separator.
    pub fn msh(&self, number: usize) -> &str {
        self.message.split('\r').next().and_then(|msh| msh.split('|').nth(number - 1)).unwrap_or_default()
    }

    pub fn control_id(&self) -> &str {
        self.msh(10)
    }
}

/// What the receiver does with a message.
pub enum Reply {
    /// Sends these bytes, after so long.
    Bytes(Duration, Vec<u8>),
    /// Ends the connection without a word.
    Close,
}

impl Reply {
    /// One acknowledgement, at once.
    pub fn ack(code: &str, control_id: &str) -> Reply {
        Reply::Bytes(Duration::ZERO, Reply::frame(code, control_id))
    }

    pub fn frame(code: &str, control_id: &str) -> Vec<u8> {
        format!("\x0bMSH|^~\\&|EHR||||20260301080000||ACK|1|P|2.5\rMSA|{code}|{control_id}\r\x1c\r")
            .into_bytes()
    }
}

/// How fast it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Full,
    /// A byte, and then so long nothing.
    Byte(Duration),
    Not,
}

type Answer = Arc<dyn Fn(&Heard) -> (String, Reply) + Send + Sync>;

pub struct Receiver {
    pub port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
    answer: Answer,
    pace: watch::Sender<Pace>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

impl Receiver {
    /// `answer` is asked for each message: what it says in words, kept with the message, and in bytes.
    pub async fn start(
        answer: impl Fn(&Heard) -> (String, Reply) + Send + Sync + 'static,
    ) -> anyhow::Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let receiver = Receiver {
            port: listener.local_addr()?.port(),
            heard: Arc::default(),
            answer: Arc::new(answer),
            pace: watch::Sender::new(Pace::Full),
            listening: Mutex::default(),
        };
        receiver.listen(listener);
        Ok(receiver)
    }

    /// One that takes everything.
    pub async fn willing() -> anyhow::Result<Receiver> {
        Receiver::start(|heard| ("AA".into(), Reply::ack("AA", heard.control_id()))).await
    }

    fn listen(&self, listener: TcpListener) {
        let (heard, answer, pace) = (self.heard.clone(), self.answer.clone(), self.pace.clone());
        let task = tokio::spawn(async move {
            // Dropped with the task, and with it every connection.
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, heard.clone(), answer.clone(), pace.subscribe()));
            }
        });
        *self.listening.lock().expect("listening") = Some(task);
    }

    /// Nobody listens any more, and every connection ends.
    pub async fn go(&self) {
        let task = self.listening.lock().expect("listening").take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }

    /// On the same port.
    pub async fn come_back(&self) -> anyhow::Result<()> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], self.port).into())?;
        self.listen(socket.listen(64)?);
        Ok(())
    }

    pub fn read_nothing(&self) {
        self.pace.send_replace(Pace::Not);
    }

    pub fn read_bytewise(&self, pause: Duration) {
        self.pace.send_replace(Pace::Byte(pause));
    }

    pub fn read_on(&self) {
        self.pace.send_replace(Pace::Full);
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("heard").clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(task) = self.listening.lock().expect("listening").take() {
            task.abort();
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    heard: Arc<Mutex<Vec<Heard>>>,
    answer: Answer,
    mut pace: watch::Receiver<Pace>,
) {
    let mut bytes = Vec::new();
    loop {
        while let Some(end) = bytes.iter().position(|byte| *byte == 0x1c) {
            let frame: Vec<u8> = bytes.drain(..=end).collect();
            let text = String::from_utf8_lossy(&frame);
            let message = text.trim_matches(['\x0b', '\x1c', '\r', '\n']).to_owned();
            let mut one = Heard { message, said: String::new() };
            let (said, reply) = answer(&one);
            one.said = said;
            heard.lock().expect("heard").push(one);
            let Reply::Bytes(wait, answer) = reply else { return };
            tokio::time::sleep(wait).await;
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        let Ok(now) = pace.wait_for(|pace| *pace != Pace::Not).await.map(|pace| *pace) else { return };
        let mut piece = vec![0; if now == Pace::Full { 4096 } else { 1 }];
        match stream.read(&mut piece).await {
            Ok(length) if length > 0 => bytes.extend_from_slice(&piece[..length]),
            _ => return,
        }
        if let Pace::Byte(pause) = now {
            tokio::time::sleep(pause).await;
        }
    }
}
