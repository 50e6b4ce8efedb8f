//! Where a program is.

use std::path::PathBuf;

use super::packages::how_to_install;
use crate::error::{Error, Result};

/// A program of `PATH`, or an error that names its package.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    // FreeBSD's and Debian's system programs are not on every user's PATH.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let places = std::env::join_paths(std::env::split_paths(&path).chain(places)).ok();
    which::which_in(name, places, "/")
        .map_err(|_| Error::ToolMissing { program: name.into(), install: how_to_install(name) })
}
