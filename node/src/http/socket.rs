//! The unix socket in the site's data folder: whoever may open it is the local administrator.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Linux: `sun_path` holds 108 bytes with the final zero.
const PATH_BYTES_MAX: usize = 107;

pub fn path(data: &Path) -> PathBuf {
    data.join("admin.sock")
}

/// Listens with mode 0600. The data folder is closed to others first, so that there is no moment in between.
pub fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    let shown = path.display();
    if path.as_os_str().len() > PATH_BYTES_MAX {
        bail!(
            "{shown}: the path of a unix socket has at most {PATH_BYTES_MAX} bytes; choose a shorter site.data"
        );
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))
            .with_context(|| format!("cannot close {} to other users", folder.display()))?;
    }
    match UnixStream::connect(path) {
        Ok(_) => bail!("{shown} is answered by another process; is this site running already?"),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).with_context(|| format!("cannot remove the dead socket {shown}"))?;
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {shown}"))?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}
