//! The upgrade in place: this process executes the program that is installed now, with its sockets
//! and its workers kept.
//!
//! The process stays the same, so supervisors, the pid file and the workers' parent do, too. The
//! new program finds what is kept in its environment, starts workers of its own, and lets the old
//! ones finish when those are ready. Before, the installed program is asked whether it takes the
//! configuration (`--check`): one that is broken is never executed.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::metrics::MasterFigures;
use crate::signals;
use crate::sockets::pass;

/// The variable that holds a [`State`].
const STATE: &str = "WEBD_STATE";

/// What is the master's alone.
pub(crate) const OWN_VARIABLES: [&str; 7] = [
    STATE,
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// What a master leaves to its successor.
#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) pid: u32,
    /// The configuration, as this version of the program writes it.
    pub(crate) config: serde_json::Value,
    pub(crate) generation: u64,
    pub(crate) listeners: Vec<RawFd>,
    pub(crate) activated: bool,
    pub(crate) metrics: Option<RawFd>,
    pub(crate) workers: Vec<WorkerState>,
    #[serde(default)]
    pub(crate) figures: MasterFigures,
}

/// A worker that goes on.
#[derive(Serialize, Deserialize)]
pub(crate) struct WorkerState {
    pub(crate) pid: libc::pid_t,
    pub(crate) generation: u64,
    pub(crate) slot: usize,
    pub(crate) ready: bool,
    pub(crate) channel: RawFd,
}

impl State {
    /// What a master before this one left, if this is an upgrade.
    pub(crate) fn left() -> Option<Self> {
        let state: Self = serde_json::from_str(&std::env::var(STATE).ok()?).ok()?;
        (state.pid == std::process::id()).then_some(state)
    }

    fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let workers = self.workers.iter().map(|worker| worker.channel);
        self.listeners.iter().copied().chain(self.metrics).chain(workers)
    }
}

/// How this program was started.
pub(crate) struct Program {
    /// Where it is installed.
    pub(crate) path: PathBuf,
    /// The arguments before its own: of `forkproof webd .` it is `webd`.
    pub(crate) leading: Vec<OsString>,
    arguments: Vec<OsString>,
}

impl Program {
    /// `own` is how many arguments are this program's, its name among them.
    pub(crate) fn started_as(own: usize) -> io::Result<Self> {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        let leading = arguments.len().saturating_sub(own);
        let leading = arguments.iter().skip(1).take(leading).cloned().collect();
        let path = match arguments.first().and_then(|name| find(Path::new(name))) {
            Some(path) => path,
            None => std::env::current_exe()?,
        };
        Ok(Self { path, leading, arguments })
    }

    /// Asks the installed program whether it would take over. It tells by its exit status.
    pub(crate) fn check(&self) -> io::Result<u32> {
        let mut command = Command::new(&self.path);
        command.args(self.arguments.iter().skip(1)).arg("--check");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        for name in OWN_VARIABLES {
            command.env_remove(name);
        }
        Ok(command.spawn()?.id())
    }

    /// Becomes the installed program. Returns only if that fails.
    pub(crate) fn execute(&self, state: &State) -> io::Error {
        let text = |text: &[u8]| CString::new(text).map_err(io::Error::from);
        let prepared = (|| {
            let path = text(self.path.as_os_str().as_bytes())?;
            let arguments: Result<Vec<CString>, _> =
                self.arguments.iter().map(|argument| text(argument.as_bytes())).collect();
            let mut environment = Vec::new();
            for (name, value) in std::env::vars_os().filter(|(name, _)| name != STATE) {
                environment.push(text(&[name.as_bytes(), b"=", value.as_bytes()].concat())?);
            }
            let state = serde_json::to_string(state)?;
            environment.push(text(format!("{STATE}={state}").as_bytes())?);
            Ok::<_, io::Error>((path, arguments?, environment))
        })();
        let (path, arguments, environment) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return error,
        };
        // A signal between the two programs stays pending.
        signals::block_all();
        for descriptor in state.descriptors() {
            if let Err(errno) = pass(descriptor) {
                let _ = signals::unblock_all();
                return errno.into();
            }
        }
        let Err(errno) = nix::unistd::execve(&path, &arguments, &environment);
        for descriptor in state.descriptors() {
            // SAFETY: a descriptor's number and an integer.
            unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        let _ = signals::unblock_all();
        errno.into()
    }
}

/// The file that a shell would execute for `name`, absolute. A link in it is kept: what it leads to
/// later is what is installed then.
fn find(name: &Path) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    if name.as_os_str().as_bytes().contains(&b'/') {
        return Some(here.join(name)).filter(|path| path.is_file());
    }
    let directories = std::env::var_os("PATH")?;
    std::env::split_paths(&directories)
        .map(|directory| here.join(directory).join(name))
        .find(|path| path.is_file())
}
