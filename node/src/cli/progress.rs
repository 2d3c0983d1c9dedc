//! Progress on stderr, where a person looks on.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Counts up to an unknown end. Hidden where stderr is no terminal.
pub fn counter(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    // The template is ours: were it wrong, the default style shows the same numbers.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} {msg} in {elapsed} ({per_sec})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Says what is waited for, and for how long already.
pub fn waiting(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
