//! Ports for tests that stop a site and start it again.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// An address that was free a moment ago and that no other test of this process is given: it stays free while its site
/// is down. Below the ports that the system gives to outgoing connections.
pub fn free_address() -> String {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Another process begins elsewhere.
    let first = std::process::id().wrapping_mul(97);
    loop {
        let number = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let address = format!("127.0.0.1:{}", 27_000 + number % 5_000);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}
