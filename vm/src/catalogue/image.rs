//! What an image is: the model of a description, as `vm/images/README.md` documents it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::architecture::Architecture;
use super::system::System;

/// An image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Image {
    /// The name on the command line, and of its file and its directory in the cache: lower-case
    /// letters, digits, `-` and `.`.
    pub(crate) id: String,
    pub(crate) title: String,
    /// What is to be known of its availability or its limits.
    #[serde(default)]
    pub(crate) note: String,
    /// What it says; see [`Image::system`].
    #[serde(default)]
    pub(crate) system: Option<System>,
    pub(crate) architecture: Architecture,
    pub(crate) kernel_bits: u8,
    pub(crate) userland_bits: u8,
    pub(crate) first_boot: FirstBoot,
    /// Memory of the machine, MiB.
    pub(crate) memory: u32,
    pub(crate) cpus: u32,
    /// From power-on to the job's first sign of life, seconds, with software emulation.
    pub(crate) boot_limit: u64,
    /// From there to the machine's end, seconds, with software emulation.
    pub(crate) run_limit: u64,
    pub(crate) source: Source,
}

/// How the first boot of an image is driven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FirstBoot {
    CloudInit,
    /// FreeBSD's, with the same seed ISO as cloud-init.
    Nuageinit,
    SerialLogin(SerialLogin),
    /// Typed blind on the emulated keyboard (QEMU's `sendkey`): for images that show nothing on
    /// the serial console.
    Keyboard(Keyboard),
    /// The agent in a tiny initramfs: nothing has to be driven.
    Agent,
}

/// What is typed on a serial console, and what is waited for. No password is asked for when it is
/// empty; likewise of [`Keyboard`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SerialLogin {
    /// The user, who must become able to read raw disks: root.
    pub(crate) login: String,
    #[serde(default)]
    pub(crate) password: String,
    #[serde(default = "SerialLogin::login_prompt")]
    pub(crate) login_prompt: String,
    #[serde(default = "SerialLogin::password_prompt")]
    pub(crate) password_prompt: String,
    /// What the shell's prompt ends with.
    #[serde(default = "SerialLogin::shell_prompt")]
    pub(crate) shell_prompt: String,
}

/// What is typed on the emulated keyboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keyboard {
    pub(crate) login: String,
    #[serde(default)]
    pub(crate) password: String,
    /// What is typed to become root, followed by the password if one is asked for; nothing when
    /// the user is root.
    #[serde(default)]
    pub(crate) become_root: String,
    /// The virtual terminal that is changed to first (Ctrl-Alt-Fn), because a desktop has the
    /// first; 0 for none.
    #[serde(default)]
    pub(crate) terminal: u8,
    /// From power-on to the first key, seconds, with software emulation: a key that is pressed in
    /// the loader's menu chooses there.
    pub(crate) after: u64,
}

impl SerialLogin {
    fn login_prompt() -> String {
        "login:".into()
    }
    fn password_prompt() -> String {
        "Password:".into()
    }
    fn shell_prompt() -> String {
        "# ".into()
    }
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    Download(Download),
    /// From Debian's packages, on this host.
    Built(Built),
    /// A disk of the user's own: never copied, never written to.
    File(PathBuf),
}

/// An image that its publisher offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Download {
    /// What stands for `{release}` in the other fields.
    #[serde(default)]
    pub(crate) release: String,
    /// The directories that may hold it, each a URL that ends with a slash, in the order in which
    /// they are tried.
    pub(crate) locations: Vec<String>,
    /// Names of the file, as globs, best first: names vary between releases. Resolved from the
    /// checksum file. With a pinned digest, the first is the name itself.
    pub(crate) files: Vec<String>,
    pub(crate) verify: Verify,
    pub(crate) format: Format,
}

/// Where the digest of a download comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verify {
    /// The publisher's file of checksums, in the same directory.
    Checksums(Checksums),
    /// This digest: `sha256:…` or `sha512:…`, in hexadecimal.
    Digest(String),
}

/// A publisher's file of checksums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checksums {
    pub(crate) file: String,
    pub(crate) format: ChecksumFormat,
}

/// How a file of checksums is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ChecksumFormat {
    /// `HASH  NAME` or `HASH *NAME`, as sha256sum writes.
    Sums,
    /// `SHA512 (NAME) = HASH`, as the BSDs' sha512 writes.
    BsdTag,
}

/// What a published file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    #[serde(rename = "qcow2")]
    Qcow2,
    #[serde(rename = "raw")]
    Raw,
    #[serde(rename = "qcow2.xz")]
    Qcow2Xz,
    #[serde(rename = "raw.xz")]
    RawXz,
    /// An archive with one disk in it, of either kind; [`Format::SevenZ`] too.
    #[serde(rename = "tar.xz")]
    TarXz,
    #[serde(rename = "7z")]
    SevenZ,
}

/// An image that is made on this host from Debian's packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Built {
    /// Debian's release: `bookworm`.
    pub(crate) suite: String,
    /// Debian's name of the architecture: `amd64`, `i386`, `arm64`.
    pub(crate) architecture: String,
    /// The package of the kernel: `linux-image-686-pae`.
    pub(crate) kernel: String,
    pub(crate) kind: Kind,
}

/// How much of Debian a built image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Debian's kernel, and an initramfs with busybox and the agent.
    Tiny,
    Full,
    Cloud,
    /// A disk with systemd and nothing that starts a job: somebody logs in.
    Plain,
}

/// The format of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DiskFormat {
    Qcow2,
    Raw,
}

impl DiskFormat {
    /// As QEMU names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

impl Image {
    /// The system of its guest: Linux, unless it says otherwise or is driven by FreeBSD's nuageinit.
    pub(crate) fn system(&self) -> System {
        let usual = match self.first_boot {
            FirstBoot::Nuageinit => System::FreeBsd,
            _ => System::Linux,
        };
        self.system.unwrap_or(usual)
    }

    /// "64-bit kernel", "32-bit userland on a 64-bit kernel": how every result is labelled.
    pub(crate) fn widths(&self) -> String {
        if self.kernel_bits == self.userland_bits {
            format!("{}-bit kernel", self.kernel_bits)
        } else {
            format!("{}-bit userland on a {}-bit kernel", self.userland_bits, self.kernel_bits)
        }
    }
}

impl Download {
    /// The directories, with `{release}` filled in.
    pub(crate) fn locations(&self) -> impl Iterator<Item = String> {
        self.locations.iter().map(|location| self.filled(location))
    }

    /// The names of the file, with `{release}` filled in.
    pub(crate) fn files(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|file| self.filled(file))
    }

    fn filled(&self, template: &str) -> String {
        template.replace("{release}", &self.release)
    }
}
