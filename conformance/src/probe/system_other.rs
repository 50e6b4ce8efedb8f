//! Systems that nobody has written this for yet: what cannot be asked is said.

use super::model::Measure;

/// Not known.
pub(super) const SO_NOSIGPIPE: Option<libc::c_int> = None;
/// Not known.
pub(super) const SO_REUSEPORT_LB: Option<libc::c_int> = None;
/// Not known.
pub(super) const OFD_SETLK: Option<libc::c_int> = None;
/// Not known.
pub(super) const REAPER: &str = "a reaper";
/// The BSDs and what descends from them.
pub(super) const ADDRESSES_HAVE_LENGTH: bool = true;

fn unknown() -> Measure {
    Err("nobody has written yet how to ask this system".into())
}

pub(super) fn backlog_ceiling() -> Measure {
    unknown()
}

pub(super) fn pid_max() -> Measure {
    unknown()
}

pub(super) fn descriptor_ceiling() -> Measure {
    unknown()
}

pub(super) fn has_call(name: &str) -> Result<bool, String> {
    Err(format!("nobody has written yet how to ask this system for {name}"))
}
