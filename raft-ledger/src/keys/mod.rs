//! A site's keys: one directory a site, made together by [`init`], read by [`SiteKeys::load`].
//!
//! ```text
//! consortium/   ca-cert.pem  ca-key.pem  public.json       keep offline; admits further sites
//! <site>/
//!   site.json          this site's name
//!   public.json        origin, group, public keys of every site; the same bytes everywhere
//!   ca-cert.pem        whom to trust on raft ports
//!   tls-cert.pem tls-key.pem     mTLS; subject alternative names: site name, host, localhost, loopback
//!   batch-key.pem      Ed25519, PKCS#8: signs batches
//!   log-key.txt        C2SP note signer key (0x01) under the group's origin: signs checkpoints
//!   cosigner-key.txt   C2SP cosigner key (0x04) under the site's own name
//!   index-key.hex      HMAC key that all sites share: tags, subjects, dedupe keys
//!   master-key.hex     this site's alone: encrypts its key store; may come from elsewhere instead (`master.rs`)
//! ```
//! Files with secrets are 0600. Nothing here is ever written again, but the master key by its rotation.

mod former;
mod index;
mod init;
mod load;
mod master;
mod public;
mod secret;
#[cfg(any(test, feature = "sim"))]
mod simulated;

pub use self::index::IndexKey;
pub use self::init::{init, init_continuing};
pub use self::load::SiteKeys;
pub use self::master::MasterKey;
pub use self::public::VerifierKeys;

pub(crate) use self::load::certificate_names;
pub(crate) use self::public::vkey;
pub(crate) use self::secret::Secret;
#[cfg(any(test, feature = "sim"))]
pub(crate) use self::simulated::simulated;
