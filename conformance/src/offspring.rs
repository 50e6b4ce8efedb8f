//! A forked process that tells in JSON, through a pipe, what it has come to.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe2};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A child of this process, and where its words come from.
#[derive(Debug)]
pub struct Offspring {
    pub pid: Pid,
    /// Closed on exec: what the child leaves behind must keep nobody waiting.
    pub words: OwnedFd,
}

impl Offspring {
    /// Forks; the child does `work`, tells what that gives, and ends. To be called in processes of
    /// one thread.
    pub fn fork<T: Serialize>(work: impl FnOnce() -> T) -> Result<Self, String> {
        let failed =
            |what: &'static str| move |errno: nix::Error| format!("{what}: {}", errno.desc());
        let (words, childs_end) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
        // SAFETY: this process has one thread.
        match unsafe { fork() }.map_err(failed("fork"))? {
            ForkResult::Parent { child } => Ok(Self { pid: child, words }),
            ForkResult::Child => {
                drop(words);
                let told = serde_json::to_vec(&work())
                    .map_err(std::io::Error::from)
                    .and_then(|text| File::from(childs_end).write_all(&text));
                // SAFETY: ends the process without running what its parent registered.
                unsafe { libc::_exit(i32::from(told.is_err())) }
            }
        }
    }

    /// Waits for its words and its end.
    pub fn wait<T: DeserializeOwned>(self) -> Result<T, String> {
        let mut text = Vec::new();
        File::from(self.words)
            .read_to_end(&mut text)
            .map_err(|error| format!("what it tells: {error}"))?;
        self::understand(self.pid, &text)
    }
}

/// What a child said in `text`, once that has ended; reaps the child.
pub fn understand<T: DeserializeOwned>(pid: Pid, text: &[u8]) -> Result<T, String> {
    let status = waitpid(pid, None);
    serde_json::from_slice(text).map_err(|_| match status {
        Ok(nix::sys::wait::WaitStatus::Exited(_, code)) => {
            format!("it ended with exit status {code} and told nothing")
        }
        Ok(nix::sys::wait::WaitStatus::Signaled(_, signal, _)) => {
            format!("it was killed by {} and told nothing", signal.as_str())
        }
        _ => "it ended and told nothing".to_owned(),
    })
}
