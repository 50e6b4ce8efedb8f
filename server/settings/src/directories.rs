//! Where a user's files are.

use std::path::PathBuf;

/// A base directory of the XDG specification, which FreeBSD's ports follow too: what `variable`
/// names, if that is absolute, or else `below_home` of the home directory; none without a home.
#[must_use]
#[allow(deprecated, reason = "home_dir is deprecated on Windows' account, before Rust 1.87")]
pub fn base_directory(variable: &str, below_home: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    named.filter(|path| path.is_absolute()).or_else(|| Some(std::env::home_dir()?.join(below_home)))
}
