//! A filter of system calls as container runtimes had them: what is newer than the filter is forbidden,
//! and not unknown.

use crate::real;
use crate::state::{altered, on};
use crate::sys::*;
use crate::table::Id;

/// `struct sock_filter` (linux/filter.h).
#[repr(C)]
#[derive(Clone, Copy)]
struct Statement {
    code: u16,
    holds: u8,
    fails: u8,
    k: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    filter: *const Statement,
}

/// The value of `AUDIT_ARCH_*` (linux/audit.h) for this architecture.
const ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
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

/// The first of the numbers that all architectures share: pidfd_send_signal, Linux 5.1. From here on,
/// among others: the calls with 64 bits of time on 32-bit systems (403 to 423, below it), io_uring,
/// openat2, clone3, close_range, faccessat2, epoll_pwait2.
const FIRST_SHARED: u32 = 424;
/// The first of those with 64 bits of time, clock_gettime64; there are none on 64-bit systems.
const FIRST_TIME64: u32 = 403;
/// clone3: a C library that takes EPERM of it for final can make no thread, and that is no server's
/// to mend.
const CLONE3: u32 = 435;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
const ALLOW: u32 = 0x7fff_0000; // SECCOMP_RET_ALLOW
const EPERM_: u32 = 0x0005_0000 | 1; // SECCOMP_RET_ERRNO | EPERM
/// Numbers from here on are those of x32 programs, or ARM's own calls (asm/unistd.h).
const SPECIAL: u32 = if cfg!(target_arch = "arm") { 0x000f_0000 } else { 0x4000_0000 };

/// Puts the filter before this process and all that it becomes, for good.
pub(crate) fn put_up() {
    const PR_SET_SECCOMP: c_int = 22;
    const PR_SET_NO_NEW_PRIVS: c_int = 38;
    const SECCOMP_MODE_FILTER: c_ulong = 2;
    if !on(Id::OldSeccomp) {
        return;
    }
    let Some(arch) = ARCH else { return };
    let first = if cfg!(target_pointer_width = "32") { FIRST_TIME64 } else { FIRST_SHARED };
    let step = |code, k, holds, fails| Statement { code, holds, fails, k };
    let filter = [
        step(LOAD, 4, 0, 0),
        step(EQUAL, arch, 0, 5),
        step(LOAD, 0, 0, 0),
        step(AT_LEAST, SPECIAL, 3, 0),
        step(EQUAL, CLONE3, 2, 0),
        step(AT_LEAST, first, 0, 1),
        step(RETURN, EPERM_, 0, 0),
        step(RETURN, ALLOW, 0, 0),
    ];
    let program = Program { length: filter.len() as u16, filter: filter.as_ptr() };
    // SAFETY: prctl(2): numbers, and a program that the kernel copies.
    let done = unsafe {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) == 0
            && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if done {
        altered(Id::OldSeccomp);
    } else {
        let why = b"forkproof personality library: no filter can be put up (seccomp(2))\n";
        real::write(2, why.as_ptr(), why.len());
        real::_exit(2);
    }
}
