//! What a description must say beyond its form.

use std::path::Path;

use super::address;
use super::architecture::Architecture;
use super::digest::Digest;
use super::image::{Download, FirstBoot, Image, Kind, Source, Verify};
use super::keys::keys;
use super::system::System;
use crate::error::{Error, Result};

impl Image {
    /// Reads a description. `origin` is named in errors.
    pub(crate) fn parse(text: &str, origin: &Path) -> Result<Self> {
        let image: Self = settings::parse(text, &origin.display().to_string())?;
        image.check().map_err(|problem| bad_description(origin, &problem))?;
        Ok(image)
    }

    pub(crate) fn check_machine(&self) -> std::result::Result<(), String> {
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
        let bits = self.architecture.bits();
        if self.kernel_bits > bits {
            return Err(format!("kernel_bits must not exceed its architecture's {bits}"));
        }
        if self.architecture.of_programs(self.userland_bits).is_none() {
            return Err(format!(
                "userland_bits must be {bits}: its architecture has no programs of {} bits",
                self.userland_bits
            ));
        }
        let has_no_firmware = matches!(
            self.architecture,
            Architecture::Aarch64 | Architecture::Armv7 | Architecture::Riscv64
        );
        if has_no_firmware && !matches!(self.source, Source::Built(_)) {
            return Err(format!(
                "architecture: {} machines have no firmware here that starts a disk; only images \
                 that are built here, whose kernel QEMU starts, boot on them",
                self.architecture.words()
            ));
        }
        let driven_by = match self.first_boot {
            FirstBoot::Nuageinit => Some(("nuageinit", System::FreeBsd)),
            FirstBoot::Agent => Some(("agent", System::Linux)),
            _ => None,
        };
        if let Some((driver, system)) = driven_by.filter(|(_, system)| *system != self.system()) {
            let (said, right) = (self.system().words(), system.words());
            return Err(format!("system: first_boot `{driver}` is {right}'s, not {said}'s"));
        }
        if let FirstBoot::Keyboard(keyboard) = &self.first_boot {
            for (field, text) in [
                ("login", &keyboard.login),
                ("password", &keyboard.password),
                ("become_root", &keyboard.become_root),
            ] {
                if let Some(character) = text.chars().find(|c| keys(*c).is_none()) {
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
    fn check(&self) -> std::result::Result<(), String> {
        if self.locations.is_empty() || self.files.is_empty() {
            return Err("source.download: locations and files must not be empty".into());
        }
        for location in self.locations() {
            if !location.ends_with('/') {
                return Err(format!("source.download.locations: `{location}` must end with `/`"));
            }
            address::check(&location, None)
                .map_err(|why| format!("source.download.locations: `{location}`: {why}"))?;
        }
        for file in self.files() {
            glob::Pattern::new(&file)
                .map_err(|why| format!("source.download.files: `{file}`: {}", why.msg))?;
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
                .parse::<Digest>()
                .map(drop)
                .map_err(|why| format!("source.download.verify.digest: {why}")),
        }
    }
}

/// What an id is made of.
pub(crate) fn sane(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c)
}

pub(crate) fn bad_description(file: &Path, problem: &str) -> Error {
    Error::Usage(format!("{}: {problem}", file.display()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

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
    #[case::i686("\"x86_64\"", "\"i686\"", "kernel_bits must not exceed")]
    #[case::arm("\"x86_64\"", "\"aarch64\"", "no firmware")]
    #[case::risc_v("\"x86_64\"", "\"riscv64\"", "no firmware")]
    #[case::narrow(
        "x86_64\"\nkernel_bits = 64\nuserland_bits = 64",
        "s390x\"\nkernel_bits = 64\nuserland_bits = 32",
        "no programs of 32 bits"
    )]
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
        assert!(matches!(error, Error::Usage(_)), "{error:?}");
    }
}
