//! Files: one, or those of a folder, also as they arrive. A durable cursor says what is settled, so that a restart
//! goes on behind it.

mod progress;
mod reader;
mod source;

pub use source::{Config, Piece, Splitter, source};
