//! What comes from a machine: the guest's serial port, and QEMU's own messages.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::serial::SerialTyping;
use crate::error::{Error, Result, excerpt};
use crate::guest;

/// What is kept of a console, bytes; a guest may write without end.
const CONSOLE_LIMIT: u64 = 16 * 1024 * 1024;
/// What is kept of its end, to be shown.
const TAIL: usize = 8 * 1024;
/// What is kept of a line, bytes.
const LINE_LIMIT: usize = 4 * 1024;
/// What is kept of QEMU's own messages.
const STDERR_LIMIT: usize = 16 * 1024;

/// What is read at a time, bytes, and how much of that may wait; then the machine waits.
const BUFFER: usize = 64 * 1024;
const WAITING: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Console,
    Messages,
}

pub(super) struct Chunk {
    stream: Stream,
    pub(super) bytes: Vec<u8>,
}

/// Everything that a machine writes, as it comes; the channel ends with its pipes.
pub(super) fn streams(child: &mut Child) -> Receiver<Chunk> {
    let (tell, told) = sync_channel(WAITING);
    if let Some(output) = child.stdout.take() {
        let tell = tell.clone();
        std::thread::spawn(move || pump(Stream::Console, output, &tell));
    }
    if let Some(errors) = child.stderr.take() {
        std::thread::spawn(move || pump(Stream::Messages, errors, &tell));
    }
    told
}

/// Reads until the end.
fn pump(stream: Stream, mut readable: impl Read, tell: &SyncSender<Chunk>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        match readable.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if tell.send(Chunk { stream, bytes: buffer[..count].to_vec() }).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// What comes from a guest's serial port. It may be anything, and any amount of it.
pub(super) struct Console<'a> {
    log: File,
    path: &'a Path,
    logged: u64,
    left_out: u64,
    tail: VecDeque<u8>,
    line: Vec<u8>,
    pub(super) newest: Option<String>,
    sign_of_life: String,
    sign_of_result: String,
    pub(super) started: bool,
    pub(super) written: bool,
    /// The line with which the kernel says so.
    pub(super) panicked: Option<String>,
    typist: Option<(SerialTyping, ChildStdin)>,
    pub(super) messages: Vec<u8>,
}

impl<'a> Console<'a> {
    pub(super) fn new(
        log: File,
        path: &'a Path,
        stamp: &str,
        typist: Option<(SerialTyping, ChildStdin)>,
    ) -> Self {
        Self {
            log,
            path,
            logged: 0,
            left_out: 0,
            tail: VecDeque::new(),
            line: Vec::new(),
            newest: None,
            sign_of_life: format!("{} {stamp}", guest::STARTED),
            sign_of_result: format!("{} {stamp}", guest::WRITTEN),
            started: false,
            written: false,
            panicked: None,
            typist,
            messages: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, chunk: Chunk) -> Result<()> {
        match chunk.stream {
            Stream::Messages => {
                let room = STDERR_LIMIT.saturating_sub(self.messages.len());
                self.messages.extend(chunk.bytes.iter().take(room));
                Ok(())
            }
            Stream::Console => self.output(&chunk.bytes),
        }
    }

    fn output(&mut self, bytes: &[u8]) -> Result<()> {
        let room = usize::try_from(CONSOLE_LIMIT - self.logged).unwrap_or(usize::MAX);
        let kept = &bytes[..bytes.len().min(room)];
        self.log.write_all(kept).map_err(|error| Error::io("write", self.path, error))?;
        self.logged += kept.len() as u64;
        self.left_out += (bytes.len() - kept.len()) as u64;
        self.tail.extend(&bytes[bytes.len().saturating_sub(TAIL)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        let mut lines = bytes.split(|&byte| byte == b'\n');
        let mut next = lines.next();
        while let Some(part) = next {
            let room = LINE_LIMIT.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            next = lines.next();
            if next.is_some() {
                self.whole_line();
            }
        }
        if let Some((typist, to)) = &mut self.typist {
            typist.read(bytes, to);
        }
        Ok(())
    }

    fn whole_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line).trim().to_owned();
        self.line.clear();
        self.started |= line.ends_with(&self.sign_of_life);
        self.written |= line.ends_with(&self.sign_of_result);
        // Linux's and FreeBSD's words.
        if line.contains("Kernel panic - not syncing") || line.starts_with("panic: ") {
            self.panicked.get_or_insert_with(|| line.clone());
        }
        if !line.is_empty() {
            self.newest = Some(line);
        }
    }

    /// The end of the log says what was left out before it.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.left_out == 0 {
            return Ok(());
        }
        let note = format!(
            "\n[forkproof: {} more bytes are left out; the console's end follows]\n",
            self.left_out
        );
        self.log
            .write_all(note.as_bytes())
            .and_then(|()| self.log.write_all(self.tail.make_contiguous()))
            .map_err(|error| Error::io("write", self.path, error))
    }

    /// The last lines, each as it can be shown.
    pub(super) fn end(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<String> =
            text.lines().map(excerpt).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(6)..].join("\n")
    }
}
