//! One image in the making: its directory, and the tools that work there.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::catalogue::Built;
use crate::error::{Error, Result};
use crate::platform::{self, Process};

/// Debian's archive; apt checks signatures, so it needs no TLS.
const MIRROR: &str = "http://deb.debian.org/debian";
/// Where Debian's and Ubuntu's package of that name puts the keys.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

pub(super) fn mirror() -> String {
    std::env::var("FORKPROOF_DEBIAN_MIRROR").unwrap_or_else(|_| MIRROR.to_owned())
}

/// One image in the making.
pub(super) struct Making<'a> {
    pub(super) id: &'a str,
    pub(super) built: &'a Built,
    /// Removed at the end, and whatever an earlier attempt left at the beginning.
    pub(super) dir: PathBuf,
    pub(super) tell: &'a dyn Fn(&str),
}

impl Making<'_> {
    /// An empty directory.
    pub(super) fn begin(&self) -> Result<()> {
        self.clear()?;
        platform::remove(&self.dir.with_file_name("build.log"))?;
        fs::create_dir(&self.dir).map_err(|error| Error::io("make", &self.dir, error))
    }

    pub(super) fn clear(&self) -> Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &self.dir, error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn failed(&self, why: impl std::fmt::Display) -> Error {
        Error::build_failed(self.id, why)
    }

    /// Runs a program to its end; its last words are the error's.
    pub(super) fn tool(&self, step: &str, command: &mut Command) -> Result<()> {
        let log = self.dir.join("log");
        let file = File::create(&log).map_err(|error| Error::io("write", &log, error))?;
        let again = file.try_clone().map_err(|error| Error::io("write", &log, error))?;
        command.stdin(Stdio::null()).stdout(file).stderr(again).process_group(0);
        let mut process =
            Process::start(command).map_err(|error| self.failed(format!("{step}: {error}")))?;
        if process.wait(&mut || Ok(()))?.success() {
            return Ok(());
        }
        let text = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if text.contains("No space left on device") {
            return Err(Error::DiskFull { path: self.dir.clone(), kept: String::new() });
        }
        // apt's errors are what matters, if there are some; the last lines otherwise.
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let errors: Vec<&str> =
            lines.iter().copied().filter(|line| line.starts_with("E: ")).collect();
        let chosen = if errors.is_empty() { &lines } else { &errors };
        let last = chosen[chosen.len().saturating_sub(3)..].join(" | ");
        // The directory goes; this stays, until the next attempt.
        let kept = self.dir.with_file_name("build.log");
        let _ = fs::rename(&log, &kept);
        Err(self.failed(format!("{step}: {last}; the whole log is {}", kept.display())))
    }

    pub(super) fn keyring(&self) -> Result<()> {
        if Path::new(KEYRING).exists() {
            return Ok(());
        }
        Err(Error::ToolMissing {
            program: KEYRING.to_owned(),
            install: platform::how_to_install("debian-archive-keyring"),
        })
    }

    pub(super) fn source(&self) -> String {
        format!("deb [signed-by={KEYRING}] {} {} main", mirror(), self.built.suite)
    }
}
