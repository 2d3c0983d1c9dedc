//! The pages for people: care board, feeds, messages, ledger. Plain files compiled into the program, no build
//! step, nothing from elsewhere; what they show comes from `/api`.

use actix_web::http::header;
use actix_web::{HttpResponse, web};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
/// Stricter than the server's own: no style and no script stands in a page.
const CONTENT_POLICY: &str =
    "default-src 'self'; object-src 'none'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'";

/// Every page begins alike: head, top bar, state of the connection.
macro_rules! page {
    ($path:literal, $file:literal) => {
        ($path, HTML, concat!(include_str!("pages/top.html"), include_str!(concat!("pages/", $file))))
    };
}

macro_rules! asset {
    ($file:literal, $type:ident) => {
        (concat!("/assets/", $file), $type, include_str!(concat!("assets/", $file)))
    };
}

/// Path, content type, content. The guard asks for a sign-in before pages; assets are open and hold no data.
const FILES: [(&str, &str, &str); 28] = [
    page!("/", "board.html"),
    page!("/feeds", "feeds.html"),
    page!("/messages", "messages.html"),
    page!("/ledger", "ledger.html"),
    asset!("base.css", CSS),
    asset!("alerts.css", CSS),
    asset!("patients.css", CSS),
    asset!("detail.css", CSS),
    asset!("operations.css", CSS),
    asset!("mark.svg", SVG),
    asset!("dom.js", JS),
    asset!("format.js", JS),
    asset!("api.js", JS),
    asset!("shell.js", JS),
    asset!("live.js", JS),
    asset!("store.js", JS),
    asset!("announce.js", JS),
    asset!("alerts.js", JS),
    asset!("acknowledge.js", JS),
    asset!("patients.js", JS),
    asset!("chart.js", JS),
    asset!("detail.js", JS),
    asset!("board.js", JS),
    asset!("feeds.js", JS),
    asset!("entries.js", JS),
    asset!("messages.js", JS),
    asset!("ledger.js", JS),
    asset!("trace.js", JS),
];

pub fn routes(config: &mut web::ServiceConfig) {
    for (path, content_type, body) in FILES {
        config.route(path, web::get().to(move || std::future::ready(file(content_type, body))));
    }
}

fn file(content_type: &'static str, body: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        // A page and its scripts belong to one release: after an upgrade both are asked for again.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_POLICY))
        .body(body)
}

#[cfg(test)]
mod tests {
    use super::FILES;

    fn bodies(content_type: &str) -> impl Iterator<Item = (&str, &str)> {
        FILES.iter().filter(move |file| file.1 == content_type).map(|(path, _, body)| (*path, *body))
    }

    #[test]
    fn every_file_that_is_asked_for_is_there() {
        let quoted = |body: &'static str| body.split(['"', '\'']);
        for (path, _, body) in FILES {
            let wanted = quoted(body).filter_map(|word| match word.strip_prefix("./") {
                Some(name) if name.ends_with(".js") => Some(format!("/assets/{name}")),
                _ => word.starts_with("/assets/").then(|| word.to_owned()),
            });
            for file in wanted {
                assert!(FILES.iter().any(|(known, ..)| *known == file), "{path} asks for {file}");
            }
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_no_data_becomes_markup() {
        for (path, _, body) in FILES {
            for needle in
                ["https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!body.contains(needle), "{path} holds {needle}");
            }
            let foreign = body.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("http://"), "{path} names another host");
        }
        for (path, body) in bodies(super::HTML) {
            // The content policy would refuse them in silence.
            assert!(!body.contains("<style") && !body.contains(" style="), "{path}");
            let handler = |word: &str| word.starts_with("on") && word.contains('=');
            assert!(!body.split_whitespace().any(handler), "{path} has an event handler in its markup");
        }
    }
}
