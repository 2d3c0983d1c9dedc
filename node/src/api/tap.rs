//! `/api/feeds/{feed}/tap`: messages of one feed as they get their answers.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpResponse, get, web};
use actors::Tapped;
use bytes::Bytes;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::{ApiError, SiteData};
use crate::http::{Closing, Identity};

const HEARTBEAT: Duration = Duration::from_secs(10);

/// Messages of one feed from here on, as server-sent events: `message` (time, type, control id, outcome, code, index,
/// milliseconds), and `missed` where more came than this connection took.
#[utoipa::path(path = "/api/feeds/{feed}/tap", tag = "feeds", params(("feed" = String, Path)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 403, body = ApiError),
        (status = 404, body = ApiError)))]
#[get("/feeds/{feed}/tap")]
pub async fn tap(
    site: SiteData,
    who: Identity,
    feed: web::Path<String>,
    closing: web::Data<Closing>,
) -> Result<HttpResponse, ApiError> {
    who.must_see_operations()?;
    let feed = feed.into_inner();
    // Before the answer leaves: what comes after it is not missed.
    let coming = site.tap();
    if site.feeds().iter().all(|known| known.name != feed) {
        return Err(ApiError::not_found("feed"));
    }
    let listener = Listener { feed, coming, closing: closing.for_stream(), said_hello: false };
    let events = futures_util::stream::unfold(listener, |mut listener| async move {
        let bytes = listener.next().await?;
        Some((Ok::<Bytes, actix_web::Error>(bytes), listener))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(events))
}

struct Listener {
    feed: String,
    coming: Receiver<Arc<Tapped>>,
    closing: Closing,
    said_hello: bool,
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.said_hello, true) {
            return Some(Bytes::from_static(b": medulla\n\n"));
        }
        // Once for all of the other feeds' messages: they say nothing to this caller.
        let heartbeat = tokio::time::sleep(HEARTBEAT);
        tokio::pin!(heartbeat);
        loop {
            tokio::select! {
                () = self.closing.wait() => return None,
                () = &mut heartbeat => return Some(Bytes::from_static(b": alive\n\n")),
                came = self.coming.recv() => match came {
                    Ok(tapped) if tapped.feed == self.feed => return Some(event("message", &json!(*tapped))),
                    Ok(_) => {}
                    // Of all feeds together: how many of them were this one's is not known.
                    Err(RecvError::Lagged(missed)) => return Some(event("missed", &json!({ "at_most": missed }))),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}

fn event(name: &str, data: &serde_json::Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
