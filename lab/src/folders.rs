//! Where labs keep what they build (the user's cache) and what they are (the user's state); nowhere else on the machine.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// Builds by version, shared by all labs: `$XDG_CACHE_HOME/catalyst-lab`, by default below `~/.cache`.
///
/// # Errors
/// When neither `XDG_CACHE_HOME` nor `HOME` is set.
pub fn cache() -> anyhow::Result<PathBuf> {
    base("XDG_CACHE_HOME", ".cache")
}

/// A folder for each lab by its name: `$XDG_STATE_HOME/catalyst-lab`, by default below `~/.local/state`.
///
/// # Errors
/// When neither `XDG_STATE_HOME` nor `HOME` is set.
pub fn state() -> anyhow::Result<PathBuf> {
    base("XDG_STATE_HOME", ".local/state")
}

fn base(variable: &str, below_home: &str) -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(below_home)))
        .with_context(|| format!("set HOME or {variable} to an absolute path: the lab keeps its files below it"))?;
    Ok(base.join("catalyst-lab"))
}

/// Writes `text` so that a reader, and a start after a kill, sees either the old file or the new one.
///
/// # Errors
/// When the folder is missing or cannot be written.
pub(crate) fn write_whole(path: &Path, text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let aside = path.with_extension("new");
    std::fs::write(&aside, text)
        .and_then(|()| std::fs::rename(&aside, path))
        .with_context(|| format!("write {}", path.display()))
}

/// Makes the folder and those above it.
///
/// # Errors
/// When one of them cannot be made.
pub(crate) fn make(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("make the folder {}", path.display()))
}
