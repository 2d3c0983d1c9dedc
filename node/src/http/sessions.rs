//! Sign-ins by cookie, kept in memory: a restart signs everybody out.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand::RngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};

use super::Identity;

/// A shift.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Bounds memory; the oldest sessions go first.
const COUNT_MAX: usize = 10_000;

/// Keyed by the hash of the cookie, so that a dump of the memory's keys signs nobody in.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<[u8; 32], (Identity, Instant)>>);

impl Sessions {
    /// Opens a session and gives the cookie's value: 256 random bits, hex.
    pub fn open(&self, identity: Identity) -> String {
        let mut secret = [0; 32];
        OsRng.fill_bytes(&mut secret);
        let cookie = hex::encode(secret);
        let mut sessions = self.lock();
        sessions.retain(|_, (_, since)| since.elapsed() < LIFETIME);
        if sessions.len() >= COUNT_MAX
            && let Some(oldest) = sessions.iter().min_by_key(|(_, (_, since))| *since).map(|(key, _)| *key)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(key(&cookie), (identity, Instant::now()));
        cookie
    }

    pub fn find(&self, cookie: &str) -> Option<Identity> {
        let sessions = self.lock();
        let (identity, since) = sessions.get(&key(cookie))?;
        (since.elapsed() < LIFETIME).then(|| identity.clone())
    }

    /// Closes those of everybody else.
    pub fn keep(&self, stays: impl Fn(&Identity) -> bool) {
        self.lock().retain(|_, (identity, _)| stays(identity));
    }

    pub fn close(&self, cookie: &str) {
        self.lock().remove(&key(cookie));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], (Identity, Instant)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn key(cookie: &str) -> [u8; 32] {
    Sha256::digest(cookie.as_bytes()).into()
}
