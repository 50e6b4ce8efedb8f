//! The base directories of the XDG specification, which FreeBSD's ports follow too.

use std::path::PathBuf;

use etcetera::BaseStrategy;

/// `$XDG_CACHE_HOME`, or `~/.cache`; none without a home.
pub(crate) fn cache_directory() -> Option<PathBuf> {
    etcetera::base_strategy::Xdg::new().ok().map(|base| base.cache_dir())
}

/// `$XDG_CONFIG_HOME`, or `~/.config`; none without a home.
pub(crate) fn config_directory() -> Option<PathBuf> {
    etcetera::base_strategy::Xdg::new().ok().map(|base| base.config_dir())
}
