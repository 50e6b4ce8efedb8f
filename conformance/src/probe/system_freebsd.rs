//! What probes need that only FreeBSD words like this.

use std::ffi::CString;

use nix::errno::Errno;

use super::model::Measure;

/// getsockopt(2); sys/socket.h.
pub(super) const SO_NOSIGPIPE: Option<libc::c_int> = Some(libc::SO_NOSIGPIPE);
/// getsockopt(2); sys/socket.h, since FreeBSD 12.
pub(super) const SO_REUSEPORT_LB: Option<libc::c_int> = Some(libc::SO_REUSEPORT_LB);
/// fcntl(2) has no such command.
pub(super) const OFD_SETLK: Option<libc::c_int> = None;
/// What makes a process the parent of its orphans (procctl(2)).
pub(super) const REAPER: &str = "PROC_REAP_ACQUIRE";
/// Whether socket addresses begin with their length (inet(4), `sin_len`).
pub(super) const ADDRESSES_HAVE_LENGTH: bool = true;

/// sysctlbyname(3), for an int.
fn setting(name: &str) -> Measure {
    let text = CString::new(name).map_err(|error| error.to_string())?;
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>();
    // SAFETY: the kernel writes at most `length` bytes to `value`; nothing is set.
    let result = unsafe {
        libc::sysctlbyname(
            text.as_ptr(),
            (&raw mut value).cast(),
            &raw mut length,
            std::ptr::null(),
            0,
        )
    };
    Errno::result(result).map_err(|errno| format!("sysctl {name}: {errno:?}"))?;
    if length != size_of::<libc::c_int>() {
        return Err(format!("sysctl {name} is no int"));
    }
    Ok(i64::from(value).into())
}

/// listen(2).
pub(super) fn backlog_ceiling() -> Measure {
    setting("kern.ipc.soacceptqueue")
}

/// sys/proc.h, `PID_MAX`.
pub(super) fn pid_max() -> Measure {
    setting("kern.pid_max")
}

/// tuning(7).
pub(super) fn descriptor_ceiling() -> Measure {
    setting("kern.maxfilesperproc")
}

/// Whether the C library has a function (dlsym(3)).
pub(super) fn has_call(name: &str) -> Result<bool, String> {
    let text = CString::new(name).map_err(|error| error.to_string())?;
    // SAFETY: the name ends with a NUL; the address is not used.
    Ok(!unsafe { libc::dlsym(libc::RTLD_DEFAULT, text.as_ptr()) }.is_null())
}
