//! Where the program and the optional shared data are.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail};

pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// The program under test: `MEDULLA_BIN`, else what `cargo build` left beside this test.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("MEDULLA_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("own path");
    let folder = test.ancestors().nth(2).expect("target/debug/deps/test");
    folder.join("medulla")
}

/// Runs `medulla` with these arguments and returns what it printed; an error names its exit code and stderr.
pub fn medulla(arguments: &[&str]) -> anyhow::Result<String> {
    medulla_as(&program(), arguments)
}

/// The same of another release.
pub fn medulla_as(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let Output { status, stdout, stderr } = run_as(program, arguments)?;
    if !status.success() {
        bail!(
            "medulla {arguments:?}: {status}: {}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    }
    Ok(String::from_utf8(stdout)?)
}

/// Like [`medulla`], whatever its exit code.
pub fn run(arguments: &[&str]) -> anyhow::Result<Output> {
    run_as(&program(), arguments)
}

/// The same of another release.
pub fn run_as(program: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("{} is not there: run `cargo build -p node` first", program.display()))
}

/// Data and judges that are no part of the product: `MEDULLA_SHARED`, else `../shared`; `None` where absent.
pub fn shared() -> Option<PathBuf> {
    let path = match std::env::var_os("MEDULLA_SHARED") {
        Some(path) => PathBuf::from(path),
        None => workspace_root().join("../shared"),
    };
    path.is_dir().then_some(path)
}
