//! Checks passwords, tokens and session cookies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, watch};

use super::Identity;
use super::sessions::Sessions;
use crate::config::{Role, Secret, Token, User};

/// An argon2 check costs 19 MiB and tens of milliseconds: more at once would let strangers exhaust the site.
const CHECKS_AT_ONCE: usize = 2;
const FAILURE_DELAY: Duration = Duration::from_millis(500);

#[derive(Clone, PartialEq)]
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

/// Who may sign in as of one reading of the configuration.
struct Accounts {
    users: Vec<Account>,
    tokens: Vec<Account>,
    /// Tokens that were right, by SHA-256: argon2 is too slow for every request of a feed.
    known_tokens: Mutex<HashMap<[u8; 32], Identity>>,
}

impl Accounts {
    fn new(users: &[User], tokens: &[Token]) -> Accounts {
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
        Accounts {
            users: users.iter().map(user).collect(),
            tokens: tokens.iter().map(token).collect(),
            known_tokens: Mutex::default(),
        }
    }

    fn known(&self, key: &[u8; 32]) -> Option<Identity> {
        self.known_tokens.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

pub struct Auth {
    accounts: RwLock<Arc<Accounts>>,
    replaced: watch::Sender<()>,
    sessions: Sessions,
    checks: Semaphore,
}

impl Auth {
    pub fn new(users: &[User], tokens: &[Token]) -> Auth {
        Auth {
            accounts: RwLock::new(Arc::new(Accounts::new(users, tokens))),
            replaced: watch::channel(()).0,
            sessions: Sessions::default(),
            checks: Semaphore::new(CHECKS_AT_ONCE),
        }
    }

    /// Who may sign in from here on. Whose account is another now, or gone, is signed out, and all streams begin anew.
    pub fn replace(&self, users: &[User], tokens: &[Token]) {
        let new = Arc::new(Accounts::new(users, tokens));
        let former = std::mem::replace(
            &mut *self.accounts.write().unwrap_or_else(PoisonError::into_inner),
            new.clone(),
        );
        let is_same = |user: &&Account| new.users.contains(user);
        let same: Vec<&str> = former.users.iter().filter(is_same).map(|user| user.name.as_str()).collect();
        self.sessions.keep(|identity| same.contains(&identity.name()));
        self.replaced.send_replace(());
    }

    /// Changes with every `replace`.
    pub fn replaced(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }

    fn accounts(&self) -> Arc<Accounts> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nobody is configured: whoever reaches the loopback address is the local administrator.
    pub fn is_open(&self) -> bool {
        let accounts = self.accounts();
        accounts.users.is_empty() && accounts.tokens.is_empty()
    }

    /// A person's name and password; the session's cookie.
    pub async fn sign_in(&self, name: &str, password: &str) -> Option<String> {
        let accounts = self.accounts();
        let user = accounts.users.iter().find(|user| user.name == name);
        // An unknown name costs the same time as a wrong password, and so tells nothing.
        let hash = user.or(accounts.users.first())?.hash.clone();
        let right = self.verify(vec![hash], password.to_owned()).await.is_some();
        // The lock is held until the session is there: accounts that are replaced close it.
        let now = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let user = user.filter(|user| right && now.users.contains(user))?;
        Some(self.sessions.open(user.identity()))
    }

    /// Who has signed in.
    pub fn session(&self, cookie: &str) -> Option<Identity> {
        self.sessions.find(cookie)
    }

    pub fn sign_out(&self, cookie: &str) {
        self.sessions.close(cookie);
    }

    /// A program's bearer token.
    pub async fn token(&self, token: &str) -> Option<Identity> {
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let accounts = self.accounts();
        if let Some(identity) = accounts.known(&key) {
            return Some(identity);
        }
        let hashes = accounts.tokens.iter().map(|token| token.hash.clone()).collect();
        let position = self.verify(hashes, token.to_owned()).await?;
        let identity = accounts.tokens.get(position)?.identity();
        // Bounded by the number of configured tokens: only right ones get in.
        accounts.known_tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key, identity.clone());
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
