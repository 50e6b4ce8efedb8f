//! What this host has of all that machines take, told before anything is fetched or started.

use std::fs::File;
use std::path::Path;

use settings::reason;

use crate::catalogue::{Architecture, System};
use crate::error::Error;
use crate::machine::emulator_of;
use crate::payload::{self, Wanted};
use crate::platform;

/// Something that machines take.
#[derive(Debug)]
pub struct Means {
    /// What it is.
    pub name: String,
    /// What cannot be done without it.
    pub purpose: &'static str,
    /// Where it is here, or what keeps it away.
    pub state: Result<String, Lack>,
}

/// Why something is not there.
#[derive(Debug)]
pub struct Lack {
    /// What was found instead; empty where it is simply not there.
    pub why: String,
    /// A command that mends it.
    pub command: String,
}

const PROGRAMS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "64-bit x86 machines"),
    ("qemu-system-i386", "32-bit x86 machines"),
    ("qemu-system-aarch64", "64-bit ARM machines"),
    ("qemu-system-arm", "32-bit ARM machines"),
    ("qemu-system-s390x", "s390x machines"),
    ("qemu-system-riscv64", "64-bit RISC-V machines"),
    ("qemu-img", "disks"),
    ("curl", "downloads"),
    ("xz", "images that are downloaded or built here"),
    ("bsdtar", "images in archives"),
    ("apt-get", "images built here"),
    ("dpkg-deb", "images built here"),
    ("mmdebstrap", "full images built here"),
    ("mke2fs", "full images built here"),
];

/// Everything that machines take, and whether it is here.
pub fn means() -> Vec<Means> {
    let programs = PROGRAMS.iter().map(|&(name, purpose)| Means {
        name: name.to_owned(),
        purpose,
        state: platform::program(name).map(|path| path.display().to_string()).map_err(|error| {
            match error {
                Error::ToolMissing { install, .. } => {
                    Lack { why: String::new(), command: as_root(&install) }
                }
                other => Lack { why: other.to_string(), command: String::new() },
            }
        }),
    });
    programs.chain([keyring(), kvm()]).chain(payloads()).collect()
}

fn keyring() -> Means {
    let path = crate::obtain::KEYRING;
    let state = if Path::new(path).exists() {
        Ok(path.to_owned())
    } else {
        let command = as_root(&platform::how_to_install("debian-archive-keyring"));
        Err(Lack { why: String::new(), command })
    };
    Means { name: "debian-archive-keyring".into(), purpose: "images built here", state }
}

/// That it opens does not prove that a kernel runs there: a run finds that out by itself.
fn kvm() -> Means {
    let device = Path::new("/dev/kvm");
    let state = match File::options().read(true).write(true).open(device) {
        Ok(_) => Ok("it opens; a run tries it first".to_owned()),
        Err(error) => {
            let command = match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "sudo usermod -a -G kvm $USER, and log in again"
                }
                _ => {
                    "enable virtualisation in the firmware, or in the machine that this one is a guest of"
                }
            };
            Err(Lack { why: reason(&error), command: command.to_owned() })
        }
    };
    Means { name: "/dev/kvm".into(), purpose: "fast machines; without it they are emulated", state }
}

fn payloads() -> impl Iterator<Item = Means> {
    // Who has no emulator of a rarer processor needs no program for it.
    let linux = Architecture::ALL.into_iter().filter(|architecture| {
        matches!(architecture, Architecture::X86_64 | Architecture::I686)
            || emulator_of(*architecture).is_ok()
    });
    let linux = linux.map(|architecture| (System::Linux, architecture, "Linux guests"));
    let freebsd = (System::FreeBsd, Architecture::X86_64, "FreeBSD guests");
    linux.chain([freebsd]).map(|(system, architecture, purpose)| {
        let wanted = Wanted { system, architecture };
        let state = payload::find(wanted, &[])
            .map(|path| path.display().to_string())
            .map_err(|_| Lack { why: String::new(), command: payload::how_to_make(wanted) });
        Means { name: format!("a forkproof for {}", wanted.words()), purpose, state }
    })
}

/// A package is installed by root.
fn as_root(command: &str) -> String {
    if nix::unistd::geteuid().is_root() { command.to_owned() } else { format!("sudo {command}") }
}
