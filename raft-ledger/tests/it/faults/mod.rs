//! Sites as processes that are killed, stopped, cut off, slowed down, given bad disks and wrong clocks, under load; what
//! their clients saw is checked to be one log, in real time (`history`).
//!
//! `MEDULLA_FAULT_SEED` replays a schedule as far as processes can be replayed; `MEDULLA_LONG=1` runs the long ones.

mod clock;
mod damage;
mod disk;
mod history;
mod kills;
mod load;
mod namespaces;
mod nemesis;
mod old_image;
mod partitions;
mod roads;
mod shim;
mod site;
mod stale;
