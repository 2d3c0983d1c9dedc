//! Whole sites as processes, for tests that treat Medulla as its users do: configuration files, sockets, signals.

mod amqp_queues;
mod consortium;
mod disk;
mod expect;
mod kafka_topics;
mod kafka_transactions;
mod letter;
mod line;
mod link;
mod listing;
mod messages;
mod process;
mod program;
mod receiver;
// The ledger's own fault tests have it, too.
#[path = "../../raft-ledger/tests/it/faults/shim.rs"]
mod shim;
mod site;
mod truth;

pub use amqp_queues::{AmqpQueues, AmqpSender};
pub use consortium::{Consortium, Network};
pub use disk::{Cut, Disk, build_shim};
pub use expect::{eventually, skip};
pub use kafka_topics::{KafkaSender, KafkaTopics};
pub use kafka_transactions::KafkaTransactions;
pub use letter::{Letter, sha256};
pub use line::{Line, msa};
pub use link::Link;
pub use listing::{Listing, Row};
pub use messages::{admission, control_ids};
pub use process::Process;
pub use program::{medulla, medulla_as, program, run, run_as, shared, workspace_root};
pub use receiver::{Heard, Receiver, Reply};
pub use shim::Shim;
pub use site::{Site, SiteOptions, free_port, text};
pub use truth::{Sent, TruthFile};
