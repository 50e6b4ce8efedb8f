//! The platform that this run is on.

use std::path::Path;

use forkproof_report::Facts;

use super::system::{file_system, virtualization};

/// Asks the system. `dir` is where the checks run.
pub fn facts(dir: &Path) -> Facts {
    let (system, release, machine) = match nix::sys::utsname::uname() {
        Ok(name) => (
            name.sysname().to_string_lossy().into_owned(),
            name.release().to_string_lossy().into_owned(),
            name.machine().to_string_lossy().into_owned(),
        ),
        Err(errno) => (errno.desc().to_owned(), String::new(), String::new()),
    };
    let (virtualization, emulated) = virtualization();
    Facts {
        kernel_bits: kernel_bits(&machine),
        userland_bits: usize::BITS,
        libc: LIBC.to_owned(),
        distribution: distribution(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        file_system: file_system(dir),
        root: nix::unistd::geteuid().is_root(),
        virtualization,
        emulated,
        system,
        release,
        machine,
    }
}

const LIBC: &str = if cfg!(target_env = "gnu") {
    "glibc"
} else if cfg!(target_env = "musl") {
    "musl"
} else if cfg!(target_os = "freebsd") {
    "FreeBSD libc"
} else {
    "the system's"
};

fn kernel_bits(machine: &str) -> u32 {
    match machine {
        "x86_64" | "amd64" | "aarch64" | "arm64" | "riscv64" | "ppc64le" | "s390x" => 64,
        "i386" | "i486" | "i586" | "i686" | "armv6l" | "armv7l" | "riscv32" => 32,
        _ => 0,
    }
}

fn distribution() -> Option<String> {
    let text = std::fs::read_to_string("/etc/os-release").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches(['"', '\'']).to_owned())
}
