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

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::http::{StatusCode, header};
use ureq::tls::RootCerts;

use crate::cache::{Cache, Files, ImageLock, Record, Records};
use crate::catalogue::{DiskFormat, Download, Format, Image, Source, Verify};
use crate::error::{Error, Result};
use crate::http::{self, Failure, Network, Reply};
use crate::unpack;
use crate::verify::{self, Digest, Sums, Unresolved};

/// How to fetch.
#[derive(Debug, Clone)]
pub struct Options {
    /// Ask no server; what is not in the cache is an error.
    pub offline: bool,
    /// Ask the publisher although the image is in the cache, and replace it if its digest changed.
    pub update: bool,
    /// Refuse a digest that is not the one recorded in this file.
    pub locked: Option<PathBuf>,
    /// How often a broken connection is taken up again before it is an error.
    pub retries: u32,
    /// How long a name's resolution, and a connection, may take.
    pub connect_timeout: Duration,
    /// How long a server may send nothing.
    pub idle_timeout: Duration,
    /// A PEM file of the authorities that are believed, instead of Mozilla's, which are built in.
    pub ca_file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            offline: false,
            update: false,
            locked: None,
            retries: 3,
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            ca_file: None,
        }
    }
}

/// How a fetch goes, for whoever shows it.
#[derive(Debug)]
pub enum Event<'a> {
    /// Another process fetches the same image; this one waits for it.
    Waiting,
    /// A download begins, or goes on.
    Downloading {
        /// From where.
        url: &'a str,
        /// How much is here already, bytes.
        from: u64,
        /// How much there is, bytes, if the server says so.
        total: Option<u64>,
    },
    /// The connection broke; it is taken up again.
    Retrying {
        /// What happened.
        why: &'a str,
    },
    /// What is here is verified: so many bytes.
    Verifying(u64),
    /// What is here is unpacked: so many bytes.
    Unpacking(u64),
    /// So many more bytes of what was announced last.
    Advanced(u64),
}

/// What `download.toml` says about `download.part`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Partial {
    url: String,
    digest: String,
    /// The server's validator of this version, for `If-Range`: a strong ETag, or a date.
    #[serde(default)]
    validator: String,
    /// How many bytes the whole has, if it is known.
    #[serde(default)]
    total: Option<u64>,
}

/// What is to be downloaded.
struct Wanted {
    url: String,
    digest: Digest,
}

/// Brings the image into the cache, if it is not there, and says what a machine is started from.
pub fn fetch(
    image: &Image,
    cache: &Cache,
    options: &Options,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<Files> {
    let download = match &image.source {
        Source::Download(download) => download,
        Source::File(path) => {
            return cache.find(image).ok_or_else(|| Error::Io {
                action: "open",
                path: path.clone(),
                error: std::io::ErrorKind::NotFound.into(),
            });
        }
        Source::Built(_) => {
            return Err(Error::Usage(format!(
                "image `{0}` is not downloaded but built here: `forkproof vm build {0}`",
                image.id
            )));
        }
    };
    if options.offline {
        let files = cache.find(image).ok_or_else(|| Error::NotCached {
            id: image.id.clone(),
            cache: cache.dir(&image.id),
        })?;
        check_locked(image, cache, options)?;
        return Ok(files);
    }
    let lock = cache.lock(&image.id, || report(Event::Waiting))?;
    if let Some(files) = cache.find(image).filter(|_| !options.update) {
        check_locked(image, cache, options)?;
        return Ok(files);
    }
    let network = Network {
        connect: options.connect_timeout,
        idle: options.idle_timeout,
        roots: match &options.ca_file {
            None => RootCerts::WebPki,
            Some(file) => {
                let pem = fs::read(file).map_err(|error| Error::io("read", file, error))?;
                http::roots(&pem)
                    .map_err(|why| Error::Usage(format!("{}: {why}", file.display())))?
            }
        },
    };
    Fetch { image, download, cache, lock, options, network }.run(report)
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
    Err(Error::NotAsLocked {
        id: image.id.clone(),
        from: from.to_owned(),
        actual: actual.to_owned(),
        lock_file: lock_file.to_owned(),
        expected: expected.unwrap_or("nothing for it").to_owned(),
    })
}

struct Fetch<'a> {
    image: &'a Image,
    download: &'a Download,
    cache: &'a Cache,
    lock: ImageLock,
    options: &'a Options,
    network: Network,
}

impl Fetch<'_> {
    fn run(&self, report: &mut dyn FnMut(Event<'_>)) -> Result<Files> {
        let mut failures = Vec::new();
        for location in self.download.locations() {
            match self.from(&location, report) {
                Ok(files) => return Ok(files),
                // It may have been moved to the next: releases that are over go to archives.
                Err(error @ (Error::Unavailable { .. } | Error::NotPublished { .. })) => {
                    failures.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(self.summed_up(failures))
    }

    /// One error of several locations'. That names changed tells most; then all are told.
    fn summed_up(&self, mut failures: Vec<Error>) -> Error {
        if let Some(at) = failures.iter().position(|e| matches!(e, Error::NotPublished { .. })) {
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
        let part = self.lock.dir().join("download.part");
        let bytes = self.downloaded(&wanted, &part, report)?;
        let disk = self.disk(&wanted.url, &part, report)?;
        self.cache.record(
            &self.image.id,
            Record {
                url: wanted.url,
                digest: wanted.digest.to_string(),
                bytes,
                date: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            },
        )?;
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

    fn failed(&self, failure: Failure) -> Error {
        match failure {
            // The description's own URLs are checked when it is read: this is a redirect.
            Failure::Refused { url, why } => self.unavailable(url, format!("refused: {why}")),
            Failure::Network { url, why } => self.unavailable(url, why),
            Failure::Interrupted => Error::Interrupted,
        }
    }

    /// What the file is called now, and its digest.
    fn resolve(&self, location: &str) -> Result<Wanted> {
        let checksums = match &self.download.verify {
            Verify::Checksums(checksums) => checksums,
            Verify::Digest(digest) => {
                let digest = digest.parse().map_err(Error::Usage)?;
                let name = self.download.files().next().unwrap_or_default();
                return Ok(Wanted { url: format!("{location}{name}"), digest });
            }
        };
        let url = format!("{location}{}", checksums.file);
        let text = self.text(&url)?;
        let sums = Sums::parse(&text, checksums.format);
        let names = sums.names();
        if names.is_empty() {
            let start: String =
                text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
            return Err(self.unavailable(
                url,
                format!("it is no file of checksums: it begins with `{}`", start.trim()),
            ));
        }
        let patterns = self
            .download
            .files()
            .map(|file| verify::pattern(&file))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(Error::Usage)?;
        let pattern = self.download.files().collect::<Vec<_>>().join("` or `");
        match sums.resolve(&patterns) {
            Ok((name, digest)) => Ok(Wanted { url: format!("{location}{name}"), digest }),
            Err(Unresolved::Nothing) => {
                Err(Error::NotPublished { id: self.image.id.clone(), url, pattern, names })
            }
            Err(Unresolved::Several(names)) => {
                Err(Error::AmbiguousName { id: self.image.id.clone(), url, pattern, names })
            }
        }
    }

    /// A small file of text.
    fn text(&self, url: &str) -> Result<String> {
        const LIMIT: usize = 4 << 20;
        let failed = |failure| self.failed(failure);
        let mut retries = 0;
        'again: loop {
            let reply = http::get(url, &[], &self.network).map_err(failed)?;
            if reply.status != StatusCode::OK {
                return Err(self.status(&reply));
            }
            let mut bytes = Vec::new();
            loop {
                match reply.chunk() {
                    Ok(Some(chunk)) => bytes.extend(chunk),
                    Ok(None) => break,
                    Err(Failure::Network { .. }) if retries < self.options.retries => {
                        retries += 1;
                        continue 'again;
                    }
                    Err(failure) => return Err(failed(failure)),
                }
                if bytes.len() > LIMIT {
                    return Err(self.unavailable(
                        url,
                        format!("it is no file of checksums: it is larger than {LIMIT} bytes"),
                    ));
                }
            }
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
    }

    fn status(&self, reply: &Reply) -> Error {
        self.unavailable(reply.url.clone(), format!("HTTP status {}", reply.status))
    }

    /// Makes `part` whole and verified; its size.
    fn downloaded(
        &self,
        wanted: &Wanted,
        part: &Path,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<u64> {
        loop {
            let resumed = self.transfer(wanted, part, report)?;
            let bytes = size(part)?;
            report(Event::Verifying(bytes));
            let actual = Digest::of_file(wanted.digest.algorithm(), part, &mut |n| {
                report(Event::Advanced(n));
            })?;
            if actual == wanted.digest {
                return Ok(bytes);
            }
            self.discard(part)?;
            if !resumed {
                return Err(Error::ChecksumMismatch {
                    id: self.image.id.clone(),
                    url: wanted.url.clone(),
                    expected: wanted.digest.to_string(),
                    actual: actual.to_string(),
                });
            }
            // The piece that was here may have been the wrong one: once more, from the start.
            report(Event::Retrying { why: "the resumed download has the wrong checksum" });
        }
    }

    /// Downloads to the end; whether a part of it was here before.
    fn transfer(
        &self,
        wanted: &Wanted,
        part: &Path,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool> {
        let mut here = self.usable(wanted, part)?;
        let resumed = here.as_ref().is_some_and(|(_, length)| *length > 0);
        if let Some((Partial { total: Some(total), .. }, length)) = &here {
            // Only verifying or unpacking is missing.
            if total == length {
                return Ok(true);
            }
        }
        let mut failures = 0;
        loop {
            let before = here.as_ref().map_or(0, |(_, length)| *length);
            let why = match self.attempt(wanted, part, here, report)? {
                Attempt::Whole => return Ok(resumed),
                Attempt::Broken(why) => why,
            };
            here = self.usable(wanted, part)?;
            let length = here.as_ref().map_or(0, |(_, length)| *length);
            failures = if length > before { 1 } else { failures + 1 };
            if failures > self.options.retries {
                let kept = if length > 0 {
                    format!(", and {length} bytes are kept for the next try")
                } else {
                    String::new()
                };
                return Err(self.unavailable(wanted.url.clone(), format!("{why}{kept}")));
            }
            report(Event::Retrying { why: &why });
        }
    }

    /// What is here of the same file, and how long it is. Anything else is removed.
    fn usable(&self, wanted: &Wanted, part: &Path) -> Result<Option<(Partial, u64)>> {
        let partial: Option<Partial> =
            fs::read_to_string(state_file(part)).ok().and_then(|text| toml::from_str(&text).ok());
        let length = part.metadata().map_or(0, |metadata| metadata.len());
        match partial {
            Some(partial)
                if partial.digest == wanted.digest.to_string()
                    && partial.total.is_none_or(|total| length <= total) =>
            {
                Ok(Some((partial, length)))
            }
            _ => {
                self.discard(part)?;
                Ok(None)
            }
        }
    }

    /// One request, and what comes of it.
    fn attempt(
        &self,
        wanted: &Wanted,
        part: &Path,
        here: Option<(Partial, u64)>,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<Attempt> {
        let mut headers = Vec::new();
        if let Some((partial, length)) = here.as_ref().filter(|(_, length)| *length > 0) {
            headers.push((header::RANGE, format!("bytes={length}-")));
            // A validator is of one server's version of the file (RFC 9110, 13.1.5). Without one
            // the checksum alone tells whether the pieces fit.
            if !partial.validator.is_empty() && partial.url == wanted.url {
                headers.push((header::IF_RANGE, partial.validator.clone()));
            }
        }
        let reply = match http::get(&wanted.url, &headers, &self.network) {
            Ok(reply) => reply,
            Err(Failure::Network { why, .. }) => return Ok(Attempt::Broken(why)),
            Err(failure) => return Err(self.failed(failure)),
        };
        let length = here.map_or(0, |(_, length)| length);
        let (from, total) = match reply.status {
            StatusCode::OK => (0, content_length(&reply)),
            StatusCode::PARTIAL_CONTENT if length > 0 => match content_range(&reply) {
                Some((from, total)) if from == length => (from, total),
                _ => {
                    // It answers another question than was asked: without ranges, then.
                    self.discard(part)?;
                    return Ok(Attempt::Broken(format!(
                        "the server's Content-Range does not fit `bytes={length}-`"
                    )));
                }
            },
            StatusCode::RANGE_NOT_SATISFIABLE if length > 0 => {
                self.discard(part)?;
                return Ok(Attempt::Broken("what is here is longer than what is offered".into()));
            }
            _ => return Err(self.status(&reply)),
        };
        let partial = Partial {
            url: wanted.url.clone(),
            digest: wanted.digest.to_string(),
            validator: validator(&reply),
            total,
        };
        self.body(&reply, part, &partial, from, report).map_err(|error| match error {
            Error::DiskFull { path, .. } => {
                // The error to tell is the one that is here already.
                let _ = self.discard(part);
                Error::DiskFull { path, kept: "what was downloaded was removed".into() }
            }
            error => error,
        })
    }

    fn body(
        &self,
        reply: &Reply,
        part: &Path,
        partial: &Partial,
        from: u64,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<Attempt> {
        let cannot = |error| Error::io("write", part, error);
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(part)
            .map_err(|error| Error::io("open", part, error))?;
        // First the bytes of another version go, then the state says which version this is: killed
        // in between, there is nothing that could be mistaken for it.
        file.set_len(from).map_err(cannot)?;
        write_state(part, partial)?;
        report(Event::Downloading { url: &reply.url, from, total: partial.total });
        let mut length = from;
        let broken = loop {
            match reply.chunk() {
                Ok(Some(chunk)) => {
                    file.write_all(&chunk).map_err(cannot)?;
                    length += chunk.len() as u64;
                    report(Event::Advanced(chunk.len() as u64));
                }
                Ok(None) => break None,
                Err(Failure::Network { why, .. }) => break Some(why),
                Err(failure) => return Err(self.failed(failure)),
            }
        };
        file.sync_all().map_err(cannot)?;
        Ok(match (broken, partial.total) {
            (Some(why), Some(total)) => {
                Attempt::Broken(format!("{why}, after {length} of {total} bytes"))
            }
            (Some(why), None) => Attempt::Broken(format!("{why}, after {length} bytes")),
            (None, Some(total)) if total != length => {
                Attempt::Broken(format!("the server sent {length} bytes instead of {total}"))
            }
            (None, _) => {
                write_state(part, &Partial { total: Some(length), ..partial.clone() })?;
                Attempt::Whole
            }
        })
    }

    /// From the verified download to the disk, under its final name.
    fn disk(&self, url: &str, part: &Path, report: &mut dyn FnMut(Event<'_>)) -> Result<Files> {
        let format = self.download.format;
        let (whole, found) = if matches!(format, Format::Qcow2 | Format::Raw) {
            let found = unpack::check(&self.image.id, part, format);
            (part.to_owned(), found)
        } else {
            report(Event::Unpacking(size(part)?));
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
                self.discard(part)?;
                return Err(Error::Damaged { id, file: url.into(), why });
            }
            Err(error) => return Err(error),
        };
        // After `--update` a disk of the other format may be here.
        let (name, other) = match found {
            DiskFormat::Qcow2 => ("disk.qcow2", "disk.raw"),
            DiskFormat::Raw => ("disk.raw", "disk.qcow2"),
        };
        let path = self.lock.publish(&whole, name)?;
        remove(&self.lock.dir().join(other))?;
        self.discard(part)?;
        Ok(Files::Disk { path, format: found })
    }

    fn discard(&self, part: &Path) -> Result<()> {
        remove(part)?;
        remove(&state_file(part))
    }
}

/// How a request ended, if it did not end everything.
enum Attempt {
    Whole,
    Broken(String),
}

fn state_file(part: &Path) -> PathBuf {
    part.with_extension("toml")
}

fn write_state(part: &Path, partial: &Partial) -> Result<()> {
    let path = state_file(part);
    let failed = |error| Error::io("write", &path, error);
    let text = toml::to_string(partial).map_err(|error| failed(std::io::Error::other(error)))?;
    File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

fn size(path: &Path) -> Result<u64> {
    path.metadata().map(|metadata| metadata.len()).map_err(|error| Error::io("read", path, error))
}

fn content_length(reply: &Reply) -> Option<u64> {
    reply.header(header::CONTENT_LENGTH)?.parse().ok()
}

/// `bytes FROM-TO/TOTAL`, of which TOTAL may be `*`.
fn content_range(reply: &Reply) -> Option<(u64, Option<u64>)> {
    let range = reply.header(header::CONTENT_RANGE)?.strip_prefix("bytes ")?;
    let (range, total) = range.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    Some((from.parse().ok()?, total.parse().ok()))
}

/// What `If-Range` may hold: weak ETags must not be sent there (RFC 9110, 13.1.5).
fn validator(reply: &Reply) -> String {
    let etag = reply.header(header::ETAG).filter(|etag| etag.starts_with('"'));
    etag.or_else(|| reply.header(header::LAST_MODIFIED)).unwrap_or_default().to_owned()
}
