//! Pipes that a server is given, and what becomes of them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read, write};

use crate::stop::{OrError, Outcome, Step};

/// A pipe.
#[derive(Debug)]
pub struct Pipe {
    reader: Option<Arc<OwnedFd>>,
    writer: Option<Arc<OwnedFd>>,
}

impl Pipe {
    /// One with nothing in it.
    pub fn new() -> Step<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).or_error("pipe")?;
        Ok(Self { reader: Some(Arc::new(reader)), writer: Some(Arc::new(writer)) })
    }

    /// Puts so much into it that nothing more fits.
    pub fn fill(&self) -> Outcome {
        let writer = self.writer()?;
        // Flags belong to all who have this end open: what a server has set there is its own.
        let flags = fcntl(&writer, FcntlArg::F_GETFL).or_error("F_GETFL")?;
        let flags = OFlag::from_bits_retain(flags);
        let set = |flags| fcntl(&writer, FcntlArg::F_SETFL(flags)).map(drop).or_error("F_SETFL");
        set(flags | OFlag::O_NONBLOCK)?;
        // The last bytes one by one.
        for size in [4096, 1] {
            while write(&writer, &vec![b'.'; size]).is_ok() {}
        }
        set(flags)
    }

    /// Closes the end to read from, as a reader that ends.
    pub fn lose_reader(&mut self) {
        self.reader = None;
    }

    /// The end to write to, which this process keeps open too.
    pub fn writer(&self) -> Step<Arc<OwnedFd>> {
        self.writer.clone().ok_or("was given away").or_error("a pipe's end")
    }

    /// Gives the end to write to away: this process does not keep it open.
    pub fn give_writer(&mut self) -> Step<Arc<OwnedFd>> {
        self.writer.take().ok_or("was given away").or_error("a pipe's end")
    }

    /// The end to read from, which this process keeps open too.
    pub fn reader(&self) -> Step<Arc<OwnedFd>> {
        self.reader.clone().ok_or("there is none").or_error("a pipe's reader")
    }

    /// Puts `bytes` into it.
    pub fn put(&self, bytes: &[u8]) -> Outcome {
        write(&self.writer()?, bytes).map(drop).or_error("a pipe")
    }

    /// What is in it, without waiting, and whether nobody can write to it any more.
    pub fn content(&self) -> Step<(Vec<u8>, bool)> {
        let reader = self.reader()?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).or_error("O_NONBLOCK")?;
        let mut content = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match read(&reader, &mut buffer) {
                Ok(0) => return Ok((content, true)),
                Ok(count) => content.extend_from_slice(&buffer[..count]),
                Err(Errno::EAGAIN) => return Ok((content, false)),
                Err(Errno::EINTR) => {}
                other => other.map(drop).or_error("a pipe")?,
            }
        }
    }

    /// How many bytes are in it.
    pub fn length(&self) -> Step<usize> {
        let reader = self.reader()?;
        let mut count: libc::c_int = 0;
        // SAFETY: FIONREAD writes an int.
        Errno::result(unsafe { libc::ioctl(reader.as_raw_fd(), libc::FIONREAD, &raw mut count) })
            .or_error("FIONREAD")?;
        Ok(usize::try_from(count).unwrap_or_default())
    }
}
