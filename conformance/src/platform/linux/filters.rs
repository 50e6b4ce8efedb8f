//! Filters of system calls (seccomp(2)).

use nix::errno::Errno;

use crate::stop::Stop;

/// Why this process cannot deny IPv6 sockets by a filter, if it cannot.
pub fn syscall_filter_missing() -> Option<Stop> {
    if cfg!(any(target_arch = "x86", target_arch = "s390x")) {
        return Some(Stop::NotRun(
            "here sockets are made through socketcall(2), whose arguments no filter can see".into(),
        ));
    }
    if AUDIT_ARCH.is_none() {
        return Some(Stop::NotRun(
            "the filter for a kernel without IPv6 is not written for this architecture".into(),
        ));
    }
    filters_missing()
}

/// Why [`forbid_descriptors`] cannot be used, if it cannot.
pub fn descriptor_filter_missing() -> Option<Stop> {
    if AUDIT_ARCH.is_none() {
        return Some(Stop::NotRun(
            "the filter for descriptors is not written for this architecture".into(),
        ));
    }
    filters_missing()
}

fn filters_missing() -> Option<Stop> {
    // SAFETY: PR_GET_SECCOMP takes no argument.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) };
    (mode < 0).then(|| Stop::NotRun("this kernel has no seccomp".into()))
}

/// The value of `AUDIT_ARCH_*` (linux/audit.h) for the architectures that filters are written for.
const AUDIT_ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xC000_003E)
} else if cfg!(target_arch = "x86") {
    Some(0x4000_0003)
} else if cfg!(target_arch = "aarch64") {
    Some(0xC000_00B7)
} else if cfg!(target_arch = "arm") {
    Some(0x4000_0028)
} else if cfg!(target_arch = "riscv64") {
    Some(0xC000_00F3)
} else if cfg!(target_arch = "s390x") {
    Some(0x8000_0016)
} else {
    None
};

// Offsets in struct seccomp_data (seccomp(2)): nr 0, arch 4, args from 16, of 64 bits each; of the
// first one the low half.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn answer(action: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Compares what was loaded with `k`; skips so many statements if it holds, or if not.
fn compare(how: u32, k: u32, holds: u8, fails: u8) -> libc::sock_filter {
    let code = (libc::BPF_JMP | how | libc::BPF_K) as u16;
    libc::sock_filter { code, jt: holds, jf: fails, k }
}

/// Filters the system calls of this process and of what it executes, for good.
fn apply_filter(filter: &[libc::sock_filter]) -> std::io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: integers only; needed for an unprivileged filter.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: the kernel copies the filter that `program` points to, which lives until here.
    Errno::result(unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    })?;
    Ok(())
}

/// Makes `socket(AF_INET6, …)` fail with `EAFNOSUPPORT` in this process and what it executes: a
/// kernel built or started without IPv6 (seccomp(2), `SECCOMP_MODE_FILTER`).
///
/// Safe to call between fork and exec: it only makes system calls.
pub fn deny_ipv6_sockets() -> std::io::Result<()> {
    let Some(arch) = AUDIT_ARCH else {
        return Err(std::io::ErrorKind::Unsupported.into());
    };
    apply_filter(&[
        load(ARCH),
        compare(libc::BPF_JEQ, arch, 0, 5),
        load(NUMBER),
        compare(libc::BPF_JEQ, libc::SYS_socket as u32, 0, 3),
        load(FIRST_ARGUMENT),
        compare(libc::BPF_JEQ, libc::AF_INET6 as u32, 0, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ])
}

/// Makes `close` and `fcntl` kill the process (`SIGSYS`) for descriptors from `from` up to but not
/// including `to`, in this process and what it executes: nobody who has never opened so many does
/// that, except in a loop over all. A program of another architecture than this one is let go.
///
/// Safe to call between fork and exec: it only makes system calls.
pub fn forbid_descriptors(from: u32, to: u32) -> std::io::Result<()> {
    let Some(arch) = AUDIT_ARCH else {
        return Err(std::io::ErrorKind::Unsupported.into());
    };
    apply_filter(&[
        load(ARCH),
        compare(libc::BPF_JEQ, arch, 0, 8),
        load(NUMBER),
        compare(libc::BPF_JEQ, libc::SYS_close as u32, 2, 0),
        compare(libc::BPF_JEQ, libc::SYS_fcntl as u32, 1, 0),
        compare(libc::BPF_JEQ, SYS_FCNTL64, 0, 4),
        load(FIRST_ARGUMENT),
        compare(libc::BPF_JGE, from, 0, 2),
        compare(libc::BPF_JGE, to, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        answer(libc::SECCOMP_RET_ALLOW),
    ])
}

/// The one that 32-bit libcs use; elsewhere there is only `fcntl`.
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
const SYS_FCNTL64: u32 = libc::SYS_fcntl64 as u32;
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
const SYS_FCNTL64: u32 = libc::SYS_fcntl as u32;
