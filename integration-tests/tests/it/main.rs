//! Whole sites, real brokers, faults. One binary: it links once.

mod first_run;
mod tidy;
