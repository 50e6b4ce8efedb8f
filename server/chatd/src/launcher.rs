//! From a configuration to a server that listens: in the foreground, or in the background with the
//! launcher waiting until it is known how that went.
//!
//! The order is fixed. Everything that can be wrong is tried before the launcher returns: key,
//! sockets, pid file, user, log. Only then is readiness told: to the launcher over a pipe, to a
//! supervisor over a file, a descriptor or `NOTIFY_SOCKET`.

mod announcement;

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe, setsid};
use settings::{StartError, reason};

use crate::config::Config;
use crate::daemon::Daemon;
use crate::diagnostics::Sink;
use crate::generations::Generations;
use crate::key::Key;
use crate::log::{ChatLog, no_locks};
use crate::{diagnostics, listen, platform, privileges, signals};

/// Serves as `config` says. Returns when the server has ended, or, in the background, when the
/// daemon is ready.
pub(crate) fn launch(config: Config) -> Result<(), StartError> {
    privileges::refuse_root(config.user.as_deref(), config.allow_root)?;
    let user = config.user.as_deref().map(privileges::find_user).transpose()?;
    let (key, warning) =
        Key::read(&config.key_file, user.map(|user| user.uid)).map_err(StartError::usage)?;
    if let Some(warning) = warning {
        diagnostics::last_words(&format!("warning: {warning}"));
    }
    let ready_fd = config.ready_fd.map(take_descriptor).transpose()?;
    if config.daemon {
        launch_daemon(key, config, ready_fd)
    } else {
        diagnostics::open(config.log_to);
        serve(key, config, |addresses| announce_fd(ready_fd, addresses))
    }
}

/// Opens everything, tells that the server is ready, and serves until it is ended.
fn serve(
    key: Key,
    config: Config,
    tell: impl FnOnce(&str) -> Result<(), StartError>,
) -> Result<(), StartError> {
    // Never for all users: the log holds what people say.
    umask(umask(Mode::empty()) | Mode::S_IRWXO);
    let listeners = listen::open(&config.listen, config.port, config.backlog)?;
    let pid_file = config.pid_file.clone();
    if let Some(path) = &pid_file {
        announcement::write(path, "pid file", &format!("{}\n", std::process::id()))?;
    }
    let served = (|| {
        privileges::drop_to(config.user.as_deref(), &config.log)?;
        let cannot = |path: &Path, error: io::Error| {
            StartError::failure(format!("chat log {}: {}", path.display(), reason(&error)))
        };
        // Only to see that they can be opened and locked: every process opens them for itself.
        let log = ChatLog::open(&config.log)
            .and_then(|log| log.try_lock().map(|()| log))
            .map_err(|error| cannot(&config.log, error))?;
        if let Some(mode) = log.open_to_all() {
            diagnostics::warning(&format!(
                "chat log {}: mode {mode:04o} lets every user of this machine lock it, and so halt \
                 the chat; `chmod o=` it",
                config.log.display()
            ));
        }
        let path = Generations::path(&config.log);
        Generations::open(&config.log)
            .and_then(|register| register.try_lock().map_err(no_locks))
            .map_err(|error| cannot(&path, error))?;
        drop(log);

        let addresses: Vec<SocketAddr> = listeners.iter().map(|l| l.address).collect();
        let mut lines = String::new();
        for address in &addresses {
            diagnostics::info(&format!("listening on {address}"));
            lines.push_str(&format!("{address}\n"));
        }
        if addresses.iter().any(|address| !address.ip().is_loopback()) {
            diagnostics::warning(
                "nothing is encrypted: beyond this machine, anybody on the way can read the key and \
                 the chat; listen on loopback and put TLS or a VPN in front (see --help)",
            );
        }
        let ready_file = config.ready_file.clone();
        let daemon = Daemon::new(listeners, key, config).map_err(|errno| {
            StartError::failure(format!("signal dispositions: {}", errno.desc()))
        })?;
        if let Some(path) = &ready_file {
            announcement::write(path, "ready file", &lines)?;
        }
        tell(&lines)?;
        if let Err(error) = platform::notify_ready() {
            diagnostics::warning(&format!("NOTIFY_SOCKET: {}", reason(&error)));
        }
        daemon.run();
        if let Some(path) = &ready_file {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    })();
    if let Some(path) = &pid_file {
        announcement::remove_own_pid(path);
    }
    served
}

/// What the daemon writes to its launcher before the message: the daemon listens.
const READY: u8 = b'+';

fn launch_daemon(key: Key, config: Config, ready_fd: Option<File>) -> Result<(), StartError> {
    let (outcome, report) = pipe().map_err(|errno| failed("pipe", errno))?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.map_err(|errno| failed("fork", errno))? {
        ForkResult::Parent { child } => {
            drop(report);
            drop(ready_fd);
            signals::await_end(child);
            await_daemon(outcome)
        }
        ForkResult::Child => {
            drop(outcome);
            // Taken and closed when the launcher has been told, so that nobody holds it on.
            let report = Cell::new(Some(File::from(report)));
            let to_syslog = config.log_to == Sink::Syslog;
            let result = detach(&config).and_then(|()| {
                serve(key, config, |addresses| {
                    announce_fd(ready_fd, addresses)?;
                    let Some(mut report) = report.take() else { return Ok(()) };
                    report.write_all(&[READY]).map_err(|error| {
                        StartError::failure(format!("launcher: {}", reason(&error)))
                    })
                })
            });
            let status = match result {
                Ok(()) => 0,
                Err(error) => {
                    if to_syslog {
                        diagnostics::error(&error.message);
                    }
                    if let Some(mut report) = report.take() {
                        let _ = report.write_all(&[error.status]);
                        let _ = report.write_all(error.message.as_bytes());
                    }
                    i32::from(error.status)
                }
            };
            // SAFETY: ends the process without running what its parent registered.
            unsafe { libc::_exit(status) }
        }
    }
}

/// Reads the daemon's word: [`READY`], or an exit status and a message.
fn await_daemon(outcome: OwnedFd) -> Result<(), StartError> {
    let mut outcome = File::from(outcome);
    let mut first = [0u8; 1];
    match outcome.read(&mut first) {
        Ok(1) if first[0] == READY => Ok(()),
        Ok(1) => {
            let mut message = String::new();
            let _ = outcome.read_to_string(&mut message);
            Err(StartError { message, status: first[0] })
        }
        _ => Err(StartError::failure("the daemon died before it was ready")),
    }
}

fn failed(what: &str, error: impl Into<io::Error>) -> StartError {
    StartError::failure(format!("cannot go into the background: {what}: {}", reason(&error.into())))
}

/// Leaves the session, the terminal and the directory of the launcher. Returns in the daemon.
fn detach(config: &Config) -> Result<(), StartError> {
    setsid().map_err(|errno| failed("setsid", errno))?;
    // Once more, so that the daemon is no session leader and never acquires a terminal by opening
    // one (POSIX.1-2024, 11.1.3).
    // SAFETY: this process has one thread.
    match unsafe { fork() }.map_err(|errno| failed("fork", errno))? {
        // SAFETY: ends the process without running what its parent registered.
        ForkResult::Parent { .. } => unsafe { libc::_exit(0) },
        ForkResult::Child => {}
    }
    chdir("/").map_err(|errno| failed("chdir", errno))?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(|error| failed("/dev/null", error))?;
    dup2_stdin(&null).map_err(|errno| failed("dup2", errno))?;
    dup2_stdout(&null).map_err(|errno| failed("dup2", errno))?;
    if config.log_to != Sink::Stderr {
        dup2_stderr(&null).map_err(|errno| failed("dup2", errno))?;
    }
    diagnostics::open(config.log_to);
    Ok(())
}

/// Takes the descriptor that a supervisor passed us.
fn take_descriptor(number: i32) -> Result<File, StartError> {
    let bad = |why: String| StartError::usage(format!("ready descriptor {number}: {why}"));
    if number < 3 {
        return Err(bad("must be 3 or above".into()));
    }
    // SAFETY: F_GETFD only looks.
    nix::errno::Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })
        .map_err(|errno| bad(errno.desc().to_lowercase()))?;
    // SAFETY: it is open, and the user gave it to us for this.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    let flag = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
    nix::fcntl::fcntl(&descriptor, flag).map_err(|errno| bad(errno.desc().to_lowercase()))?;
    Ok(File::from(descriptor))
}

fn announce_fd(ready_fd: Option<File>, addresses: &str) -> Result<(), StartError> {
    match ready_fd {
        Some(mut file) => file
            .write_all(addresses.as_bytes())
            .map_err(|error| StartError::failure(format!("ready descriptor: {}", reason(&error)))),
        None => Ok(()),
    }
}
