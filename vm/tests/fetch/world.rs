//! A publisher, and a user of what is published.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use sha2::{Digest, Sha256};

use crate::server::Server;

/// A publisher, a user with a cache and a description of what is published.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) server: Server,
}

pub(crate) const IMAGE: &str = "mine";
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_forkproof-vm");

/// Long enough that pieces of it arrive apart.
pub(crate) const LENGTH: usize = 300 * 1024;
pub(crate) const CUT: usize = 100 * 1024;

impl World {
    /// Publishes `bytes` as `name`, with a right `SHA256SUMS`, and describes it.
    pub(crate) fn new(name: &str, format: &str, bytes: Vec<u8>) -> Self {
        let world =
            Self { dir: tempfile::tempdir().expect("a directory"), server: Server::start() };
        world.server.publish("SHA256SUMS", sums(name, &bytes).into_bytes());
        world.server.publish(name, bytes);
        world.describe(&[&world.server.url], name, format, ("SHA256SUMS", "sums"));
        world
    }

    /// A raw disk that is not compressed.
    pub(crate) fn with_disk() -> (Self, Vec<u8>) {
        let bytes = noise(LENGTH);
        (Self::new("disk.img", "raw", bytes.clone()), bytes)
    }

    pub(crate) fn describe(
        &self,
        locations: &[&str],
        file: &str,
        format: &str,
        checksums: (&str, &str),
    ) {
        let text = format!(
            r#"id = "{IMAGE}"
title = "Mine"
note = "gone one day"
architecture = "x86_64"
kernel_bits = 64
userland_bits = 64
first_boot = "cloud-init"
memory = 512
cpus = 1
boot_limit = 60
run_limit = 60
[source.download]
locations = {locations:?}
files = ["{file}"]
format = "{format}"
verify = {{ checksums = {{ file = "{}", format = "{}" }} }}
"#,
            checksums.0, checksums.1
        );
        self.description(&text);
    }

    pub(crate) fn description(&self, text: &str) {
        let dir = self.dir.path().join("config/forkproof/images");
        std::fs::create_dir_all(&dir).expect("made");
        std::fs::write(dir.join(format!("{IMAGE}.toml")), text).expect("written");
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.cache().join("forkproof/images")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.images().join(IMAGE).join(name)
    }

    /// A program that is found before the system's.
    pub(crate) fn script(&self, name: &str, text: &str) {
        let dir = self.dir.path().join("bin");
        std::fs::create_dir_all(&dir).expect("made");
        std::fs::write(dir.join(name), format!("#!/bin/sh\n{text}\n")).expect("written");
        std::fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o755)).expect("set");
    }

    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 4] {
        let path = std::env::var("PATH").expect("a PATH");
        let path = format!("{}:{path}", self.dir.path().join("bin").display());
        [
            ("PATH", path.into()),
            ("HOME", self.dir.path().to_owned()),
            ("XDG_CACHE_HOME", self.cache()),
            ("XDG_CONFIG_HOME", self.dir.path().join("config")),
        ]
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        // What this machine believes is no part of the test.
        command.env_remove("SSL_CERT_FILE");
        command.envs(self.environment()).args(arguments).timeout(Duration::from_secs(120));
        command
    }

    pub(crate) fn fetch(&self, options: &[&str]) -> Command {
        let mut command = self.command(&["fetch", IMAGE]);
        command.args(options);
        command
    }

    /// In the background, with its standard error to read.
    pub(crate) fn spawn(&self) -> Child {
        std::process::Command::new(PROGRAM)
            .envs(self.environment())
            .args(["fetch", IMAGE])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started")
    }

    /// What is in the image's directory, but for its lock and its digests.
    pub(crate) fn left(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.images().join(IMAGE)) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| !["lock", "digests.toml"].contains(&&**name))
            .collect();
        names.sort();
        names
    }

    /// The one error line of a fetch that ends with 3.
    #[track_caller]
    pub(crate) fn fails(&self, options: &[&str], words: &[&str]) {
        let output = self.fetch(options).assert().code(3).get_output().stderr.clone();
        let stderr = String::from_utf8(output).expect("text");
        let errors: Vec<&str> =
            stderr.lines().filter(|line| line.starts_with("forkproof: ")).collect();
        assert_eq!(errors.len(), 1, "one line of error:\n{stderr}");
        for word in words {
            assert!(errors[0].contains(word), "`{word}` is not in: {}", errors[0]);
        }
    }
}

/// Bytes that neither compress nor repeat.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// A qcow2 disk, as far as its header goes.
pub(crate) fn qcow2() -> Vec<u8> {
    let mut bytes = vec![0; 72];
    bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x02");
    bytes.extend(noise(LENGTH - 72));
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sums(name: &str, bytes: &[u8]) -> String {
    format!("{}  other.img\n{} *{name}\n", "0".repeat(64), hex(&Sha256::digest(bytes)))
}

/// Waits for a condition of another process.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn part_length(world: &World) -> usize {
    let metadata = world.file("download.part").metadata();
    metadata.map_or(0, |metadata| usize::try_from(metadata.len()).expect("small"))
}
