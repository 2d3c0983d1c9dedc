//! Checks passwords, tokens and session cookies.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::Identity;
use super::sessions::Sessions;
use crate::config::{Role, Secret, Token, User};

/// An argon2 check costs 19 MiB and tens of milliseconds: more at once would let strangers exhaust the site.
const CHECKS_AT_ONCE: usize = 2;
const FAILURE_DELAY: Duration = Duration::from_millis(500);

struct Account {
    name: String,
    hash: Secret,
    roles: Vec<Role>,
}

impl Account {
    fn identity(&self) -> Identity {
        Identity::new(&self.name, self.roles.clone())
    }
}

pub struct Auth {
    users: Vec<Account>,
    tokens: Vec<Account>,
    pub sessions: Sessions,
    /// Tokens that were right, by SHA-256: argon2 is too slow for every request of a feed.
    known_tokens: Mutex<HashMap<[u8; 32], Identity>>,
    checks: Semaphore,
}

impl Auth {
    pub fn new(users: &[User], tokens: &[Token]) -> Auth {
        let user = |user: &User| Account {
            name: user.name.clone(),
            hash: user.password_hash.clone(),
            roles: user.roles.clone(),
        };
        let token = |token: &Token| Account {
            name: token.name.clone(),
            hash: token.token_hash.clone(),
            roles: token.roles.clone(),
        };
        Auth {
            users: users.iter().map(user).collect(),
            tokens: tokens.iter().map(token).collect(),
            sessions: Sessions::default(),
            known_tokens: Mutex::default(),
            checks: Semaphore::new(CHECKS_AT_ONCE),
        }
    }

    /// Nobody is configured: whoever reaches the loopback address is the local administrator.
    pub fn is_open(&self) -> bool {
        self.users.is_empty() && self.tokens.is_empty()
    }

    /// A person's name and password.
    pub async fn sign_in(&self, name: &str, password: &str) -> Option<Identity> {
        let user = self.users.iter().find(|user| user.name == name);
        // An unknown name costs the same time as a wrong password, and so tells nothing.
        let hash = user.or(self.users.first())?.hash.clone();
        let right = self.verify(vec![hash], password.to_owned()).await.is_some();
        user.filter(|_| right).map(Account::identity)
    }

    /// A program's bearer token.
    pub async fn token(&self, token: &str) -> Option<Identity> {
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known =
            |auth: &Auth| auth.known_tokens.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(identity) = known(self) {
            return Some(identity);
        }
        let hashes = self.tokens.iter().map(|token| token.hash.clone()).collect();
        let position = self.verify(hashes, token.to_owned()).await?;
        let identity = self.tokens.get(position)?.identity();
        // Bounded by the number of configured tokens: only right ones get in.
        self.known_tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key, identity.clone());
        Some(identity)
    }

    /// The position of the hash that the secret fits.
    async fn verify(&self, hashes: Vec<Secret>, secret: String) -> Option<usize> {
        let _permit = self.checks.acquire().await.ok()?;
        let fits = move |hash: &Secret| {
            PasswordHash::new(hash.expose())
                .is_ok_and(|hash| Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok())
        };
        let found = tokio::task::spawn_blocking(move || hashes.iter().position(fits)).await.ok()?;
        if found.is_none() {
            tokio::time::sleep(FAILURE_DELAY).await;
        }
        found
    }
}
