//! What is kept on this site's disk: the raft log, the ledger, and the site's own values.

pub(crate) mod applied;
pub(crate) mod arrival;
pub(crate) mod content;
pub(crate) mod damage;
pub(crate) mod db;
mod entry_codec;
mod fatal;
pub(crate) mod files;
pub(crate) mod generation;
pub(crate) mod ledger_store;
mod log_identity;
mod log_store;
mod outcomes;
mod reached;
pub(crate) mod recompute;
pub(crate) mod replace;
pub(crate) mod set_aside;
mod site_db;
pub(crate) mod state_machine;
#[cfg(test)]
mod suite;
mod sync;
pub(crate) mod tags;

pub(crate) use entry_codec::{
    decode as decode_entry, encode_into as encode_entry_into, hash as hash_of_entry, hash_of_encoded,
    len_hint as entry_len_hint,
};
pub(crate) use fatal::end_process;
pub(crate) use log_store::LogStore;
pub(crate) use outcomes::outcomes_of;
pub(crate) use reached::{Reached, words as reached_in_words};
pub(crate) use site_db::{KeyValues, SiteDb};
