//! HL7 v2 in its pipe-and-hat form (ER7), v2.1 to v2.9: bytes to an index, the index to events, and answers.

pub mod ack;
mod batch;
mod charset;
mod check;
mod delimiters;
mod dtm;
mod error;
mod escape;
mod events;
mod index;
mod message;
mod path;
mod scan;
mod split;
mod structure;
mod view;

pub use batch::{BatchPart, batch_parts};
pub use charset::{Charset, is_wide};
pub use check::{Finding, Report, Status, check, status_of};
pub use delimiters::Delimiters;
pub use dtm::{Dtm, DtmInvalid};
pub use error::{Limits, ParseError};
pub use events::{message_time, to_events};
pub use message::Message;
pub use split::{Piece, PieceKind, messages, split, without_marks};
pub use view::{Part, Segment};
