//! HL7 v2 in its pipe-and-hat form (ER7), v2.1 to v2.9: bytes to an index, the index to events, and answers.

mod charset;
mod delimiters;
mod error;
mod escape;
mod index;
mod message;
mod path;
mod scan;
mod view;

pub use charset::Charset;
pub use delimiters::Delimiters;
pub use error::{Limits, ParseError};
pub use message::Message;
pub use view::{Part, Segment};
