//! The images: what they are, where they come from, how they are started.
//!
//! Each is a file of `vm/images/`, which is part of the program; `vm/images/README.md` documents the
//! fields. A user's own descriptions are read from [`user_directory`], and replace one of the same
//! id; a disk file alone will do too ([`Catalogue::image_file`]).

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::{http, typing, verify};

/// The descriptions that are part of the program: id and text. A plain table; a description that is
/// missing here is found by a test.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("debian-12-tiny", include_str!("../images/debian-12-tiny.toml")),
    ("debian-12-i386-tiny", include_str!("../images/debian-12-i386-tiny.toml")),
    ("debian-13-tiny", include_str!("../images/debian-13-tiny.toml")),
    ("debian-12", include_str!("../images/debian-12.toml")),
    ("debian-12-i386", include_str!("../images/debian-12-i386.toml")),
    ("debian-13", include_str!("../images/debian-13.toml")),
    ("debian-12-cloudinit", include_str!("../images/debian-12-cloudinit.toml")),
    ("debian-12-i386-cloudinit", include_str!("../images/debian-12-i386-cloudinit.toml")),
    ("debian-13-cloudinit", include_str!("../images/debian-13-cloudinit.toml")),
    ("debian-12-serial", include_str!("../images/debian-12-serial.toml")),
    ("debian-12-keyboard", include_str!("../images/debian-12-keyboard.toml")),
    ("debian-12-cloud", include_str!("../images/debian-12-cloud.toml")),
    ("debian-12-nocloud", include_str!("../images/debian-12-nocloud.toml")),
    ("debian-13-cloud", include_str!("../images/debian-13-cloud.toml")),
    ("debian-13-nocloud", include_str!("../images/debian-13-nocloud.toml")),
    ("freebsd-13", include_str!("../images/freebsd-13.toml")),
    ("freebsd-14", include_str!("../images/freebsd-14.toml")),
    ("freebsd-14-i386", include_str!("../images/freebsd-14-i386.toml")),
    ("freebsd-15", include_str!("../images/freebsd-15.toml")),
    ("kali", include_str!("../images/kali.toml")),
    ("kali-2024.3-i386", include_str!("../images/kali-2024.3-i386.toml")),
    ("ubuntu-22.04", include_str!("../images/ubuntu-22.04.toml")),
    ("ubuntu-24.04", include_str!("../images/ubuntu-24.04.toml")),
    ("ubuntu-26.04", include_str!("../images/ubuntu-26.04.toml")),
];

/// An image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The name on the command line, and of its file and its directory in the cache: lower-case
    /// letters, digits, `-` and `.`.
    pub id: String,
    /// What it is, for people.
    pub title: String,
    /// What is to be known of its availability or its limits.
    #[serde(default)]
    pub note: String,
    /// The processor of the machine.
    pub architecture: Architecture,
    /// The width of its kernel, in bits: 32 or 64.
    pub kernel_bits: u8,
    /// The width of its programs, in bits: 32 or 64.
    pub userland_bits: u8,
    /// How its first boot is driven.
    pub first_boot: FirstBoot,
    /// Memory of the machine, MiB.
    pub memory: u32,
    /// Processors of the machine.
    pub cpus: u32,
    /// From power-on to the job's first sign of life, seconds, with software emulation.
    pub boot_limit: u64,
    /// From there to the machine's end, seconds, with software emulation.
    pub run_limit: u64,
    /// Where it comes from.
    pub source: Source,
}

/// The processor of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Architecture {
    /// 64-bit x86, which FreeBSD and Debian call amd64.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 32-bit x86, which FreeBSD and Debian call i386.
    #[serde(rename = "i686")]
    I686,
}

impl Architecture {
    /// As Rust and uname name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::I686 => "i686",
        }
    }
}

/// How the first boot of an image is driven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirstBoot {
    /// cloud-init, with a seed ISO.
    CloudInit,
    /// FreeBSD's nuageinit, with the same seed ISO.
    Nuageinit,
    /// Typed on the serial console.
    SerialLogin(SerialLogin),
    /// Typed blind on the emulated keyboard (QEMU's `sendkey`): for images that show nothing on
    /// the serial console.
    Keyboard(Keyboard),
    /// The agent in a tiny initramfs: nothing has to be driven.
    Agent,
}

/// What is typed on a serial console, and what is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialLogin {
    /// The user, who must become able to read raw disks: root.
    pub login: String,
    /// The password; none is asked for when it is empty.
    #[serde(default)]
    pub password: String,
    /// What precedes the user's name.
    #[serde(default = "SerialLogin::login_prompt")]
    pub login_prompt: String,
    /// What precedes the password.
    #[serde(default = "SerialLogin::password_prompt")]
    pub password_prompt: String,
    /// What the shell's prompt ends with.
    #[serde(default = "SerialLogin::shell_prompt")]
    pub shell_prompt: String,
}

/// What is typed on the emulated keyboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyboard {
    /// The user.
    pub login: String,
    /// The password; none is asked for when it is empty.
    #[serde(default)]
    pub password: String,
    /// What is typed to become root, followed by the password if one is asked for; nothing when
    /// the user is root.
    #[serde(default)]
    pub become_root: String,
    /// The virtual terminal that is changed to first (Ctrl-Alt-Fn), because a desktop has the
    /// first; 0 for none.
    #[serde(default)]
    pub terminal: u8,
    /// From power-on to the first key, seconds, with software emulation: a key that is pressed in
    /// the loader's menu chooses there.
    pub after: u64,
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
pub enum Source {
    /// From its publisher.
    Download(Download),
    /// From Debian's packages, on this host.
    Built(Built),
    /// A disk of the user's own: never copied, never written to.
    File(PathBuf),
}

/// An image that its publisher offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// What stands for `{release}` in the other fields.
    #[serde(default)]
    pub release: String,
    /// The directories that may hold it, each a URL that ends with a slash, in the order in which
    /// they are tried.
    pub locations: Vec<String>,
    /// Names of the file, as globs, best first: names vary between releases. Resolved from the
    /// checksum file. With a pinned digest, the first is the name itself.
    pub files: Vec<String>,
    /// Where the digest comes from.
    pub verify: Verify,
    /// What the file is.
    pub format: Format,
}

/// Where the digest of a download comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// The publisher's file of checksums, in the same directory.
    Checksums(Checksums),
    /// This digest: `sha256:…` or `sha512:…`, in hexadecimal.
    Digest(String),
}

/// A publisher's file of checksums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checksums {
    /// Its name.
    pub file: String,
    /// How it is written.
    pub format: ChecksumFormat,
}

/// How a file of checksums is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChecksumFormat {
    /// `HASH  NAME` or `HASH *NAME`, as sha256sum writes.
    Sums,
    /// `SHA512 (NAME) = HASH`, as the BSDs' sha512 writes.
    BsdTag,
}

/// What a published file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// A qcow2 disk.
    #[serde(rename = "qcow2")]
    Qcow2,
    /// A raw disk.
    #[serde(rename = "raw")]
    Raw,
    /// A qcow2 disk, compressed.
    #[serde(rename = "qcow2.xz")]
    Qcow2Xz,
    /// A raw disk, compressed.
    #[serde(rename = "raw.xz")]
    RawXz,
    /// A compressed archive with one disk in it, of either kind.
    #[serde(rename = "tar.xz")]
    TarXz,
    /// A 7z archive with one disk in it, of either kind.
    #[serde(rename = "7z")]
    SevenZ,
}

/// An image that is made on this host from Debian's packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Built {
    /// Debian's release: `bookworm`.
    pub suite: String,
    /// Debian's name of the architecture: `amd64`, `i386`.
    pub architecture: String,
    /// The package of the kernel: `linux-image-686-pae`.
    pub kernel: String,
    /// How much of Debian.
    pub kind: Kind,
}

/// How much of Debian a built image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Debian's kernel, and an initramfs with busybox and the agent.
    Tiny,
    /// A disk with systemd.
    Full,
    /// A disk with systemd and cloud-init.
    Cloud,
    /// A disk with systemd and nothing that starts a job: somebody logs in.
    Plain,
}

/// The format of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFormat {
    /// QEMU's own.
    Qcow2,
    /// The disk's bytes.
    Raw,
}

impl DiskFormat {
    /// As QEMU names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

impl Image {
    /// "64-bit kernel", "32-bit userland on a 64-bit kernel": how every result is labelled.
    pub fn widths(&self) -> String {
        if self.kernel_bits == self.userland_bits {
            format!("{}-bit kernel", self.kernel_bits)
        } else {
            format!("{}-bit userland on a {}-bit kernel", self.userland_bits, self.kernel_bits)
        }
    }

    /// Reads a description. `file` is named in errors.
    pub fn parse(text: &str, file: &Path) -> Result<Self> {
        let image: Self = toml::from_str(text).map_err(|error| bad_toml(file, text, &error))?;
        image.check().map_err(|problem| bad_description(file, problem))?;
        Ok(image)
    }

    fn check_machine(&self) -> std::result::Result<(), String> {
        if self.id.is_empty() || self.id.starts_with(['.', '-']) || !self.id.chars().all(sane) {
            return Err(format!(
                "id `{}` must be of lower-case letters, digits, `-` and `.`",
                self.id
            ));
        }
        if self.id.ends_with(".toml") || self.id.ends_with(".lock") {
            return Err(format!("id `{}` must not end with .toml or .lock", self.id));
        }
        for (field, bits) in
            [("kernel_bits", self.kernel_bits), ("userland_bits", self.userland_bits)]
        {
            if ![32, 64].contains(&bits) {
                return Err(format!("{field} must be 32 or 64, not {bits}"));
            }
        }
        if self.userland_bits > self.kernel_bits {
            return Err("userland_bits must not exceed kernel_bits".into());
        }
        if self.architecture == Architecture::I686 && self.kernel_bits != 32 {
            return Err("kernel_bits must be 32 on an i686".into());
        }
        if let FirstBoot::Keyboard(keyboard) = &self.first_boot {
            for (field, text) in [
                ("login", &keyboard.login),
                ("password", &keyboard.password),
                ("become_root", &keyboard.become_root),
            ] {
                if let Some(character) = text.chars().find(|c| typing::keys(*c).is_none()) {
                    return Err(format!(
                        "first_boot.keyboard.{field}: {character:?} is not on its keyboard, which \
                         has ASCII's printable characters"
                    ));
                }
            }
            if keyboard.terminal > 12 {
                return Err(
                    "first_boot.keyboard.terminal must be 0 to 12: Ctrl-Alt-F1 to F12".into()
                );
            }
        }
        if self.memory == 0 || self.cpus == 0 || self.boot_limit == 0 || self.run_limit == 0 {
            return Err("memory, cpus, boot_limit and run_limit must be more than 0".into());
        }
        Ok(())
    }

    fn check(&self) -> std::result::Result<(), String> {
        self.check_machine()?;
        match &self.source {
            Source::Download(download) => download.check(),
            Source::Built(built) => match (built.kind, &self.first_boot) {
                (Kind::Tiny, FirstBoot::Agent) | (Kind::Cloud, FirstBoot::CloudInit) => Ok(()),
                (Kind::Full, FirstBoot::Agent) => Ok(()),
                (Kind::Plain, FirstBoot::SerialLogin(_) | FirstBoot::Keyboard(_)) => Ok(()),
                _ => Err("first_boot does not fit source.built.kind".into()),
            },
            Source::File(_) => Err("source.file is only for --image".into()),
        }
    }
}

impl Download {
    /// The directories, with `{release}` filled in.
    pub fn locations(&self) -> impl Iterator<Item = String> {
        self.locations.iter().map(|location| self.filled(location))
    }

    /// The names of the file, with `{release}` filled in.
    pub fn files(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|file| self.filled(file))
    }

    fn filled(&self, template: &str) -> String {
        template.replace("{release}", &self.release)
    }

    fn check(&self) -> std::result::Result<(), String> {
        if self.locations.is_empty() || self.files.is_empty() {
            return Err("source.download: locations and files must not be empty".into());
        }
        for location in self.locations() {
            if !location.ends_with('/') {
                return Err(format!("source.download.locations: `{location}` must end with `/`"));
            }
            http::check_url(&location).map_err(|failure| match failure {
                http::Failure::Refused { url, why } => {
                    format!("source.download.locations: `{url}`: {why}")
                }
                failure => format!("source.download.locations: {failure:?}"),
            })?;
        }
        for file in self.files() {
            verify::pattern(&file)
                .map_err(|why| format!("source.download.files: `{file}`: {why}"))?;
            if file.contains('/') {
                return Err(format!("source.download.files: `{file}` must hold no `/`"));
            }
        }
        for field in self.locations().chain(self.files()) {
            if field.contains(['{', '}']) {
                return Err(format!("source.download: `{field}`: only `{{release}}` is filled in"));
            }
        }
        match &self.verify {
            Verify::Checksums(checksums) if checksums.file.contains('/') => {
                Err("source.download.verify.checksums.file must hold no `/`".into())
            }
            Verify::Checksums(_) => Ok(()),
            Verify::Digest(digest) => digest
                .parse::<verify::Digest>()
                .map(drop)
                .map_err(|why| format!("source.download.verify.digest: {why}")),
        }
    }
}

/// What `FILE.toml` beside a disk file may say; all of it may be absent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    title: Option<String>,
    note: Option<String>,
    architecture: Option<Architecture>,
    kernel_bits: Option<u8>,
    userland_bits: Option<u8>,
    first_boot: Option<FirstBoot>,
    memory: Option<u32>,
    cpus: Option<u32>,
    boot_limit: Option<u64>,
    run_limit: Option<u64>,
}

fn bad_description(file: &Path, problem: String) -> Error {
    Error::BadDescription { file: file.display().to_string(), problem }
}

/// An error of TOML, with the file and the line.
pub(crate) fn bad_toml(file: &Path, text: &str, error: &toml::de::Error) -> Error {
    let line = error.span().map(|span| {
        text.as_bytes()[..span.start.min(text.len())].iter().filter(|&&b| b == b'\n').count() + 1
    });
    let file = file.display();
    Error::BadDescription {
        file: line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}")),
        problem: error.message().replace('\n', " "),
    }
}

/// What an id is made of.
fn sane(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c)
}

/// All images that can be named.
#[derive(Debug, Clone)]
pub struct Catalogue {
    images: Vec<Image>,
}

impl Catalogue {
    /// The embedded ones, and those of the user's directory.
    pub fn load() -> Result<Self> {
        Self::load_with(user_directory().as_deref())
    }

    /// The embedded ones, and those of this directory, if it is there: each a file `ID.toml`.
    pub fn load_with(directory: Option<&Path>) -> Result<Self> {
        let mut images = Vec::new();
        for (id, text) in EMBEDDED {
            images.push(Image::parse(text, Path::new(&format!("vm/images/{id}.toml")))?);
        }
        for path in directory.map(descriptions).transpose()?.unwrap_or_default() {
            let text =
                fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
            let image = Image::parse(&text, &path)?;
            if path.file_stem().and_then(|stem| stem.to_str()) != Some(&image.id) {
                return Err(bad_description(
                    &path,
                    format!("its id is `{0}`: name the file `{0}.toml`", image.id),
                ));
            }
            images.retain(|other| other.id != image.id);
            images.push(image);
        }
        Ok(Self { images })
    }

    /// All, in the order in which they are shown.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The image of this id; an error that names the nearest otherwise.
    pub fn find(&self, id: &str) -> Result<&Image> {
        self.images.iter().find(|image| image.id == id).ok_or_else(|| {
            let mut near: Vec<(f64, &str)> = self
                .images
                .iter()
                .map(|image| (strsim::jaro_winkler(id, &image.id), image.id.as_str()))
                .filter(|(similarity, _)| *similarity > 0.8)
                .collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0));
            Error::UnknownImage {
                id: id.to_owned(),
                nearest: near.into_iter().take(3).map(|(_, id)| id.to_owned()).collect(),
            }
        })
    }

    /// An image from a disk file of the user's (`--image FILE.qcow2`): amd64, cloud-init, 2048 MiB,
    /// unless `FILE.toml` beside it says otherwise. Its id is the file's name without its ending.
    pub fn image_file(file: &Path) -> Result<Image> {
        let disk = file.canonicalize().map_err(|error| Error::io("open", file, error))?;
        if !disk.is_file() {
            return Err(Error::Usage(format!("--image {}: it is no file", file.display())));
        }
        let beside = file.with_extension("toml");
        let text = match fs::read_to_string(&beside) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::io("read", &beside, error)),
        };
        let said: Beside =
            toml::from_str(&text).map_err(|error| bad_toml(&beside, &text, &error))?;
        let Beside { title, note, architecture, kernel_bits, userland_bits, .. } = said;
        let architecture = architecture.unwrap_or(Architecture::X86_64);
        let kernel_bits = kernel_bits.unwrap_or(match architecture {
            Architecture::X86_64 => 64,
            Architecture::I686 => 32,
        });
        let id: String = file
            .file_stem()
            .map(|stem| stem.to_string_lossy().to_lowercase())
            .unwrap_or_default()
            .chars()
            .map(|c| if sane(c) { c } else { '-' })
            .collect();
        let image = Image {
            id: id.trim_start_matches(['.', '-']).to_owned(),
            title: title.unwrap_or_else(|| file.display().to_string()),
            note: note.unwrap_or_default(),
            architecture,
            kernel_bits,
            userland_bits: userland_bits.unwrap_or(kernel_bits),
            first_boot: said.first_boot.unwrap_or(FirstBoot::CloudInit),
            memory: said.memory.unwrap_or(2048),
            cpus: said.cpus.unwrap_or(2),
            boot_limit: said.boot_limit.unwrap_or(600),
            run_limit: said.run_limit.unwrap_or(1800),
            source: Source::File(disk),
        };
        image.check_machine().map_err(|problem| bad_description(&beside, problem))?;
        Ok(image)
    }
}

/// The `*.toml` of a directory, in order of their names; none if it is not there.
fn descriptions(directory: &Path) -> Result<Vec<PathBuf>> {
    let cannot = |error| Error::io("read", directory, error);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(cannot)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Where a user's own descriptions are: `$XDG_CONFIG_HOME/forkproof/images`, or
/// `~/.config/forkproof/images`.
pub fn user_directory() -> Option<PathBuf> {
    crate::cache::xdg("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("forkproof/images"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn every_description_is_embedded_and_parses() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
        let mut there: Vec<String> = descriptions(&dir)
            .expect("vm/images")
            .iter()
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        let mut embedded: Vec<&str> = EMBEDDED.iter().map(|(id, _)| *id).collect();
        embedded.sort_unstable();
        there.sort();
        assert_eq!(there, embedded);

        let catalogue = Catalogue::load_with(None).expect("all parse");
        for (image, (name, _)) in catalogue.images().iter().zip(EMBEDDED) {
            assert_eq!(image.id, *name, "the id is the file's name");
            if let Source::Download(download) = &image.source {
                for location in download.locations() {
                    assert!(location.starts_with("https://"), "{name}: {location}");
                }
            }
        }
    }

    #[test]
    fn releases_are_filled_in() {
        let catalogue = Catalogue::load_with(None).expect("all parse");
        let image = catalogue.find("freebsd-15").expect("there");
        let Source::Download(download) = &image.source else { panic!("{:?}", image.source) };
        for text in download.locations().chain(download.files()) {
            assert!(text.contains("15.") && !text.contains('{'), "{text}");
        }
    }

    #[rstest]
    #[case("debian-12-tny", "debian-12-tiny")]
    #[case("freebsd14", "freebsd-14")]
    #[case("Ubuntu-24.04", "ubuntu-24.04")]
    fn a_wrong_id_names_the_nearest(#[case] wrong: &str, #[case] right: &str) {
        let catalogue = Catalogue::load_with(None).expect("all parse");
        match catalogue.find(wrong) {
            Err(Error::UnknownImage { nearest, .. }) => {
                assert_eq!(nearest.first().map(String::as_str), Some(right), "{nearest:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    /// A sound description, in which each case breaks one thing.
    const SOUND: &str = r#"
id = "mine"
title = "Mine"
architecture = "x86_64"
kernel_bits = 64
userland_bits = 64
first_boot = "cloud-init"
memory = 512
cpus = 1
boot_limit = 60
run_limit = 60
[source.download]
locations = ["https://example.org/"]
files = ["a.img"]
verify = { checksums = { file = "SHA256SUMS", format = "sums" } }
format = "qcow2"
"#;

    #[rstest]
    #[case::id("\"mine\"", "\"../mine\"", "id `../mine`")]
    #[case::id_of_the_records("\"mine\"", "\"lock.toml\"", "must not end with")]
    #[case::width("kernel_bits = 64", "kernel_bits = 16", "kernel_bits")]
    #[case::userland("kernel_bits = 64", "kernel_bits = 32", "userland_bits")]
    #[case::i686("\"x86_64\"", "\"i686\"", "kernel_bits must be 32")]
    #[case::no_memory("memory = 512", "memory = 0", "memory")]
    #[case::plain_http("https://example.org/", "http://example.org/", "plain HTTP")]
    #[case::not_loopback("https://example.org/", "http://127.0.0.1@example.org/", "plain HTTP")]
    #[case::no_directory("https://example.org/", "https://example.org/a", "must end with `/`")]
    #[case::no_url("https://example.org/", "example/", "no URL")]
    #[case::other_scheme("https://example.org/", "file:///", "only https")]
    #[case::no_glob("a.img", "[a.img", "a.img")]
    #[case::path("a.img", "../a.img", "no `/`")]
    #[case::placeholder("a.img", "{version}.img", "{version}")]
    #[case::format("\"qcow2\"", "\"vmdk\"", "vmdk")]
    #[case::no_digest(
        r#"{ checksums = { file = "SHA256SUMS", format = "sums" } }"#,
        r#"{ digest = "sha256:00" }"#,
        "no digest"
    )]
    fn what_is_refused(#[case] right: &str, #[case] wrong: &str, #[case] words: &str) {
        let file = Path::new("mine.toml");
        Image::parse(SOUND, file).expect("sound as it is");
        assert!(SOUND.contains(right), "{right}");
        let error = Image::parse(&SOUND.replace(right, wrong), file).expect_err("broken");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.exit_status(), 2);
    }

    #[test]
    fn a_disk_of_the_users_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = dir.path().join("My Release 1.2.qcow2");
        std::fs::write(&disk, b"QFI\xfb").expect("written");
        let image = Catalogue::image_file(&disk).expect("an image");
        assert_eq!(image.id, "my-release-1.2");
        assert_eq!(
            (image.architecture, image.kernel_bits, image.memory),
            (Architecture::X86_64, 64, 2048)
        );
        assert_eq!(image.first_boot, FirstBoot::CloudInit);

        let beside = dir.path().join("My Release 1.2.toml");
        std::fs::write(&beside, "architecture = \"i686\"\nfirst_boot = \"nuageinit\"\n")
            .expect("written");
        let image = Catalogue::image_file(&disk).expect("an image");
        assert_eq!((image.kernel_bits, image.userland_bits), (32, 32));
        assert_eq!(image.first_boot, FirstBoot::Nuageinit);

        std::fs::write(&beside, "memory = 1\nmemroy = 1\n").expect("written");
        let error = Catalogue::image_file(&disk).expect_err("unknown field").to_string();
        assert!(error.contains("1.2.toml:2: unknown field `memroy`"), "{error}");
    }
}
