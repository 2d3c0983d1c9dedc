//! That `ledgerdb` is not what was written: kept in the file `DAMAGED` beside it, so that also the next start knows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use super::files;
use crate::LedgerError;

const MARK: &str = "DAMAGED";

#[derive(Clone)]
pub(crate) struct Damage {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    /// Where it was found first, in words.
    found: watch::Sender<Option<String>>,
}

impl Damage {
    pub(super) fn open(dir: &Path) -> Result<Damage, LedgerError> {
        let found = watch::Sender::new(marked(dir)?);
        Ok(Damage { inner: Arc::new(Inner { dir: dir.to_owned(), found }) })
    }

    /// The first one counts.
    pub(crate) fn tell(&self, text: &str) {
        let first = self.inner.found.send_if_modified(|found| {
            let first = found.is_none();
            found.get_or_insert_with(|| text.to_owned());
            first
        });
        if !first {
            return;
        }
        tracing::error!(damage = text, "the ledger database of this site is damaged");
        if let Err(error) = files::replace_text(&self.inner.dir, MARK, text) {
            tracing::error!(%error, "this could not be kept; the next start may have to find it again");
        }
    }

    /// Passes the result on, and its damage to those who heal.
    pub(crate) fn hear<T>(&self, result: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if let Err(LedgerError::Damaged(text)) = &result {
            self.tell(text);
        }
        result
    }

    pub(crate) fn found(&self) -> Option<String> {
        self.inner.found.borrow().clone()
    }

    pub(crate) async fn is_found(&self) -> String {
        let mut found = self.inner.found.subscribe();
        match found.wait_for(Option::is_some).await {
            Ok(text) => text.clone().unwrap_or_default(),
            // The sender lives as long as this handle.
            Err(_) => std::future::pending().await,
        }
    }
}

/// What an earlier process found.
pub(crate) fn marked(dir: &Path) -> Result<Option<String>, LedgerError> {
    let path = dir.join(MARK);
    match files::read_text(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LedgerError::Io { path: path.display().to_string(), source }),
    }
}

/// Once there is another database.
pub(crate) fn unmark(dir: &Path) -> Result<(), LedgerError> {
    let path = dir.join(MARK);
    files::remove_file(&path).map_err(|source| LedgerError::Io { path: path.display().to_string(), source })
}
