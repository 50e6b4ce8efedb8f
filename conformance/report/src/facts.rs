//! The platform that a run was made on.

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
    /// What the platform is called where something holds for some platforms only, as in a
    /// baseline. All are lower case:
    ///
    /// | name | for instance |
    /// |---|---|
    /// | the system | `linux`, `freebsd` |
    /// | with its release | `freebsd-14`, `freebsd-14.3`, `linux-6.18` |
    /// | with the architecture of this program, which may be narrower than the kernel's | `linux-x86`, `freebsd-x86_64` |
    /// | with this program's width | `linux-32bit` |
    /// | with this program's C library | `linux-musl` |
    /// | the distribution, without and with its release | `debian`, `debian-12`, `ubuntu-24.04` |
    pub fn names(&self) -> Vec<String> {
        let system = self.system.to_lowercase();
        let mut names = vec![system.clone()];
        let mut with = |head: &str, tails: Vec<String>| {
            names.extend(tails.into_iter().map(|tail| format!("{head}-{tail}")));
        };
        with(&system, releases(&self.release));
        with(&system, vec![self.architecture(), format!("{}bit", self.userland_bits)]);
        if LIBCS.contains(&self.libc.as_str()) {
            with(&system, vec![self.libc.clone()]);
        }
        let distribution = self.distribution.as_deref().unwrap_or("").to_lowercase();
        let mut words = distribution.split_whitespace();
        if let Some(first) = words.next().filter(|first| DISTRIBUTIONS.contains(first)) {
            let release = words.map(releases).find(|releases| !releases.is_empty());
            with(first, release.unwrap_or_default());
            names.push(first.to_owned());
        }
        names
    }

    /// The architecture that this program runs as, one word for all the names a machine may have.
    pub fn architecture(&self) -> String {
        let machine = self.machine.to_lowercase();
        match (machine.as_str(), self.userland_bits) {
            ("x86_64" | "amd64", 64) => "x86_64".into(),
            ("x86_64" | "amd64" | "i386" | "i486" | "i586" | "i686", _) => "x86".into(),
            ("aarch64" | "arm64", 64) => "aarch64".into(),
            ("aarch64" | "arm64" | "armv6l" | "armv7l" | "armv8l", _) => "arm".into(),
            _ => machine,
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

const SYSTEMS: [&str; 7] =
    ["linux", "freebsd", "netbsd", "openbsd", "dragonfly", "darwin", "sunos"];
const ARCHITECTURES: [&str; 9] =
    ["x86", "x86_64", "aarch64", "arm", "riscv32", "riscv64", "ppc64le", "s390x", "loongarch64"];
const LIBCS: [&str; 2] = ["glibc", "musl"];
/// By the first word of their PRETTY_NAME in os-release(5), in lower case.
const DISTRIBUTIONS: [&str; 13] = [
    "almalinux",
    "alpine",
    "arch",
    "centos",
    "debian",
    "fedora",
    "gentoo",
    "kali",
    "nixos",
    "opensuse",
    "rocky",
    "ubuntu",
    "void",
];

/// Every name that a platform can have (see [`Facts::names`]), releases aside.
pub fn known_names() -> Vec<String> {
    let mut names: Vec<String> =
        SYSTEMS.iter().chain(&DISTRIBUTIONS).map(ToString::to_string).collect();
    for system in SYSTEMS {
        let tails = ARCHITECTURES.iter().chain(&LIBCS).chain(&["32bit", "64bit"]);
        names.extend(tails.map(|tail| format!("{system}-{tail}")));
    }
    names
}

/// `14` and `14.3` of `14.3-RELEASE-p2`; nothing of what does not begin with a number.
fn releases(text: &str) -> Vec<String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut numbers = text[..end].split('.').filter(|number| !number.is_empty());
    let mut releases = Vec::new();
    if let Some(major) = numbers.next() {
        releases.push(major.to_owned());
        releases.extend(numbers.next().map(|minor| format!("{major}.{minor}")));
    }
    releases
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn facts(system: &str, release: &str, machine: &str, bits: u32, distribution: &str) -> Facts {
        Facts {
            system: system.into(),
            release: release.into(),
            machine: machine.into(),
            distribution: (!distribution.is_empty()).then(|| distribution.to_owned()),
            kernel_bits: 64,
            userland_bits: bits,
            libc: if system == "Linux" { "musl".into() } else { "FreeBSD libc".into() },
            virtualization: None,
            emulated: None,
            processors: 1,
            file_system: "ext4".into(),
            root: false,
        }
    }

    #[rstest]
    #[case(
        facts("FreeBSD", "14.3-RELEASE-p2", "amd64", 64, "FreeBSD 14.3-RELEASE"),
        "freebsd freebsd-14 freebsd-14.3 freebsd-x86_64 freebsd-64bit"
    )]
    #[case(
        facts("Linux", "6.18.44-fc", "x86_64", 32, "Debian GNU/Linux 12 (bookworm)"),
        "linux linux-6 linux-6.18 linux-x86 linux-32bit linux-musl debian-12 debian"
    )]
    #[case(
        facts("Linux", "6.8.0", "aarch64", 64, "Ubuntu 24.04.1 LTS"),
        "linux linux-6 linux-6.8 linux-aarch64 linux-64bit linux-musl ubuntu-24 ubuntu-24.04 ubuntu"
    )]
    #[case(
        facts("Linux", "6.8.0", "armv7l", 32, "Kali GNU/Linux Rolling"),
        "linux linux-6 linux-6.8 linux-arm linux-32bit linux-musl kali"
    )]
    #[case(
        facts("Linux", "unknown", "i686", 32, "Some Own Thing 7"),
        "linux linux-x86 linux-32bit linux-musl"
    )]
    fn a_platform_has_names(#[case] facts: Facts, #[case] expected: &str) {
        assert_eq!(facts.names().join(" "), expected);
        // Releases are all that the list of known names leaves out.
        for name in facts.names() {
            let released = name.split_once('-').is_some_and(|(_, tail)| !releases(tail).is_empty());
            assert!(released || known_names().contains(&name), "{name}");
        }
    }
}
