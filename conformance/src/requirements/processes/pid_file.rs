//! processes/ : the pid file that a server finds, and the one that it leaves.

use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pause};

use crate::harness::{Check, Options, Server};
use crate::needs::Need;
use crate::offspring::Offspring;
use crate::platform::{self, State};
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{OrError, Outcome, Step, Stop, ensure};
use crate::subject::Claim;
use forkproof_report::{Failure, Level};

pub(in crate::requirements) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "processes/stale-pid-file",
        title: "A stale pid file does not prevent a start, and then names the new server",
        level: Level::Must,
        clause: "POSIX.1-2024, kill: [ESRCH], no process has this id; daemon(7), \"SysV daemons\", 12",
        trap: "after a crash, a kill or a power cut the pid file is left, and its mere existence counts as a server that runs: nothing starts until somebody removes it",
        fix: "lock the file, and write one's own id into it; that it exists means nothing",
        references: &["zammad/zammad-docker-compose#1934"],
        needs: &[Need::ProcessTable],
        claims: &[Claim::PidFile],
        controls: Controls::By(&[by("pid-file-believed=exists", "is gone")]),
        exclusive: false,
        check: stale_pid_file,
    },
    Requirement {
        id: "processes/pid-file-of-a-stranger",
        title: "A pid file that names somebody else's live process does not prevent a start, and that process gets no signal",
        level: Level::Should,
        clause: "POSIX.1-2024, 3 (process id): it is used again after the process's lifetime; kill: signal 0 tells that a process exists, not which",
        trap: "after a restart of the machine or the container the old number is another process's: the server believes that it runs already (kill(pid, 0) says 0, or EPERM), or ends whoever has the number now",
        fix: "hold a lock on the file as long as the server runs: a file that is not locked is nobody's",
        references: &["zammad/zammad-docker-compose#1934"],
        needs: &[Need::ProcessTable],
        claims: &[Claim::PidFile],
        controls: Controls::By(&[
            by("pid-file-believed=alive", "names a stranger"),
            by("pid-file-believed=kills", "is sent no signal"),
        ]),
        exclusive: false,
        check: pid_file_of_a_stranger,
    },
    Requirement {
        id: "processes/pid-file-removed",
        title: "After a clean stop the pid file is gone, or names nobody",
        level: Level::Should,
        clause: "POSIX.1-2024, kill: an id is used again after the process's lifetime; daemon(7), \"SysV daemons\", 12",
        trap: "the file names a number that soon is another process's: the next stop or rotation signals that one (privileges dropped, or chroot: the server cannot remove it any more)",
        fix: "remove it at the end, or empty it where only root may remove it",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::PidFile],
        controls: Controls::By(&[by("files-stay", "still names")]),
        exclusive: false,
        check: pid_file_removed,
    },
];

/// Starts it so that it writes a pid file: in the foreground, if it does there too.
fn with_pid_file(check: &Check) -> Options {
    match check.target().manifest.has_pid_file_in_foreground() {
        true => Options::new(),
        false => Options::new().daemon(),
    }
}

/// A server that finds `pid` in its pid file, and must start all the same.
fn started_beside(check: &mut Check, pid: i32, whose: &str) -> Step<Server> {
    let options = with_pid_file(check).pid_file_holds(format!("{pid}\n"));
    check.server_with(options).map_err(|stop| match stop {
        Stop::Fail(failure) => Stop::Fail(Failure {
            expected: format!("with a pid file that names {whose}, {}", failure.expected),
            ..failure
        }),
        other => other,
    })
}

/// The process that the pid file names.
fn named(server: &Server) -> Option<i32> {
    server.said_in_pid_file().ok()?.ok()?.split_whitespace().next()?.parse().ok()
}

fn names_the_server(check: &Check, server: &Server) -> Outcome {
    check.until(
        Duration::from_secs(5),
        "the pid file names a process of the server",
        || match named(server) {
            Some(pid) => Ok(server.process(pid)?.is_some()),
            None => Ok(false),
        },
        || match server.said_in_pid_file() {
            Ok(Ok(text)) => format!("it holds `{}`", text.trim().escape_debug()),
            Ok(Err(error)) => format!("it cannot be read: {error}"),
            Err(_) => "it cannot be read".to_owned(),
        },
    )
}

fn stale_pid_file(check: &mut Check) -> Outcome {
    let gone = Offspring::fork(|| ()).or_error("a process")?;
    let pid = gone.pid.as_raw();
    gone.wait::<()>().or_error("a process's end")?;
    let server = started_beside(check, pid, "a process that is gone")?;
    let mut alice = server.join("alice")?;
    alice.barrier()?;
    names_the_server(check, &server)
}

/// A process that is none of the server's. Signals that it is sent stay pending.
struct Stranger(Pid);

impl Stranger {
    fn new() -> Step<Self> {
        let mask = |how, set: &SigSet| sigprocmask(how, Some(set), None).or_error("signal mask");
        mask(SigmaskHow::SIG_BLOCK, &SigSet::all())?;
        // SAFETY: this process has one thread.
        match unsafe { fork() }.or_error("fork")? {
            ForkResult::Child => loop {
                pause();
            },
            ForkResult::Parent { child } => {
                mask(SigmaskHow::SIG_UNBLOCK, &SigSet::all())?;
                Ok(Self(child))
            }
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // Not waited for yet, or waited for by the check: then the number is nobody's.
        if kill(self.0, Signal::SIGKILL).is_ok() {
            let _ = waitpid(self.0, None);
        }
    }
}

fn pid_file_of_a_stranger(check: &mut Check) -> Outcome {
    let stranger = Stranger::new()?;
    let pid = stranger.0.as_raw();
    let server = started_beside(check, pid, "a stranger")?;
    let mut alice = server.join("alice")?;
    alice.barrier()?;
    names_the_server(check, &server)?;
    drop(alice);
    server.end()?;
    let alive = server.process(pid)?.is_some_and(|process| process.state != State::Zombie);
    let expected = "a stranger that the pid file names is sent no signal";
    ensure(alive, expected, || "it was killed".into())?;
    let pending = platform::signal_state(pid).map_err(Stop::NotRun)?.pending;
    ensure(pending == 0, expected, || format!("it was sent {}", platform::signal_names(pending)))
}

fn pid_file_removed(check: &mut Check) -> Outcome {
    let options = with_pid_file(check);
    let server = check.server_with(options)?;
    let mut alice = server.join("alice")?;
    alice.barrier()?;
    names_the_server(check, &server)?;
    drop(alice);
    server.end()?;
    check.until(
        Duration::from_secs(2),
        "after the server's end its pid file is gone, or names nobody",
        || Ok(named(&server).is_none()),
        || format!("it still names {}", named(&server).unwrap_or_default()),
    )
}
