//! Ctrl-C: what is under way ends by itself and cleans up.

use std::path::Path;

use forkproof_host::interrupt;

use crate::error::{Error, Result};

/// From here on requests to end are noted.
pub(crate) fn catch_signals() -> Result<()> {
    interrupt::catch().map_err(|errno| Error::io("catch", Path::new("signals"), errno.into()))
}

/// [`Error::Interrupted`] once one was noted.
pub(crate) fn check() -> Result<()> {
    if interrupt::requested() { Err(Error::Interrupted) } else { Ok(()) }
}
