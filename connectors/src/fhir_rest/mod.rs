//! FHIR's RESTful API (FHIR R4, 3.1.0), as far as a feed needs it, and HL7 v2 over HTTP. The node's web server
//! carries the [`routes`]; requests become messages, verdicts become answers.

mod answer;
mod door;
mod endpoint;
mod pending;
mod routes;
mod source;

pub use door::Door;
pub use endpoint::{Endpoint, Lookup};
pub use routes::routes;
pub use source::{Config, Source};
