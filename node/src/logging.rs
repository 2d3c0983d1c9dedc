//! Logs go to stderr; they and the panic hook never carry patient data.

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Sets up logging once. `MEDULLA_LOG` filters, for example `MEDULLA_LOG=info,raft_ledger=debug`.
pub fn start(json: bool, default_filter: &str) {
    let filter = EnvFilter::try_from_env("MEDULLA_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let silence = filter_fn(tells_no_content);
    // A second start (tests) keeps the first one's.
    let _ = match json {
        true => builder.json().finish().with(silence).try_init(),
        false => builder.with_ansi(stderr_is_terminal()).finish().with(silence).try_init(),
    };
}

/// Whatever `MEDULLA_LOG` says. lapin warns of each message that a broker returns, with its body, and traces whole frames,
/// signing in among them.
fn tells_no_content(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    !target.starts_with("lapin")
        || (target != "lapin::returned_messages" && *metadata.level() <= Level::DEBUG)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_returns_is_in_no_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = std::sync::Mutex::new(std::fs::File::create(&path).unwrap());
        let lines = tracing_subscriber::fmt().with_env_filter(EnvFilter::new("trace")).with_writer(file);
        tracing::subscriber::with_default(lines.finish().with(filter_fn(tells_no_content)), || {
            tracing::warn!(target: "lapin::returned_messages", "secret 1");
            tracing::trace!(target: "lapin::channels", "secret 2");
            tracing::warn!(target: "lapin::channels", "told 1");
            tracing::trace!(target: "connectors::amqp", "told 2");
        });
        let log = std::fs::read_to_string(path).unwrap();
        assert!(log.contains("told 1") && log.contains("told 2") && !log.contains("secret"), "{log}");
    }
}
