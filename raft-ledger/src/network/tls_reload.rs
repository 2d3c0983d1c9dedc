//! The site's TLS files are read again when they change: the next connection is made with the new ones.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::tls::{Ends, Tls};
use crate::LedgerError;
use crate::clock;
use crate::keys::SiteKeys;

const LOOK_EVERY: Duration = Duration::from_secs(2);

const FILES: [&str; 3] = ["tls-cert.pem", "tls-key.pem", "ca-cert.pem"];

/// Change time, inode, length. The change time, because mended permissions leave the time of modification as it was.
type Stamp = [Option<([i64; 2], u64, u64)>; 3];

/// Looks after the TLS files of one site's folder of keys.
pub(crate) struct Reload {
    tls: Tls,
    folder: PathBuf,
    site: String,
    last: Stamp,
    read: Stamp,
    /// What could not be used. It is tried again at each look, because reasons pass (permissions, a date to come), and
    /// told once: a reason may name the time.
    refused: Option<Stamp>,
}

impl Reload {
    pub(crate) fn new(tls: &Tls, folder: &Path, keys: &SiteKeys) -> Reload {
        let stamp = stamp(folder);
        let (tls, folder, site) = (tls.clone(), folder.to_owned(), keys.site().to_owned());
        Reload { tls, folder, site, last: stamp, read: stamp, refused: None }
    }

    pub(crate) async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(this) => self = this,
                Err(_) => return,
            }
        }
    }

    /// Two looks that agree are needed, so that nothing is read while it is written.
    fn look(&mut self) {
        let now = stamp(&self.folder);
        let is_still_written = std::mem::replace(&mut self.last, now) != now;
        if is_still_written || self.read == now {
            return;
        }
        match self.load(clock::now_ms() / 1000) {
            Ok(ends) => {
                (self.read, self.refused) = (now, None);
                let expires_at_s = ends.expires_at_s;
                self.tls.exchange(ends);
                tracing::info!(expires_at_s, "the site's certificate was read again; new connections use it");
            }
            Err(error) => {
                if self.refused.replace(now) == Some(now) {
                    return;
                }
                self.tls.count_failed_reload();
                tracing::warn!(
                    %error,
                    "changed TLS files cannot be used, the former ones stay in use; put right ones in their place, they \
                     are read without a restart"
                );
            }
        }
    }

    fn load(&self, now_s: i64) -> Result<Ends, LedgerError> {
        let keys = SiteKeys::load(&self.folder)?;
        let bad = |text: &str| LedgerError::Keys(format!("{} {text}", self.folder.join(FILES[0]).display()));
        if keys.site() != self.site {
            return Err(bad("is in the folder of another site; put this site's files back"));
        }
        let ends = Ends::new(&keys)?;
        if ends.expires_at_s <= now_s {
            return Err(bad("has expired; put a valid one in its place"));
        }
        // Its peers would refuse what their authority did not sign, or not for this day.
        let now_s = u64::try_from(now_s).unwrap_or_default();
        let checked = ends.check_own(&keys, Duration::from_secs(now_s));
        checked.map_err(|error| {
            bad(&format!("is not one that {} stands for: {error}; its authority must sign it", FILES[2]))
        })?;
        Ok(ends)
    }
}

fn stamp(folder: &Path) -> Stamp {
    FILES.map(|name| {
        let found = std::fs::metadata(folder.join(name)).ok()?;
        Some(([found.ctime(), found.ctime_nsec()], found.ino(), found.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_certificate_is_taken_and_a_bad_one_is_not() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = crate::keys::init(one.path(), &[("a", "127.0.0.1")]).unwrap().remove(0);
        let later = crate::keys::init(other.path(), &[("a", "127.0.0.1")]).unwrap().remove(0);
        let keys = SiteKeys::load(&folder).unwrap();
        let tls = Tls::new(&keys).unwrap();
        let mut reload = Reload::new(&tls, &folder, &keys);
        let put = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.join("new"), bytes).unwrap();
            std::fs::rename(folder.join("new"), folder.join(name)).unwrap();
        };
        let mut failed_after = |change: &dyn Fn()| {
            change();
            (0..3).for_each(|_| reload.look());
            tls.status().failed_reloads
        };
        let former = std::fs::read(folder.join(FILES[0])).unwrap();
        assert_eq!(failed_after(&|| put(FILES[0], b"no certificate")), 1);
        // The certificate without its key, then with it and its authority.
        assert_eq!(failed_after(&|| put(FILES[0], &std::fs::read(later.join(FILES[0])).unwrap())), 2);
        assert_eq!(failed_after(&|| put(FILES[0], &former)), 2);
        // With its key, and still under the former authority.
        let two = || FILES[..2].iter().for_each(|name| put(name, &std::fs::read(later.join(name)).unwrap()));
        assert_eq!(failed_after(&two), 3);
        let all = || FILES.iter().for_each(|name| put(name, &std::fs::read(later.join(name)).unwrap()));
        assert_eq!(failed_after(&all), 3);
        assert!(tls.status().expires_at_s > clock::now_ms() / 1000);
    }
}
