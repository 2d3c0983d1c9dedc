//! Whole sites, real brokers, faults. One binary: it links once.

mod amqp_flow;
mod backpressure;
mod board;
mod board_browser;
mod board_cut;
mod board_patients;
mod brokers;
mod cold;
mod constant_model;
mod dashboards;
mod explain;
mod faults;
mod first_run;
mod healing;
mod kafka_flow;
mod keys;
mod members;
mod model_cli;
mod model_replay;
mod outbox;
mod proofs;
mod reads;
mod shred;
mod takeover;
mod tidy;
mod unsynced;
