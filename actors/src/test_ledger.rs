//! What the tests of this crate keep their entries in.

use std::path::Path;

use raft_ledger::{Config, Ledger};

/// A ledger of one site in this folder.
pub(crate) async fn one_site(dir: &Path) -> Ledger {
    let keys = raft_ledger::keys::init(&dir.join("keys"), &[("a", "127.0.0.1")]).unwrap();
    let mut config = Config::new("a", dir.join("data"), &keys[0]);
    config.initialise = true;
    config.free_space_reserve_bytes = 1 << 20;
    Ledger::open(config).await.unwrap()
}
