//! The access log: a line for each request, in whole lines, from every worker to one file.
//!
//! The master opens the file and hands it to the workers: they need no right to it, and a rotation
//! is one signal to the master. Lines are kept for a moment and written together. A file that
//! cannot be written, on a full disk say, costs lines, never a request; how many is counted.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::diagnostics;
use crate::options::LogFormat;

/// How long a line may wait for others.
const DELAY: Duration = Duration::from_millis(100);
/// What is written at once, at the latest.
const FULL: usize = 32 * 1024;

/// Opens the log at `path` for all workers; `-` is standard output. A link is refused: the master
/// may be root, and whoever can lay a link there may not.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    if path == Path::new("-") {
        return io::stdout().as_fd().try_clone_to_owned();
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
    Ok(options.open(path)?.into())
}

/// One request, as it is logged.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) peer: SocketAddr,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: &'static str,
    pub(crate) referer: Option<String>,
    pub(crate) agent: Option<String>,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    time: f64,
    address: std::net::IpAddr,
    method: &'a str,
    target: &'a str,
    version: &'a str,
    status: u16,
    bytes: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
}

/// A worker's end of the log.
pub(crate) struct AccessLog {
    file: File,
    format: LogFormat,
    kept: Vec<u8>,
    lines: u64,
    /// Whether a write is on its way.
    scheduled: bool,
    /// The last write failed: said once, not for each.
    broken: bool,
    /// A write ended inside a line.
    torn: bool,
    lost: u64,
}

impl AccessLog {
    /// Logs to `file`.
    pub(crate) fn new(file: OwnedFd, format: LogFormat) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            file: file.into(),
            format,
            kept: Vec::new(),
            lines: 0,
            scheduled: false,
            broken: false,
            torn: false,
            lost: 0,
        }))
    }

    /// Adds a line, to be written soon.
    pub(crate) fn append(
        log: &Rc<RefCell<Self>>,
        line: &Line,
        status: u16,
        bytes: u64,
        took: Duration,
    ) {
        let mut this = log.borrow_mut();
        match this.format {
            LogFormat::Combined => combined(&mut this.kept, line, status, bytes),
            LogFormat::Json => json(&mut this.kept, line, status, bytes, took),
        }
        this.lines += 1;
        if this.kept.len() >= FULL {
            this.write();
        } else if !this.scheduled {
            this.scheduled = true;
            let log = Rc::clone(log);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(DELAY).await;
                let mut this = log.borrow_mut();
                this.scheduled = false;
                this.write();
            });
        }
    }

    /// Logs to another file from now on.
    pub(crate) fn reopen(&mut self, file: OwnedFd) {
        self.write();
        self.file = file.into();
        self.broken = false;
        self.torn = false;
    }

    /// How many lines could not be written since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Writes what is kept.
    pub(crate) fn write(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        if self.torn {
            self.kept.insert(0, b'\n');
        }
        let length = self.kept.len();
        let result = match self.file.write(&self.kept) {
            Ok(written) if written == length => Ok(()),
            Ok(written) => {
                self.torn = self.kept[written - 1] != b'\n';
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => (self.broken, self.torn) = (false, false),
            Err(error) => {
                self.lost += self.lines;
                if !self.broken {
                    let why = settings::reason(&error);
                    diagnostics::say(&format!("access log: {why}: lines are lost until it works"));
                }
                self.broken = true;
            }
        }
        self.kept.clear();
        self.lines = 0;
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.write();
    }
}

fn combined(kept: &mut Vec<u8>, line: &Line, status: u16, bytes: u64) {
    // `Wed, 25 Nov 2026 22:24:14 GMT`
    let date = httpdate::fmt_http_date(SystemTime::now());
    let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
    let ip = line.peer.ip();
    let _ = write!(kept, "{ip} - - [{day}/{month}/{year}:{time} +0000] \"");
    escape(kept, &line.method);
    kept.push(b' ');
    escape(kept, &line.target);
    let _ = write!(kept, " {}\" {status} {bytes} \"", line.version);
    escape(kept, line.referer.as_deref().unwrap_or("-"));
    kept.extend_from_slice(b"\" \"");
    escape(kept, line.agent.as_deref().unwrap_or("-"));
    kept.extend_from_slice(b"\"\n");
}

/// As Apache does it: nothing ends the quotation or the line.
fn escape(kept: &mut Vec<u8>, text: &str) {
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => kept.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => kept.push(byte),
            _ => {
                let _ = write!(kept, "\\x{byte:02x}");
            }
        }
    }
}

fn json(kept: &mut Vec<u8>, line: &Line, status: u16, bytes: u64, took: Duration) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let object = JsonLine {
        time: (now.as_secs_f64() * 1000.0).round() / 1000.0,
        address: line.peer.ip(),
        method: &line.method,
        target: &line.target,
        version: line.version,
        status,
        bytes,
        seconds: took.as_secs_f64(),
        referer: line.referer.as_deref(),
        agent: line.agent.as_deref(),
    };
    let _ = serde_json::to_writer(&mut *kept, &object);
    kept.push(b'\n');
}
