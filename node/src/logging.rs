//! Logs go to stderr; they and the panic hook never carry patient data.

use tracing_subscriber::EnvFilter;

/// Sets up logging once. `MEDULLA_LOG` filters, for example `MEDULLA_LOG=info,raft_ledger=debug`.
pub fn start(json: bool, default_filter: &str) {
    let filter = EnvFilter::try_from_env("MEDULLA_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start (tests) keeps the first one's.
    let _ = if json { builder.json().try_init() } else { builder.with_ansi(stderr_is_terminal()).try_init() };
}

fn stderr_is_terminal() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal()
}

/// A panic's message may quote what was being read, so only its place is told.
pub fn hide_panic_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "unknown place".to_owned(), ToString::to_string);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(%place, thread, "panic: a defect of medulla; please report the place");
        eprintln!(
            "medulla: panic at {place} in thread {thread}: a defect of medulla; please report this line"
        );
    }));
}
