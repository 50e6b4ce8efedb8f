//! File systems below a directory of this process's own (nmount(2)). Everybody sees them, and whoever
//! mounts them unmounts them.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, Nmount, unmount};

use super::host::number_of;
use crate::stop::Stop;

/// Why this process cannot mount tmpfs below a directory of its own: it takes root, and in a jail what
/// this one allows (jail(8), `allow.mount.tmpfs`).
pub fn mounts_missing() -> Option<Stop> {
    const NEEDS: &str = "needs mounts in a directory of its own";
    if !nix::unistd::geteuid().is_root() {
        return Some(Stop::NotRun(format!("{NEEDS}: mounting takes root")));
    }
    let jailed = number_of(c"security.jail.jailed").is_some_and(|jailed| jailed != 0);
    (jailed && !tmpfs_allowed())
        .then(|| Stop::NotRun(format!("{NEEDS}: this jail has no allow.mount.tmpfs (jail(8))")))
}

/// Whether this jail, or the machine's own, may mount tmpfs. A kernel that has not loaded tmpfs yet
/// does not know the second name.
pub(super) fn tmpfs_allowed() -> bool {
    [c"security.jail.mount_allowed", c"security.jail.mount_tmpfs_allowed"]
        .iter()
        .all(|name| number_of(name).is_some_and(|allowed| allowed != 0))
}

/// Makes ready for mounts below a directory of one's own: nothing to do here.
pub fn prepare_mounts() -> Result<(), String> {
    Ok(())
}

/// Moves this process into mounts that nobody else sees: not on FreeBSD.
pub fn enter_private_mounts() -> Result<(), String> {
    Err("on FreeBSD all processes see all mounts".into())
}

/// Mounts an empty file system of `size` bytes on the directory `path`, whose mode it takes over
/// (tmpfs(5)): with a `mode` it could not be made read-only later.
pub fn mount_tmpfs(path: &Path, size: u64) -> Result<(), String> {
    let size = CString::new(size.to_string()).map_err(|error| error.to_string())?;
    let place = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    Nmount::new()
        .str_opt(c"fstype", c"tmpfs")
        .str_opt(c"from", c"tmpfs")
        .str_opt(c"fspath", &place)
        .str_opt(c"size", &size)
        .nmount(MntFlags::empty())
        .map_err(|error| format!("tmpfs on {}: {error}", path.display()))
}

/// Makes the file system that is mounted on `path` read-only (nmount(2), `MNT_UPDATE`).
pub fn make_read_only(path: &Path) -> Result<(), String> {
    let place = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    Nmount::new()
        .str_opt(c"fstype", c"tmpfs")
        .str_opt(c"from", c"tmpfs")
        .str_opt(c"fspath", &place)
        .null_opt(c"ro")
        .nmount(MntFlags::MNT_UPDATE | MntFlags::MNT_RDONLY)
        .map_err(|error| format!("remount {}: {error}", path.display()))
}

/// Unmounts what a check has left mounted below `dir`, whoever still uses it.
pub fn unmount_below(dir: &Path) {
    // Mounted paths have no links in them.
    let Ok(dir) = dir.canonicalize() else { return };
    // What was mounted last is at the end, and may be on what was mounted before.
    for mounted in mounted().iter().rev() {
        if mounted != dir.as_os_str().as_bytes()
            && Path::new(std::ffi::OsStr::from_bytes(mounted)).starts_with(&dir)
        {
            let _ = unmount(mounted.as_slice(), MntFlags::MNT_FORCE);
        }
    }
}

/// Where file systems are mounted (getfsstat(2)).
fn mounted() -> Vec<Vec<u8>> {
    // SAFETY: without a buffer only the number is returned.
    let count = unsafe { libc::getfsstat(std::ptr::null_mut(), 0, libc::MNT_NOWAIT) };
    // Some may be mounted meanwhile.
    let room = usize::try_from(count).unwrap_or(0) + 16;
    let mut found: Vec<libc::statfs> = Vec::with_capacity(room);
    let bytes = (room * size_of::<libc::statfs>()) as libc::c_long;
    // SAFETY: there is room for as many bytes.
    let count = unsafe { libc::getfsstat(found.as_mut_ptr(), bytes, libc::MNT_NOWAIT) };
    let Ok(count) = Errno::result(count) else { return Vec::new() };
    // SAFETY: so many were written.
    unsafe { found.set_len((count as usize).min(room)) };
    let path = |one: &libc::statfs| {
        // SAFETY: the path ends in a NUL.
        unsafe { CStr::from_ptr(one.f_mntonname.as_ptr()) }.to_bytes().to_vec()
    };
    found.iter().map(path).collect()
}
