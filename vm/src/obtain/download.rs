//! A large file that is verified: downloaded to `download.part`, with `download.toml` beside it, which
//! says of what file that is a part. As long as the publisher's digest stays the same, it is taken up
//! again from there; whether the pieces fit, the digest tells.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::curl::{self, Failure, Network};
use crate::cache::digest_of;
use crate::catalogue::Digest;
use crate::error::{Error, Result};
use crate::platform;

/// With less than this left, bytes, what cannot be written has probably no space.
const LITTLE_SPACE: u64 = 1024 * 1024;

/// How a fetch goes, for whoever shows it.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// Another process fetches the same image; this one waits for it.
    Waiting,
    /// A download begins, or goes on: `from` bytes are here already. `total` is how many there are,
    /// if the server says so.
    Downloading { url: &'a str, from: u64, total: Option<u64> },
    /// The connection broke; it is taken up again.
    Retrying { why: &'a str },
    /// What is here is verified: so many bytes.
    Verifying(u64),
    /// What is here is unpacked: so many bytes.
    Unpacking(u64),
    /// So many more bytes of what was announced last.
    Advanced(u64),
}

/// What is to be downloaded.
pub(super) struct Wanted {
    pub(super) url: String,
    pub(super) digest: Digest,
}

/// What `download.toml` says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Partial {
    url: String,
    digest: String,
}

/// One file on its way.
pub(super) struct Download<'a> {
    /// The image, for errors.
    pub(super) id: &'a str,
    pub(super) note: &'a str,
    pub(super) wanted: &'a Wanted,
    pub(super) part: PathBuf,
    pub(super) network: &'a Network,
    /// How often a broken connection is taken up again before it is an error.
    pub(super) retries: u32,
}

impl Download<'_> {
    /// Makes `part` whole and verified; its size.
    pub(super) fn run(&self, report: &mut dyn FnMut(Event<'_>)) -> Result<u64> {
        let expected = &self.wanted.digest;
        loop {
            let resumed = self.transfer(report)?;
            let bytes = self.length();
            report(Event::Verifying(bytes));
            let actual = digest_of(expected.algorithm(), &self.part, &mut |n| {
                report(Event::Advanced(n));
            })?;
            if actual == *expected {
                return Ok(bytes);
            }
            self.discard()?;
            if !resumed {
                return Err(Error::Failed(format!(
                    "image `{}`: checksum mismatch: {} should have {expected} and has {actual}; \
                     the download was removed",
                    self.id, self.wanted.url
                )));
            }
            // The piece that was here may have been the wrong one: once more, from the start.
            report(Event::Retrying { why: "the resumed download has the wrong checksum" });
        }
    }

    /// Removes everything.
    pub(super) fn discard(&self) -> Result<()> {
        platform::remove(&self.part)?;
        platform::remove(&self.state_file())
    }

    /// Downloads to the end; whether a part of it was here before.
    fn transfer(&self, report: &mut dyn FnMut(Event<'_>)) -> Result<bool> {
        let mut here = self.usable()?;
        let resumed = here > 0;
        let mut failures = 0;
        while let Some(why) = self.attempt(here, report)? {
            let length = self.length();
            failures = if length > here { 1 } else { failures + 1 };
            if failures > self.retries {
                if length == 0 {
                    self.discard()?;
                    return Err(self.unavailable(&self.wanted.url, why));
                }
                let why = format!("{why}, and {length} bytes are kept for the next try");
                return Err(self.unavailable(&self.wanted.url, why));
            }
            report(Event::Retrying { why: &why });
            here = length;
        }
        Ok(resumed)
    }

    /// How much is here of the same file. Anything else is removed, and this file's begins.
    fn usable(&self) -> Result<u64> {
        let path = self.state_file();
        let digest = self.wanted.digest.to_string();
        if settings::read::<Partial>(&path).is_ok_and(|partial| partial.digest == digest) {
            return Ok(self.length());
        }
        self.discard()?;
        let cannot = |error| Error::io("write", &path, error);
        let partial = Partial { url: self.wanted.url.clone(), digest };
        let text = toml::to_string(&partial).map_err(|e| cannot(std::io::Error::other(e)))?;
        fs::write(&path, text).map_err(cannot)?;
        Ok(0)
    }

    /// One request; none when the file is whole, and otherwise why it isn't.
    fn attempt(&self, here: u64, report: &mut dyn FnMut(Event<'_>)) -> Result<Option<String>> {
        let mut begun = None;
        let mut told = here;
        let mut watch = |url: &str, output: &[u8]| {
            if begun.is_none() {
                if let Some((status, length)) = curl::file_head(output) {
                    let from = if status == 206 { here } else { 0 };
                    let total = length.map(|length| from + length);
                    begun = Some(total);
                    report(Event::Downloading { url, from, total });
                }
            }
            let length = self.length();
            if begun.is_some() && length > told {
                report(Event::Advanced(length - told));
                told = length;
            }
            Ok(())
        };
        let options = ["--continue-at", "-", "--suppress-connect-headers", "--dump-header", "-"];
        let mut options = options.map(Into::into).to_vec();
        options.extend(["--output".into(), self.part.clone().into()]);
        let failure = match curl::get(&self.wanted.url, &options, self.network, &mut watch) {
            Ok(_) => return Ok(None),
            Err(failure) => failure,
        };
        match failure {
            Failure::Broken(why) => {
                let length = self.length();
                Ok(Some(match begun {
                    Some(Some(total)) => format!("{why}, after {length} of {total} bytes"),
                    Some(None) => format!("{why}, after {length} bytes"),
                    None => why,
                }))
            }
            Failure::NoRest => {
                platform::remove(&self.part)?;
                Ok(Some("the server does not send the rest alone".into()))
            }
            Failure::Useless { url, why } => {
                self.back_to(here)?;
                Err(self.unavailable(&url, why))
            }
            Failure::Unwritten(why) => {
                let full = platform::space_left(self.directory()).is_some_and(|n| n < LITTLE_SPACE);
                // The error to tell is the one that is here already.
                let _ = self.discard();
                Err(if full {
                    let kept = "what was downloaded was removed".into();
                    Error::DiskFull { path: self.part.clone(), kept }
                } else {
                    Error::io("write", &self.part, std::io::Error::other(why))
                })
            }
            Failure::Other(error) => Err(error),
        }
    }

    /// Takes off what a useless answer has appended.
    fn back_to(&self, length: u64) -> Result<()> {
        if length == 0 {
            return self.discard();
        }
        OpenOptions::new()
            .write(true)
            .open(&self.part)
            .and_then(|file| file.set_len(length))
            .map_err(|error| Error::io("write", &self.part, error))
    }

    fn unavailable(&self, url: &str, why: String) -> Error {
        let (id, note) = (self.id.to_owned(), self.note.to_owned());
        Error::Unavailable { id, url: url.to_owned(), why, note }
    }

    fn length(&self) -> u64 {
        self.part.metadata().map_or(0, |metadata| metadata.len())
    }

    fn directory(&self) -> &Path {
        self.part.parent().unwrap_or(Path::new("."))
    }

    fn state_file(&self) -> PathBuf {
        self.part.with_extension("toml")
    }
}
