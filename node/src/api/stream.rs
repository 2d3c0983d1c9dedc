//! `/api/stream`: server-sent events (WHATWG HTML §9.2) that a reconnecting page resumes without a gap.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{ApiError, BoardEvent, SiteData};
use crate::http::{Closing, Identity};

/// Keeps proxies from closing a quiet stream, and tells a page that the site lives.
const HEARTBEAT: Duration = Duration::from_secs(10);
const RESET: Bytes = Bytes::from_static(b"event: reset\ndata: {}\n\n");

#[derive(Deserialize)]
pub struct Resume {
    /// For clients that cannot send `Last-Event-ID`.
    since: Option<String>,
}

/// Names one start of the site: event numbers begin anew with each, so an id from before a restart says nothing.
#[derive(Clone)]
pub struct Boot(String);

impl Boot {
    pub fn new() -> Boot {
        Boot(hex::encode(rand::random::<[u8; 6]>()))
    }

    /// The event number in an id of this start.
    fn seq_of(&self, id: &str) -> Option<u64> {
        id.strip_prefix(self.0.as_str())?.strip_prefix('-')?.parse().ok()
    }
}

/// Board events as they happen. `Last-Event-ID` (or `?since=`) resumes after that event; the event `reset`
/// says that older ones are no longer kept: read `/api/patients` and `/api/alerts` anew.
#[utoipa::path(path = "/api/stream", tag = "care", params(("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 403, body = ApiError)))]
#[get("/stream")]
pub async fn stream(
    site: SiteData,
    who: Identity,
    request: HttpRequest,
    query: web::Query<Resume>,
    boot: web::Data<Boot>,
    closing: web::Data<Closing>,
) -> Result<HttpResponse, ApiError> {
    who.must_see_patients()?;
    let header_id = request.headers().get("Last-Event-ID").and_then(|id| id.to_str().ok());
    let last_id = header_id.or(query.since.as_deref());
    let feed = Feed::start(site, last_id, boot.as_ref().clone(), closing.as_ref().clone());
    let events = futures_util::stream::unfold(feed, |mut feed| async move {
        let bytes = feed.next().await?;
        Some((Ok::<Bytes, actix_web::Error>(bytes), feed))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(events))
}

/// One connection's view: what is to be sent, and what comes next.
struct Feed {
    site: SiteData,
    boot: Boot,
    closing: Closing,
    waiting: VecDeque<Bytes>,
    events: Receiver<BoardEvent>,
    /// The last event sent: what a lagging connection resumes after.
    last: Option<u64>,
}

impl Feed {
    fn start(site: SiteData, last_id: Option<&str>, boot: Boot, closing: Closing) -> Feed {
        let since = last_id.and_then(|id| boot.seq_of(id));
        let (kept, events) = site.subscribe(since);
        let mut feed = Feed { site, boot, closing, waiting: VecDeque::new(), events, last: since };
        // A comment first: the page learns at once that it is connected. Retry is in milliseconds.
        feed.waiting.push_back(Bytes::from_static(b": medulla\nretry: 1000\n\n"));
        if last_id.is_some() && since.is_none() {
            feed.waiting.push_back(RESET);
        }
        feed.replay(kept);
        feed
    }

    fn replay(&mut self, kept: Vec<BoardEvent>) {
        let gap = match (self.last, kept.first()) {
            (Some(last), Some(first)) => first.seq != last.wrapping_add(1),
            _ => false,
        };
        if gap {
            self.waiting.push_back(RESET);
        }
        for event in kept {
            self.push(&event);
        }
    }

    fn push(&mut self, event: &BoardEvent) {
        // The replay and the live stream may overlap: each event once.
        if self.last.is_some_and(|last| event.seq <= last) {
            return;
        }
        self.last = Some(event.seq);
        self.waiting.push_back(format_event(&self.boot, event));
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.waiting.pop_front() {
                return Some(bytes);
            }
            tokio::select! {
                () = self.closing.wait() => return None,
                () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(b": alive\n\n")),
                event = self.events.recv() => match event {
                    Ok(event) => self.push(&event),
                    Err(RecvError::Lagged(_)) => {
                        let (kept, events) = self.site.subscribe(self.last);
                        self.events = events;
                        self.replay(kept);
                    }
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}

fn format_event(boot: &Boot, event: &BoardEvent) -> Bytes {
    let mut text = String::with_capacity(event.json.len() + 64);
    // JSON from serde holds no line breaks; one that did would still arrive as one event.
    let _ = write!(text, "id: {}-{}\nevent: {}\n", boot.0, event.seq, event.name);
    for line in event.json.lines() {
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
    Bytes::from(text)
}
