//! The metrics' address: a few connections, one small answer each, within the master's loop. Nobody
//! who reads slowly holds the master up.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use nix::sys::socket::{SockFlag, accept4};

use crate::sockets::Listener;

/// Connections at a time.
const MOST: usize = 16;
/// How long one may take in all.
const LIMIT: Duration = Duration::from_secs(5);
/// A request, at most.
const REQUEST: usize = 4096;

/// Who asks, and how far that is.
struct Scraper {
    stream: TcpStream,
    deadline: Instant,
    request: Vec<u8>,
    response: Vec<u8>,
}

/// The metrics' address and its connections.
pub(crate) struct Exposition {
    pub(crate) listener: Option<Listener>,
    scrapers: Vec<Scraper>,
}

impl Exposition {
    /// Serves on `listener`, if there is one.
    pub(crate) fn serving(listener: Option<Listener>) -> Self {
        if let Some(listener) = &listener {
            // A supervisor may have passed it as one that blocks.
            let _ = listener.set_nonblocking();
        }
        Self { listener, scrapers: Vec::new() }
    }

    /// Whether anybody is being answered.
    pub(crate) fn is_busy(&self) -> bool {
        !self.scrapers.is_empty()
    }

    /// What to wait for.
    pub(crate) fn interests(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let scrapers = self.scrapers.iter().map(|scraper| {
            let writing = !scraper.response.is_empty();
            (scraper.stream.as_fd(), if writing { PollFlags::POLLOUT } else { PollFlags::POLLIN })
        });
        let listener = self.listener.iter().filter(|_| self.scrapers.len() < MOST);
        scrapers.chain(listener.map(|one| (one.socket.as_fd(), PollFlags::POLLIN))).collect()
    }

    /// When the next connection has taken too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.scrapers.iter().map(|scraper| scraper.deadline).min()
    }

    /// Gets on with all connections; `page` makes the answer when one is wanted.
    pub(crate) fn proceed(&mut self, page: impl Fn() -> String) {
        let now = Instant::now();
        self.scrapers.retain_mut(|scraper| now < scraper.deadline && scraper.proceed(&page));
        while let Some(listener) = self.listener.as_ref().filter(|_| self.scrapers.len() < MOST) {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let Ok(accepted) = accept4(listener.socket.as_raw_fd(), flags) else { break };
            // SAFETY: accept4 has just returned this descriptor to us alone.
            let stream = unsafe { TcpStream::from_raw_fd(accepted) };
            let (request, response) = (Vec::new(), Vec::new());
            let mut scraper = Scraper { stream, deadline: now + LIMIT, request, response };
            if scraper.proceed(&page) {
                self.scrapers.push(scraper);
            }
        }
    }
}

impl Scraper {
    /// Whether there is more to do.
    fn proceed(&mut self, page: &impl Fn() -> String) -> bool {
        if self.response.is_empty() {
            let mut buffer = [0; REQUEST];
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.request.extend_from_slice(&buffer[..length]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
            let complete = self.request.windows(4).any(|four| four == b"\r\n\r\n");
            if !complete {
                return self.request.len() < REQUEST;
            }
            self.response = answer(&self.request, page);
        }
        while !self.response.is_empty() {
            match self.stream.write(&self.response) {
                Ok(written) => drop(self.response.drain(..written)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        false
    }
}

fn answer(request: &[u8], page: &impl Fn() -> String) -> Vec<u8> {
    let is_for = |target: &[u8]| {
        request
            .strip_prefix(b"GET ")
            .and_then(|rest| rest.strip_prefix(target))
            .is_some_and(|rest| rest.starts_with(b" ") || rest.starts_with(b"?"))
    };
    let (status, kind, body) = if is_for(b"/metrics") {
        ("200 OK", "text/plain; version=0.0.4; charset=utf-8", page())
    } else {
        ("404 Not Found", "text/plain; charset=utf-8", "metrics are at /metrics\n".to_owned())
    };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
