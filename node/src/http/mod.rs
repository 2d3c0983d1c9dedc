//! The site's HTTP face: one set of routes, served over TCP (TLS where configured) and over a unix socket.

mod auth;
mod client;
mod closing;
mod guard;
mod identity;
mod login;
mod server;
mod sessions;
mod socket;
pub mod tls;

#[cfg(test)]
pub mod sample;
#[cfg(test)]
mod tests;

pub use auth::Auth;
pub use client::{AdminClient, ClientError};
pub use closing::Closing;
pub use guard::Access;
pub use identity::{Identity, Operator};
pub use server::{Extra, Server};
pub use socket::{listen as socket_listen, path as socket_path};
