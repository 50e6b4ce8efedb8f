//! Files: from a request's path to a response. No path leaves the base directory.
//!
//! | request | response |
//! |---|---|
//! | a regular file | 200, 206 for one range, 304 or 412 as its conditions say, 416 for a range beyond its end |
//! | several ranges, or a range that is not understood | 200 with all of it (RFC 9110, 14.2) |
//! | a directory | its index file; 301 to the path with a slash, if that is missing; 404 without an index |
//! | `..` in any spelling, a NUL, or a `%` that is no escape | 400 |
//! | an encoded slash, a hidden file, what is neither file nor directory | 404 |
//! | a link out, or what the user may not read | 403 |

use std::fs::{File, Metadata};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use nix::errno::Errno;

use crate::body::Body;
use crate::cache::Cache;
use crate::config::Config;
use crate::metrics::Figures;
use crate::options::Links;
use crate::platform;
use settings::StartError;

/// The directory that is served, and how.
pub(crate) struct Files {
    base: OwnedFd,
    index: String,
    links: bool,
    hidden: bool,
    pub(crate) cache: Cache,
}

/// A short response of the server's own.
pub(crate) fn plain(status: StatusCode) -> Response<Body> {
    let text = format!("{status}\n");
    let mut response = Response::new(Body::Bytes(text.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

impl Files {
    /// Opens the directory, with the rights of this process.
    pub(crate) fn open(config: &Config, directory: &Path) -> Result<Self, StartError> {
        let mut options = File::options();
        let base = options.read(true).custom_flags(libc::O_DIRECTORY).open(directory);
        let base = base.map_err(|error| {
            let why = settings::reason(&error);
            StartError::failure(format!("directory {}: {why}", directory.display()))
        })?;
        Ok(Self {
            base: base.into(),
            index: config.index.clone(),
            links: config.links == Links::Inside,
            hidden: config.hidden,
            cache: Cache::new(config.cache, config.cache_file),
        })
    }

    /// Answers a request for a file.
    pub(crate) fn answer<B>(
        &mut self,
        request: &Request<B>,
        figures: &mut Figures,
    ) -> Response<Body> {
        match self.respond(request, figures) {
            Ok(response) => response,
            Err(status) => plain(status),
        }
    }

    fn respond<B>(
        &mut self,
        request: &Request<B>,
        figures: &mut Figures,
    ) -> Result<Response<Body>, StatusCode> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(response);
        }
        let target = request.uri().path();
        let mut path = relative_path(target, self.hidden)?;
        let mut file = self.open_path(&path)?;
        let mut metadata = file.metadata().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        if metadata.is_dir() {
            if !target.ends_with('/') {
                return redirect_to_directory(target, request.uri().query());
            }
            path.push(&self.index);
            file = self.open_path(&path)?;
            metadata = file.metadata().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        } else if target.ends_with('/') {
            return Err(StatusCode::NOT_FOUND);
        }
        if !metadata.is_file() {
            return Err(StatusCode::NOT_FOUND);
        }
        self.send(request, figures, &path, file, &metadata)
    }

    fn open_path(&self, path: &Path) -> Result<File, StatusCode> {
        platform::open_beneath(self.base.as_fd(), path, self.links).map_err(|errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::ENXIO => {
                StatusCode::NOT_FOUND
            }
            // EXDEV and ELOOP: a link that leads out, or one where none is followed (FreeBSD says
            // EMLINK, too).
            Errno::EACCES | Errno::EPERM | Errno::EXDEV | Errno::ELOOP | Errno::EMLINK => {
                StatusCode::FORBIDDEN
            }
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        })
    }

    fn send<B>(
        &mut self,
        request: &Request<B>,
        figures: &mut Figures,
        path: &Path,
        mut file: File,
        metadata: &Metadata,
    ) -> Result<Response<Body>, StatusCode> {
        let size = metadata.len();
        let tag = entity_tag(metadata);
        let modified = metadata.modified().ok();
        let mut response = Response::new(Body::Empty);
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, value);
        }
        if let Some(value) = modified.and_then(http_date) {
            headers.insert(header::LAST_MODIFIED, value);
        }
        if let Some(status) = precondition(request.headers(), &tag, modified) {
            if status == StatusCode::PRECONDITION_FAILED {
                return Err(status);
            }
            *response.status_mut() = status;
            return Ok(response);
        }
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_TYPE, content_type(path));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

        let range = if request.method() == Method::GET {
            wanted_range(request.headers(), &tag, modified, size)
        } else {
            Range::All
        };
        let (first, length) = match range {
            Range::All => (0, size),
            Range::Part(first, length) => {
                let part = format!("bytes {first}-{}/{size}", first + length - 1);
                headers.insert(header::CONTENT_RANGE, value(&part));
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                (first, length)
            }
            Range::Beyond => {
                let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE);
                let all = value(&format!("bytes */{size}"));
                response.headers_mut().insert(header::CONTENT_RANGE, all);
                return Ok(response);
            }
        };
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        if request.method() == Method::HEAD {
            return Ok(response);
        }
        let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
        let whole = match self.cache.get(path, metadata) {
            Some(bytes) => {
                figures.counters.cache_hits += 1;
                Some(bytes)
            }
            None => {
                figures.counters.cache_misses += 1;
                self.cache.read(path, &mut file, metadata).map_err(failed)?
            }
        };
        *response.body_mut() = match whole {
            Some(bytes) => Body::Bytes(bytes.slice(first as usize..(first + length) as usize)),
            None => Body::File(Rc::new(file), first, length),
        };
        Ok(response)
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// The path below the base directory that a request's path means.
fn relative_path(target: &str, hidden: bool) -> Result<PathBuf, StatusCode> {
    let mut path = PathBuf::new();
    for (index, segment) in target.split('/').enumerate() {
        let is_public = hidden || (index == 1 && segment == ".well-known");
        if !is_well_escaped(segment) {
            return Err(StatusCode::BAD_REQUEST);
        }
        let name: Vec<u8> = percent_encoding::percent_decode_str(segment).collect();
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => return Err(StatusCode::BAD_REQUEST),
            name if name.contains(&0) => return Err(StatusCode::BAD_REQUEST),
            name if name.contains(&b'/') => return Err(StatusCode::NOT_FOUND),
            [b'.', ..] if !is_public => return Err(StatusCode::NOT_FOUND),
            _ => path.push(std::ffi::OsString::from_vec(name)),
        }
    }
    Ok(path)
}

/// Whether each `%` begins an escape of two hexadecimal digits.
fn is_well_escaped(segment: &str) -> bool {
    segment
        .split('%')
        .skip(1)
        .all(|after| after.len() >= 2 && after.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit))
}

fn redirect_to_directory(target: &str, query: Option<&str>) -> Result<Response<Body>, StatusCode> {
    // Two slashes at the beginning would be another host.
    let mut location = format!("/{}/", target.trim_matches('/'));
    if let Some(query) = query {
        location = format!("{location}?{query}");
    }
    let mut response = plain(StatusCode::MOVED_PERMANENTLY);
    let location = HeaderValue::from_str(&location).map_err(|_| StatusCode::BAD_REQUEST)?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

fn content_type(path: &Path) -> HeaderValue {
    let guess = mime_guess::from_path(path).first_or_octet_stream();
    let kind = guess.essence_str();
    let is_text = kind.starts_with("text/") || matches!(kind, "application/json" | "image/svg+xml");
    if is_text { value(&format!("{kind}; charset=utf-8")) } else { value(kind) }
}

/// From size and time of modification, so that it is the same on every host that has a copy. It is
/// weak while the file is so new that it could change without either being another (RFC 9110,
/// 8.8.1).
fn entity_tag(metadata: &Metadata) -> String {
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
    let weak = if age.is_some_and(|age| age.as_secs() >= 3) { "" } else { "W/" };
    format!("{weak}\"{seconds:x}.{nanoseconds:x}-{:x}\"", metadata.len())
}

fn http_date(time: SystemTime) -> Option<HeaderValue> {
    // The format ends at the year 9999, and this library begins at 1970.
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    (seconds < 253_402_300_800).then(|| value(&httpdate::fmt_http_date(time)))
}

fn weakly_equal(a: &str, b: &str) -> bool {
    a.trim_start_matches("W/") == b.trim_start_matches("W/")
}

fn strongly_equal(a: &str, b: &str) -> bool {
    a == b && !a.starts_with("W/")
}

/// Whether a list of entity tags, or `*`, holds `tag`.
fn lists(headers: &HeaderMap, name: header::HeaderName, equal: impl Fn(&str) -> bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|one| one == "*" || equal(one))
}

/// A date, to the second as it is sent. An invalid one is not there (RFC 9110, 13.1.3).
fn date(headers: &HeaderMap, name: header::HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

fn is_later(modified: Option<SystemTime>, than: SystemTime) -> bool {
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    };
    modified.is_none_or(|modified| seconds(modified) > seconds(than))
}

/// 304 or 412, if the conditions of a request say so, in the order of RFC 9110, 13.2.2.
fn precondition(
    headers: &HeaderMap,
    tag: &str,
    modified: Option<SystemTime>,
) -> Option<StatusCode> {
    if headers.contains_key(header::IF_MATCH) {
        if !lists(headers, header::IF_MATCH, |one| strongly_equal(one, tag)) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    } else if date(headers, header::IF_UNMODIFIED_SINCE).is_some_and(|d| is_later(modified, d)) {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    let same = if headers.contains_key(header::IF_NONE_MATCH) {
        lists(headers, header::IF_NONE_MATCH, |one| weakly_equal(one, tag))
    } else {
        date(headers, header::IF_MODIFIED_SINCE).is_some_and(|date| !is_later(modified, date))
    };
    same.then_some(StatusCode::NOT_MODIFIED)
}

/// What of a file is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    All,
    /// From a byte, so many.
    Part(u64, u64),
    /// Nothing of it is there.
    Beyond,
}

fn wanted_range(headers: &HeaderMap, tag: &str, modified: Option<SystemTime>, size: u64) -> Range {
    let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else {
        return Range::All;
    };
    if let Some(condition) = headers.get(header::IF_RANGE).and_then(|value| value.to_str().ok()) {
        let same = match httpdate::parse_http_date(condition) {
            Ok(date) => {
                modified.is_some_and(|modified| {
                    !is_later(Some(modified), date) && !is_later(Some(date), modified)
                }) && !tag.starts_with("W/")
            }
            Err(_) => strongly_equal(condition.trim(), tag),
        };
        if !same {
            return Range::All;
        }
    }
    parse_range(range, size).unwrap_or(Range::All)
}

/// One range (RFC 9110, 14.1.2); `None` if it is something else.
fn parse_range(text: &str, size: u64) -> Option<Range> {
    let (unit, spec) = text.split_once('=')?;
    let (first, last) = spec.trim().split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Some(if length == 0 { Range::Beyond } else { Range::Part(size - length, length) });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    if first >= size {
        return Some(Range::Beyond);
    }
    Some(Range::Part(first, last.min(size - 1) - first + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("bytes=0-0", Some(Range::Part(0, 1)))]
    #[case("bytes=5-", Some(Range::Part(5, 5)))]
    #[case("bytes=5-99999999999999999999999", Some(Range::Part(5, 5)))]
    #[case("bytes=-3", Some(Range::Part(7, 3)))]
    #[case("bytes=-30", Some(Range::Part(0, 10)))]
    #[case("Bytes= 2 - 3 ", Some(Range::Part(2, 2)))]
    #[case("bytes=10-", Some(Range::Beyond))]
    #[case("bytes=-0", Some(Range::Beyond))]
    #[case("bytes=99999999999999999999999-", Some(Range::Beyond))]
    #[case("bytes=3-2", None)]
    #[case("bytes=-", None)]
    #[case("bytes=+1-2", None)]
    #[case("bytes=0-1,3-4", None)]
    #[case("lines=0-1", None)]
    #[case("bytes", None)]
    fn ranges(#[case] text: &str, #[case] expected: Option<Range>) {
        assert_eq!(parse_range(text, 10), expected);
    }

    #[rstest]
    #[case("/", Ok(""))]
    #[case("/a/./b//c", Ok("a/b/c"))]
    #[case("/%61%20b", Ok("a b"))]
    #[case("/.well-known/x", Ok(".well-known/x"))]
    #[case("/a/..", Err(400))]
    #[case("/%2e%2E/x", Err(400))]
    #[case("/.%2e/x", Err(400))]
    #[case("/a%00", Err(400))]
    #[case("/a%", Err(400))]
    #[case("/a%zz", Err(400))]
    #[case("/a%2", Err(400))]
    #[case("/..%2f..%2fx", Err(404))]
    #[case("/a%2Fb", Err(404))]
    #[case("/.git/config", Err(404))]
    #[case("/a/.well-known", Err(404))]
    #[case("/..%5c..", Err(404))]
    #[case("/%252e%252e/x", Ok("%2e%2e/x"))]
    fn paths(#[case] target: &str, #[case] expected: Result<&str, u16>) {
        let found = relative_path(target, false).map_err(|status| status.as_u16());
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn a_redirection_stays_on_this_host() {
        let response = redirect_to_directory("//evil.example", Some("q")).unwrap();
        assert_eq!(response.headers()[header::LOCATION], "/evil.example/?q");
    }
}
