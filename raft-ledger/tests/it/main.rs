//! Ledgers of one process, of several, and under faults. One binary: it links once.

mod backup;
mod checkpoints;
mod cold;
mod common;
mod damage;
mod faults;
mod healing;
mod key_store;
mod kill;
mod members;
mod new_sites;
mod one_site;
mod outbox;
mod partner;
mod proofs;
mod shred;
mod takeover;
mod three_sites;
