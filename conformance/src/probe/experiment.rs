//! What probes are made of: processes that try something and tell what it came to.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe2};

use super::model::{Measure, Value};
use crate::platform::{self, State};

/// Turns an error of the experiment's own preparation into words.
pub(super) trait Doing<T> {
    /// Names what was being done.
    fn doing(self, what: &str) -> Result<T, String>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing(self, what: &str) -> Result<T, String> {
        self.map_err(|errno| format!("{what}: {errno:?}"))
    }
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: &str) -> Result<T, String> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// A value that is one word when a call succeeds, and the error's name when it fails.
pub(super) fn word_or_errno<T>(word: &str, result: Result<T, Errno>) -> Value {
    match result {
        Ok(_) => word.into(),
        Err(errno) => format!("{errno:?}").into(),
    }
}

/// One of two words.
pub(super) fn either(holds: bool, yes: &str, no: &str) -> Measure {
    Ok(if holds { yes } else { no }.into())
}

/// The child's side of a [`Subject`].
pub(super) struct Line {
    stream: UnixStream,
    result: OwnedFd,
}

impl Line {
    /// Lets the other side go on.
    pub(super) fn say(&mut self) -> Result<(), String> {
        self.stream.write_all(b".").doing("line")
    }

    /// Waits until the other side has said something.
    pub(super) fn hear(&mut self) -> Result<(), String> {
        self.stream.read_exact(&mut [0]).doing("line")
    }

    /// Makes standard output, also of what is executed next, the place of the result.
    pub(super) fn result_on_stdout(&self) -> Result<(), String> {
        // SAFETY: both are open; descriptor 1 belongs to nobody's `OwnedFd`.
        Errno::result(unsafe { libc::dup2(self.result.as_raw_fd(), 1) }).doing("dup2")?;
        Ok(())
    }
}

/// A forked process that tries something. Dropping it ends it.
pub(super) struct Subject {
    pid: Pid,
    stream: UnixStream,
    result: Option<File>,
}

/// What a subject is doing once it isn't running.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It waits in a system call.
    Blocked,
    /// It has come to this.
    Told(String),
}

impl Subject {
    /// Forks; the child does `act` and tells its words.
    pub(super) fn start(
        act: impl FnOnce(&mut Line) -> Result<String, String>,
    ) -> Result<Self, String> {
        let (stream, childs_stream) = UnixStream::pair().doing("socketpair")?;
        let (result, childs_result) = pipe2(OFlag::O_CLOEXEC).doing("pipe")?;
        // SAFETY: the processes of probes have one thread.
        match unsafe { fork() }.doing("fork")? {
            ForkResult::Parent { child } => {
                Ok(Self { pid: child, stream, result: Some(File::from(result)) })
            }
            ForkResult::Child => {
                drop((stream, result));
                let mut line = Line { stream: childs_stream, result: childs_result };
                let outcome =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(&mut line)));
                let text = match outcome {
                    Ok(Ok(text)) => format!("+{text}"),
                    Ok(Err(error)) => format!("-{error}"),
                    Err(_) => "-the subject panicked".to_owned(),
                };
                let written = File::from(line.result).write_all(text.as_bytes());
                // SAFETY: ends the process without running what its parent registered.
                unsafe { libc::_exit(i32::from(written.is_err())) }
            }
        }
    }

    /// Its process id.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Lets it go on.
    pub(super) fn say(&mut self) -> Result<(), String> {
        self.stream.write_all(b".").doing("line")
    }

    /// Waits until it has said something.
    pub(super) fn hear(&mut self) -> Result<(), String> {
        self.stream.read_exact(&mut [0]).doing("line to the subject")
    }

    /// Waits until it blocks or has ended. What it does before, such as hearing, must not block.
    pub(super) fn settle(&mut self) -> Result<Settled, String> {
        loop {
            let table = platform::process_table()?;
            let state = table.iter().find(|process| process.pid == self.pid.as_raw());
            match state.map(|process| process.state) {
                Some(State::Sleeping) => return Ok(Settled::Blocked),
                Some(State::Zombie) | None => return Ok(Settled::Told(self.read_result()?)),
                _ => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }

    /// Waits until it blocks, which it must.
    pub(super) fn must_block(&mut self, call: &str) -> Result<(), String> {
        match self.settle()? {
            Settled::Blocked => Ok(()),
            Settled::Told(text) => Err(format!("{call} did not block: {text}")),
        }
    }

    /// Waits for its words.
    pub(super) fn outcome(mut self) -> Result<String, String> {
        self.read_result()
    }

    fn read_result(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let mut result = self.result.take().ok_or("the result was read before")?;
        result.read_to_string(&mut text).doing("result")?;
        match text.split_at_checked(1) {
            Some(("+", words)) => Ok(words.to_owned()),
            Some(("-", words)) => Err(words.to_owned()),
            _ => Err("the subject died without a result".into()),
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        while waitpid(self.pid, None) == Err(Errno::EINTR) {}
    }
}

/// A file in `dir` that is open for reading and writing.
pub(super) fn file(dir: &std::path::Path, name: &str) -> Result<File, String> {
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join(name))
        .doing(name)
}
