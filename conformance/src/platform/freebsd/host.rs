//! The machine, and what FreeBSD has not: filters.

use std::ffi::{CStr, c_int};

use nix::errno::Errno;

use crate::stop::Stop;

/// The most descriptors that a process may be allowed (sysctl(8), `kern.maxfilesperproc`).
pub fn most_descriptors() -> Result<u64, String> {
    let most = number_of(c"kern.maxfilesperproc").and_then(|most| u64::try_from(most).ok());
    most.ok_or_else(|| "needs kern.maxfilesperproc".into())
}

/// A number that sysctlbyname(3) tells.
pub(super) fn number_of(name: &CStr) -> Option<c_int> {
    let mut number: c_int = 0;
    let mut length = size_of::<c_int>();
    // SAFETY: at most `length` bytes are written to `number`, which has them.
    Errno::result(unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            (&raw mut number).cast(),
            &raw mut length,
            std::ptr::null(),
            0,
        )
    })
    .ok()?;
    Some(number)
}

const NO_FILTER: &str = "FreeBSD has no filter for system calls (capsicum(4) forbids all sockets)";

/// Why this process cannot filter its system calls.
pub fn syscall_filter_missing() -> Option<Stop> {
    Some(Stop::Unsupported(NO_FILTER.into()))
}

/// Makes `socket(AF_INET6, …)` fail: not on FreeBSD.
pub fn deny_ipv6_sockets() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// What the kernel says about virtualization (`kern.vm_guest`, "none" on real hardware), and whether
/// the processor is emulated in software: QEMU's own names itself in `hw.model`.
pub fn virtualization() -> (Option<String>, Option<bool>) {
    let model = string_of(c"hw.model").unwrap_or_default();
    if model.contains("QEMU TCG") || model.contains("QEMU Virtual CPU") {
        return (Some(model), Some(true));
    }
    match string_of(c"kern.vm_guest") {
        Some(guest) if guest == "none" => (None, Some(false)),
        Some(guest) => (Some(format!("a virtual machine ({guest})")), Some(false)),
        None => (None, None),
    }
}

/// A string that sysctlbyname(3) tells.
pub(super) fn string_of(name: &CStr) -> Option<String> {
    let mut bytes = vec![0_u8; 1024];
    let mut length = bytes.len();
    // SAFETY: at most `length` bytes are written to `bytes`, which has them.
    Errno::result(unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            bytes.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null(),
            0,
        )
    })
    .ok()?;
    bytes.truncate(length);
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
}

/// The type of the file system that `path` is on (statfs(2), `f_fstypename`).
pub fn file_system(path: &std::path::Path) -> String {
    nix::sys::statfs::statfs(path).map_or_else(
        |_| "unknown file system".into(),
        |found| found.filesystem_type_name().to_owned(),
    )
}
