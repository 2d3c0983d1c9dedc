//! What a consortium takes over from the one whose ledger it goes on with.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use super::SiteKeys;
use crate::record::SiteName;
use crate::types::LedgerError;

/// Nothing of it for a consortium that begins anew.
#[derive(Default)]
pub(super) struct Former {
    pub(super) batch_keys: Vec<String>,
    pub(super) authority_keys: Vec<String>,
    pub(super) index_key: Option<Zeroizing<String>>,
    pub(super) master_keys: BTreeMap<SiteName, Zeroizing<String>>,
}

impl Former {
    /// From a folder that `init` made: of all its sites, or of those that are left.
    pub(super) fn read(dir: &Path) -> Result<Former, LedgerError> {
        let io = |path: &Path, source| LedgerError::Io { path: path.display().to_string(), source };
        let mut former = Former::default();
        for entry in std::fs::read_dir(dir).map_err(|e| io(dir, e))? {
            let site_dir = entry.map_err(|e| io(dir, e))?.path();
            if !site_dir.join("site.json").is_file() {
                continue;
            }
            let keys = SiteKeys::load(&site_dir)?;
            let text = |name: &str| {
                let path = site_dir.join(name);
                std::fs::read_to_string(&path).map(Zeroizing::new).map_err(|e| io(&path, e))
            };
            let genesis = keys.ring.genesis();
            let sites = genesis.sites.iter().map(|site| site.batch_key.clone());
            former.batch_keys = sites.chain(genesis.former_batch_keys.iter().cloned()).collect();
            let authorities = genesis.authority_key.iter().chain(&genesis.former_authority_keys);
            former.authority_keys = authorities.cloned().collect();
            former.index_key = Some(text("index-key.hex")?);
            // It may be kept elsewhere.
            if site_dir.join("master-key.hex").exists() {
                former.master_keys.insert(keys.site.clone(), text("master-key.hex")?);
            }
        }
        if former.index_key.is_none() {
            return Err(LedgerError::Keys(format!(
                "{} holds no site's keys; name the folder that `medulla keys init --dir` made",
                dir.display()
            )));
        }
        Ok(former)
    }
}
