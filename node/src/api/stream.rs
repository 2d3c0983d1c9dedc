//! `/api/stream`: server-sent events (WHATWG HTML §9.2) that a reconnecting page resumes without a gap.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;

use super::site::{BoardEvent, BoardStream, Lagged};
use super::{ApiError, SiteData};
use crate::http::{Closing, Identity};

/// Keeps proxies from closing a quiet stream, and tells a page that the site lives.
const HEARTBEAT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
pub struct Resume {
    /// For clients that cannot send `Last-Event-ID`.
    since: Option<u64>,
}

/// Board events as they happen. `Last-Event-ID` (or `?since=`) resumes after that event; the event `reset`
/// says that older ones are no longer kept: read `/api/patients` and `/api/alerts` anew.
#[utoipa::path(path = "/api/stream", tag = "care", params(("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 403, body = ApiError)))]
#[get("/stream")]
pub async fn stream(
    site: SiteData,
    who: Identity,
    request: HttpRequest,
    query: web::Query<Resume>,
    closing: web::Data<Closing>,
) -> Result<HttpResponse, ApiError> {
    who.must_see_patients()?;
    let header_id = request.headers().get("Last-Event-ID").and_then(|id| id.to_str().ok()?.parse().ok());
    let feed = Feed::start(site, header_id.or(query.since), closing.for_stream());
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
    closing: Closing,
    waiting: VecDeque<Bytes>,
    coming: BoardStream,
    /// The last event sent: what a lagging connection resumes after.
    last: u64,
}

impl Feed {
    fn start(site: SiteData, since: Option<u64>, closing: Closing) -> Feed {
        let since = since.unwrap_or_else(|| site.board().1);
        let (missed, coming) = site.subscribe(since);
        // A comment first: the page learns at once that it is connected. Retry is in milliseconds.
        let hello = Bytes::from_static(b": medulla\nretry: 1000\n\n");
        let mut feed = Feed { site, closing, waiting: VecDeque::from([hello]), coming, last: since };
        missed.iter().for_each(|event| feed.push(event));
        feed
    }

    fn push(&mut self, event: &BoardEvent) {
        // What was missed and what is to come may overlap: each event once. A reset counts from anew.
        if event.seq > self.last || event.name == "reset" {
            self.last = event.seq;
            self.waiting.push_back(format_event(event));
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.waiting.pop_front() {
                return Some(bytes);
            }
            tokio::select! {
                () = self.closing.wait() => return None,
                () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(b": alive\n\n")),
                event = self.coming.next() => match event? {
                    Ok(event) => self.push(&event),
                    Err(Lagged) => {
                        let (missed, coming) = self.site.subscribe(self.last);
                        self.coming = coming;
                        missed.iter().for_each(|event| self.push(event));
                    }
                },
            }
        }
    }
}

fn format_event(event: &BoardEvent) -> Bytes {
    let mut text = String::with_capacity(event.json.len() + 64);
    // JSON from serde holds no line breaks; one that did would still arrive as one event.
    let _ = write!(text, "id: {}\nevent: {}\n", event.seq, event.name);
    for line in event.json.lines() {
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
    Bytes::from(text)
}
