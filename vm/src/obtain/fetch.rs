//! Brings a published image into the cache.
//!
//! The publisher's file of checksums is asked first, over HTTPS: it says what the file is called now
//! and what its digest is. The download goes to `download.part`, with `download.toml` beside it, and
//! is resumed from there if the digest is still the same; it is verified as it lies on the disk,
//! then unpacked to another `.part`, and only then has its final name.
//!
//! What is left when something fails:
//!
//! | | |
//! |---|---|
//! | the connection breaks, Ctrl-C, SIGKILL | `download.part`: the next run resumes it |
//! | wrong checksum | nothing |
//! | damaged archive | nothing |
//! | no space left | of a download nothing; of unpacking the verified download |

use std::path::{Path, PathBuf};

use glob::Pattern;
use settings::printable;

use super::curl::{self, Failure, Network};
use super::download::{Download, Event, Wanted};
use super::sums::{Sums, Unresolved};
use super::unpack;
use crate::cache::{Cache, Files, ImageLock, Record, Records, now, own_disk};
use crate::catalogue::{DiskFormat, Download as Published, Format, Image, Source, Verify};
use crate::error::{Error, Result};
use crate::platform::{self, SAID_LIMIT};

/// How to fetch.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Ask no server; what is not in the cache is an error.
    pub(crate) offline: bool,
    /// Ask the publisher although the image is in the cache, and replace it if its digest changed.
    pub(crate) update: bool,
    /// Refuse a digest that is not the one recorded in this file.
    pub(crate) locked: Option<PathBuf>,
    /// How often a broken connection is taken up again before it is an error.
    pub(crate) retries: u32,
    pub(crate) network: Network,
}

/// Brings the image into the cache, if it is not there, and says what a machine is started from.
pub(crate) fn fetch(
    image: &Image,
    cache: &Cache,
    options: &Options,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<Files> {
    let published = match &image.source {
        Source::Download(published) => published,
        Source::File(path) => {
            let format = own_disk(path)?;
            return Ok(Files::Disk { path: path.clone(), format });
        }
        Source::Built(_) => {
            return Err(Error::Usage(format!(
                "image `{0}` is not downloaded but built here: `forkproof vm build {0}`",
                image.id
            )));
        }
    };
    if options.offline {
        let absent = || {
            Error::Failed(format!(
                "image `{0}` is not in the cache ({1}), and nothing is downloaded with --offline: \
                 run `forkproof vm fetch {0}` with a network first",
                image.id,
                cache.dir(&image.id).display()
            ))
        };
        let files = cache.find(image).ok_or_else(absent)?;
        check_locked(image, cache, options)?;
        return Ok(files);
    }
    let lock = cache.lock(&image.id, || report(Event::Waiting))?;
    if let Some(files) = cache.find(image).filter(|_| !options.update) {
        check_locked(image, cache, options)?;
        return Ok(files);
    }
    Fetch { image, published, cache, lock, options }.run(report)
}

/// With `--locked`: what is in the cache must be what is recorded.
fn check_locked(image: &Image, cache: &Cache, options: &Options) -> Result<()> {
    let Some(file) = &options.locked else { return Ok(()) };
    let here = Records::read(&cache.records_file())?;
    let actual =
        here.images.get(&image.id).map_or("nothing that is recorded", |record| &record.digest);
    agrees(image, file, actual, "the cache holds")
}

fn agrees(image: &Image, lock_file: &Path, actual: &str, from: &str) -> Result<()> {
    let records = Records::read(lock_file)?;
    let expected = records.images.get(&image.id).map(|record| record.digest.as_str());
    if expected == Some(actual) {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "image `{}`: {from} {actual}, and {} records {}: fetch without --locked to accept the change",
        image.id,
        lock_file.display(),
        expected.unwrap_or("nothing for it")
    )))
}

struct Fetch<'a> {
    image: &'a Image,
    published: &'a Published,
    cache: &'a Cache,
    lock: ImageLock,
    options: &'a Options,
}

impl Fetch<'_> {
    fn run(&self, report: &mut dyn FnMut(Event<'_>)) -> Result<Files> {
        let mut failures = Vec::new();
        for location in self.published.locations() {
            match self.from(&location, report) {
                Ok(files) => return Ok(files),
                // It may have been moved to the next: releases that are over go to archives.
                Err(error @ (Error::Unavailable { .. } | Error::NotPublished(_))) => {
                    failures.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(self.summed_up(failures))
    }

    /// One error of several locations'. That names changed tells most; then all are told.
    fn summed_up(&self, mut failures: Vec<Error>) -> Error {
        if let Some(at) = failures.iter().position(|e| matches!(e, Error::NotPublished(_))) {
            return failures.swap_remove(at);
        }
        let mut reasons = failures.into_iter().filter_map(|error| match error {
            Error::Unavailable { url, why, .. } => Some((url, why)),
            _ => None,
        });
        let (url, mut why) = reasons.next().unwrap_or_default();
        for (url, other) in reasons {
            why.push_str(&format!("; {url}: {other}"));
        }
        self.unavailable(url, why)
    }

    fn from(&self, location: &str, report: &mut dyn FnMut(Event<'_>)) -> Result<Files> {
        let wanted = self.resolve(location)?;
        if let Some(lock_file) = &self.options.locked {
            agrees(self.image, lock_file, &wanted.digest.to_string(), "the publisher offers")?;
        }
        if let Some(files) = self.unchanged(&wanted)? {
            return Ok(files);
        }
        let download = Download {
            id: &self.image.id,
            note: &self.image.note,
            wanted: &wanted,
            part: self.lock.dir().join("download.part"),
            network: &self.options.network,
            retries: self.options.retries,
        };
        let bytes = download.run(report)?;
        let disk = self.disk(&download, report)?;
        let digest = wanted.digest.to_string();
        let record = Record { url: wanted.url, digest, bytes, date: now() };
        self.cache.record(&self.image.id, record)?;
        Ok(disk)
    }

    /// With `--update`: what is here, if the publisher still offers the same.
    fn unchanged(&self, wanted: &Wanted) -> Result<Option<Files>> {
        let Some(files) = self.cache.find(self.image) else { return Ok(None) };
        let records = Records::read(&self.cache.records_file())?;
        let same = records
            .images
            .get(&self.image.id)
            .is_some_and(|record| record.digest == wanted.digest.to_string());
        Ok(same.then_some(files))
    }

    fn unavailable(&self, url: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Unavailable {
            id: self.image.id.clone(),
            url: url.into(),
            why: why.into(),
            note: self.image.note.clone(),
        }
    }

    /// What the file is called now, and its digest.
    fn resolve(&self, location: &str) -> Result<Wanted> {
        let checksums = match &self.published.verify {
            Verify::Checksums(checksums) => checksums,
            Verify::Digest(digest) => {
                let digest = digest.parse().map_err(Error::Usage)?;
                let name = self.published.files().next().unwrap_or_default();
                return Ok(Wanted { url: format!("{location}{name}"), digest });
            }
        };
        let url = format!("{location}{}", checksums.file);
        let text = self.text(&url)?;
        let sums = Sums::parse(&text, checksums.format);
        let names = sums.names();
        if names.is_empty() {
            let start = printable(&text.chars().take(60).collect::<String>());
            let why = format!("it is no file of checksums: it begins with `{}`", start.trim());
            return Err(self.unavailable(url, why));
        }
        let patterns = self
            .published
            .files()
            .map(|file| Pattern::new(&file))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| Error::Usage(error.to_string()))?;
        let pattern = self.published.files().collect::<Vec<_>>().join("` or `");
        match sums.resolve(&patterns) {
            Ok((name, digest)) => Ok(Wanted { url: format!("{location}{name}"), digest }),
            Err(Unresolved::Nothing) => Err(Error::NotPublished(format!(
                "image `{}`: {url} names no file `{pattern}`; it names {}",
                self.image.id,
                listed(&names)
            ))),
            Err(Unresolved::Several(names)) => Err(Error::Failed(format!(
                "image `{}`: {url} names more than one file `{pattern}`: {}",
                self.image.id,
                listed(&names)
            ))),
        }
    }

    /// A small file of text.
    fn text(&self, url: &str) -> Result<String> {
        let too_large =
            || self.unavailable(url, "it is no file of checksums: it is too large for one");
        let mut bounded = |_: &str, output: &[u8]| match output.len() {
            0..=SAID_LIMIT => Ok(()),
            _ => Err(too_large()),
        };
        let limit = ["--max-filesize".into(), SAID_LIMIT.to_string().into()];
        let mut retries = self.options.retries;
        loop {
            let failure = match curl::get(url, &limit, &self.options.network, &mut bounded) {
                Ok(bytes) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                Err(failure) => failure,
            };
            return Err(match failure {
                Failure::Broken(_) if retries > 0 => {
                    retries -= 1;
                    continue;
                }
                Failure::Broken(why) | Failure::Unwritten(why) => self.unavailable(url, why),
                Failure::NoRest => self.unavailable(url, "it is sent in parts"),
                Failure::Useless { url, why } => self.unavailable(url, why),
                Failure::Other(error) => error,
            });
        }
    }

    /// From the verified download to the disk, under its final name.
    fn disk(&self, download: &Download<'_>, report: &mut dyn FnMut(Event<'_>)) -> Result<Files> {
        let part = &download.part;
        let format = self.published.format;
        let (whole, found) = if matches!(format, Format::Qcow2 | Format::Raw) {
            let found = unpack::check(&self.image.id, part, format);
            (part.to_owned(), found)
        } else {
            report(Event::Unpacking(part.metadata().map_or(0, |metadata| metadata.len())));
            let unpacked = self.lock.dir().join("disk.part");
            let found = unpack::unpack(&self.image.id, part, format, &unpacked, &mut |n| {
                report(Event::Advanced(n));
            });
            (unpacked, found)
        };
        let found = match found {
            Ok(found) => found,
            Err(Error::DiskFull { path, .. }) => {
                return Err(Error::DiskFull {
                    path,
                    kept: format!("the verified download is kept in {}", part.display()),
                });
            }
            Err(Error::Damaged { id, why, .. }) => {
                // Right according to its publisher, and of no use: to keep it helps nobody.
                download.discard()?;
                return Err(Error::Damaged { id, file: download.wanted.url.clone(), why });
            }
            Err(error) => return Err(error),
        };
        // After `--update` a disk of the other format may be here.
        let (name, other) = match found {
            DiskFormat::Qcow2 => ("disk.qcow2", "disk.raw"),
            DiskFormat::Raw => ("disk.raw", "disk.qcow2"),
        };
        self.lock.unseal()?;
        let path = self.lock.publish(&whole, name)?;
        platform::remove(&self.lock.dir().join(other))?;
        report(Event::Verifying(path.metadata().map_or(0, |metadata| metadata.len())));
        self.lock.seal(&[name], &mut |n| report(Event::Advanced(n)))?;
        download.discard()?;
        Ok(Files::Disk { path, format: found })
    }
}

/// Enough names to see how they look now.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return "none at all".to_owned();
    }
    let shown = names.iter().take(SHOWN).map(|name| printable(name)).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
