//! A site's keys: one directory a site, made together by [`init`], or later by [`join`], read by [`SiteKeys::load`].
//!
//! ```text
//! consortium/   keep offline
//!   ca-cert.pem ca-key.pem       signs certificates
//!   authority-key.txt            Ed25519, written as C2SP note signer keys are: admits further sites
//!   public.json
//! <site>/
//!   site.json          this site's name
//!   public.json        origin, group, public keys of every founding site and of the authority; the same bytes everywhere
//!   site-keys.txt      of a site that joined later: its public keys, and so its request to be admitted
//!   site-admission.txt the same as the authority has signed it (`admission.rs`); the ledger brings it to the others
//!   ca-cert.pem        whom to trust on raft ports
//!   tls-cert.pem tls-key.pem     mTLS; subject alternative names: site name, host, localhost, loopback
//!   batch-key.pem      Ed25519, PKCS#8: signs batches
//!   log-key.txt        C2SP note signer key (0x01) under the group's origin: signs checkpoints
//!   cosigner-key.txt   C2SP cosigner key (0x04) under the site's own name
//!   index-key.hex      HMAC key that all sites share: tags, subjects, dedupe keys
//!   master-key.hex     this site's alone: encrypts its key store; may come from elsewhere instead (`master.rs`)
//! ```
//! Files with secrets are 0600. Nothing here is ever written again, but the master key by its rotation.

mod admission;
mod authority;
mod former;
mod index;
mod init;
mod join;
mod load;
mod master;
mod public;
mod ring;
#[cfg(test)]
mod ring_of_tests;
mod secret;
#[cfg(any(test, feature = "sim"))]
mod simulated;

pub use self::admission::{Admitted, admit};
pub use self::index::IndexKey;
pub use self::init::{init, init_continuing};
pub use self::join::join;
pub use self::load::SiteKeys;
pub use self::master::MasterKey;
pub use self::public::VerifierKeys;

#[cfg(test)]
pub(crate) use self::admission::authority_of;
pub(crate) use self::admission::{parse as parse_admission, requested};
pub(crate) use self::load::{certificate_expiry, certificate_names};
pub(crate) use self::public::{SitePublic, vkey};
pub(crate) use self::ring::KeyRing;
pub(crate) use self::secret::Secret;
#[cfg(any(test, feature = "sim"))]
pub(crate) use self::simulated::simulated;
