//! The platform that a run was made on.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// What a reader of a report needs to know about the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The operating system's name, as uname(3) tells it.
    pub system: String,
    /// The kernel's release.
    pub release: String,
    /// The kernel's machine, `x86_64` or `i686` for instance.
    pub machine: String,
    /// The distribution and its release, where there is an os-release(5).
    pub distribution: Option<String>,
    /// Width of the kernel's addresses in bits, told from `machine`; 0 when unknown.
    pub kernel_bits: u32,
    /// Width of this program's addresses in bits.
    pub userland_bits: u32,
    /// The C library that this program was built for.
    pub libc: String,
    /// What the processor calls itself, where that tells of an emulator; see `emulated`.
    pub virtualization: Option<String>,
    /// Whether the processor is emulated in software, where that can be told.
    pub emulated: Option<bool>,
    /// Processors online.
    pub processors: usize,
    /// The file system of the directory in which the checks ran.
    pub file_system: String,
    /// Whether the run had root's rights.
    pub root: bool,
}

impl Facts {
    /// Asks the system. `dir` is where the checks run.
    pub fn gather(dir: &Path) -> Self {
        let (system, release, machine) = match nix::sys::utsname::uname() {
            Ok(name) => (
                name.sysname().to_string_lossy().into_owned(),
                name.release().to_string_lossy().into_owned(),
                name.machine().to_string_lossy().into_owned(),
            ),
            Err(errno) => (errno.desc().to_owned(), String::new(), String::new()),
        };
        let (virtualization, emulated) = crate::platform::virtualization();
        Self {
            kernel_bits: kernel_bits(&machine),
            userland_bits: usize::BITS,
            libc: LIBC.to_owned(),
            distribution: distribution(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            file_system: crate::platform::file_system(dir),
            root: nix::unistd::geteuid().is_root(),
            virtualization,
            emulated,
            system,
            release,
            machine,
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let kernel = match self.kernel_bits {
            0 => String::new(),
            bits => format!(", {bits}-bit kernel"),
        };
        format!(
            "{}{} {} {}{kernel}, {}-bit userland ({}), {} processors, {}{}",
            self.distribution.as_ref().map(|name| format!("{name}, ")).unwrap_or_default(),
            self.system,
            self.release,
            self.machine,
            self.userland_bits,
            self.libc,
            self.processors,
            self.file_system,
            if self.root { ", root" } else { "" },
        )
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
