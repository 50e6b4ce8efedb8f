//! Files on their way out. The system sends them (sendfile(2)): they don't pass through this process.
//!
//! hyper writes bytes that lie in memory and knows nothing else. So for a piece of a file it gets a
//! stand-in, a [`Piece`] whose bytes are those of [`BLANK`], which nobody ever reads or writes. The
//! connection's stream knows them by where they lie, and sends as much of the file there:
//!
//! ```text
//! Recorded::poll_frame ── push(file, offset, length) ──> Outgoing ──┐
//!        └── Piece::File ──> hyper ── slice of BLANK ──> WatchedStream ──> sendfile(2)
//! ```
//!
//! hyper keeps what it is given in order, and does not copy it as long as the stream says that it
//! writes vectored (`WriteStrategy::Queue`); if it did, the file would arrive as zeros, and
//! the test `large_files_take_turns` would fail.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

use bytes::{Buf, Bytes};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::platform;

/// What of a file is handed on at once: so much can be recorded as sent without having been.
pub(crate) const PIECE: usize = 256 * 1024;

/// Stands for bytes of a file.
static BLANK: [u8; PIECE] = [0; PIECE];

/// A part of a response's body, as hyper gets it.
#[derive(Debug)]
pub(crate) enum Piece {
    Bytes(Bytes),
    /// So many bytes of a file that [`Outgoing`] knows; at most [`PIECE`].
    File(usize),
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(left) => *left,
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::File(left) => &BLANK[..*left],
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) => bytes.advance(count),
            Self::File(left) => *left -= count,
        }
    }
}

/// The pieces of files that a connection has still to send, in their order.
#[derive(Default)]
pub(crate) struct Outgoing(RefCell<VecDeque<Part>>);

struct Part {
    file: Rc<File>,
    offset: u64,
    left: usize,
}

impl Outgoing {
    /// The next piece: so many bytes of `file` from `offset`, at most [`PIECE`].
    pub(crate) fn push(&self, file: Rc<File>, offset: u64, length: usize) -> Piece {
        self.0.borrow_mut().push_back(Part { file, offset, left: length });
        Piece::File(length)
    }

    /// Whether hyper wants a piece of a file written, and not these bytes.
    pub(crate) fn stands_for_a_file(slice: &[u8]) -> bool {
        BLANK.as_ptr_range().contains(&slice.as_ptr())
    }

    /// Sends of the first piece as much as `stream` takes now; how much that was. `WouldBlock` if it
    /// takes nothing.
    pub(crate) fn send(&self, stream: &TcpStream) -> io::Result<usize> {
        let mut parts = self.0.borrow_mut();
        let part = parts.front_mut().ok_or(io::ErrorKind::InvalidInput)?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            platform::send_file(stream.as_fd(), &part.file, part.offset, part.left)
        })?;
        if sent == 0 {
            // It has shrunk: the promised length cannot be kept, and the connection's end says so.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        part.offset += sent as u64;
        part.left -= sent;
        if part.left == 0 {
            parts.pop_front();
        }
        Ok(sent)
    }
}
