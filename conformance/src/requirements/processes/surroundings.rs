//! processes/ : what a server finds when it is started: descriptors, a process id, a mask.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::Mode;

use super::super::situations::both_are_served;
use crate::harness::{Check, Options, Pipe, Server, excerpt};
use crate::needs::Need;
use crate::platform::{self, State};
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{OrError, Outcome, Step, Stop, ensure, fail};
use crate::subject::Claim;
use forkproof_report::{Failure, Level};

pub(in crate::requirements) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "processes/messages-never-block",
        title: "When nobody reads its messages, or the reader has gone, the server still serves clients and stops on its signal",
        level: Level::Should,
        clause: "POSIX.1-2024, write: waits while a pipe has no room, without O_NONBLOCK; [EPIPE] and SIGPIPE when nobody can read it; pipe(7)",
        trap: "standard error is a pipe to a log collector that has stopped or ended: the message of one stranger's wrong key stops the process that accepts, or ends it",
        fix: "ignore SIGPIPE; write a message only where poll finds room for it, or from a process of its own, and count what is dropped",
        references: &["clice-io/clice#514"],
        needs: &[],
        claims: &[],
        controls: Controls::By(&[by("stderr-full", "with standard error a pipe")]),
        exclusive: false,
        check: messages_never_block,
    },
    Requirement {
        id: "processes/standard-descriptors-closed",
        title: "Started with standard input, output and error closed, the server works and never writes messages to a file or socket of its own",
        level: Level::Should,
        clause: "POSIX.1-2024, open: the lowest descriptor that is free; exec: a program whose descriptors 0 to 2 are closed runs in a non-conforming environment",
        trap: "the first socket or file gets the number of standard error: messages then go to a client, into the log or down a pipe of the server's own",
        fix: "open /dev/null on each of 0, 1 and 2 that is closed, before anything else is opened",
        references: &["rsyslog/rsyslog#1526", "php/php-src#7769"],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[],
        controls: Controls::By(&[by("closed-descriptors-stay", "descriptor 2 of")]),
        exclusive: false,
        check: standard_descriptors_closed,
    },
    Requirement {
        id: "processes/inherited-descriptors-unused",
        title: "Descriptors left open by the parent are not used, and a background server lets go of standard output",
        level: Level::Must,
        clause: "POSIX.1-2024, exec: descriptors without FD_CLOEXEC remain open in the new program; daemon(7), \"SysV daemons\", 1 and 9",
        trap: "a number taken for granted (3 is the log, or the first socket of LISTEN_FDS) is some other program's pipe; or the daemon keeps its launcher's standard output, and $(launcher) or ssh waits for ever (openssh and every daemon that forgets dup2)",
        fix: "use only descriptors that were opened or are named to the program (LISTEN_PID is its own id); in the background put /dev/null on 0 to 2",
        references: &[],
        needs: &[],
        claims: &[],
        controls: Controls::By(&[
            by("writes-to-inherited", "a client has come"),
            by("keeps-standard-descriptors", "whoever reads"),
        ]),
        exclusive: false,
        check: inherited_descriptors_unused,
    },
    Requirement {
        id: "processes/as-pid-1",
        title: "As process 1 of a container the server stops on its signal and reaps orphans",
        level: Level::Should,
        clause: "pid_namespaces(7): orphans become children of process 1, and a signal whose action is the default does nothing to it; POSIX.1-2024, _Exit, wait",
        trap: "without a handler SIGTERM does nothing, and every stop of the container takes its whole time-out and ends with SIGKILL; a server that waits for the children that it knows leaves all others as zombies, until no process id is free, or takes one for a mistake of its own and ends (vsftpd)",
        fix: "handle SIGTERM even where the default would do, and reap whatever waitpid(-1, WNOHANG) gives; or run the container with an init",
        references: &["All-Hands-AI/OpenHands#3042"],
        needs: &[Need::ProcessTable, Need::ProcessNamespace],
        claims: &[],
        controls: Controls::By(&[
            by("never-reaps", "is reaped"),
            by("signal-default=SIGTERM", "ends within"),
        ]),
        exclusive: false,
        check: as_process_1,
    },
    Requirement {
        id: "processes/umask-of-created-files",
        title: "No file that the server creates is world-writable, whatever the umask at its start",
        level: Level::Should,
        clause: "POSIX.1-2024, umask: it is inherited through fork and exec; CWE-276: incorrect default permissions",
        trap: "a pid file, log or directory that is created with 0666 or 0777 under a launcher's umask of 0: any user can write whom the next stop is to kill (logrotate, init scripts and container runtimes do start programs so)",
        fix: "set the umask at the start, or give open and mkdir a mode without the others' right to write",
        references: &[],
        needs: &[],
        claims: &[],
        controls: Controls::By(&[by("leaves-modes-to-umask", "can be written by everyone")]),
        exclusive: false,
        check: umask_of_created_files,
    },
];

fn messages_never_block(check: &mut Check) -> Outcome {
    type Case = (&'static str, fn(&mut Pipe) -> Outcome);
    let cases: [Case; 2] = [
        ("a pipe that is full and not read", |pipe| pipe.fill()),
        ("a pipe whose reader has gone", |pipe| {
            pipe.lose_reader();
            Ok(())
        }),
    ];
    for (what, happens) in cases {
        goes_on_without_words(check, happens).map_err(|stop| match stop {
            Stop::Fail(failure) => Stop::Fail(Failure {
                expected: format!("with standard error {what}, {}", failure.expected),
                ..failure
            }),
            other => other,
        })?;
    }
    Ok(())
}

/// A server that has something to say after something has happened to the pipe that it says it to.
fn goes_on_without_words(check: &mut Check, happens: fn(&mut Pipe) -> Outcome) -> Outcome {
    let mut pipe = Pipe::new()?;
    let server = check.server_with(Options::new().messages_to(pipe.writer()?))?;
    let mut alice = server.join("alice")?;
    let mut bob = server.join("bob")?;
    happens(&mut pipe)?;
    for number in 0..10 {
        // What servers have something to say about.
        let mut stranger = server.connect(&format!("stranger-{number}"))?;
        match server.key().len() {
            0 => {}
            length => stranger.send(&vec![b'0'; length])?,
        }
        stranger.reset()?;
        server.join(&format!("guest-{number}"))?.reset()?;
    }
    both_are_served(check, &mut alice, &mut bob, "although nobody reads its messages")?;
    server.join("carol")?;
    drop((alice, bob));
    server.end()
}

/// What is open under `number` in the server's processes, where that is no file or device: a word for
/// its kind, and what the system calls it.
fn standing_in(server: &Server, number: usize) -> Step<Vec<(&'static str, String)>> {
    let log = std::fs::canonicalize(server.log()).unwrap_or_default();
    let mut found = Vec::new();
    for process in server.processes()? {
        // One that has just ended had nothing to say.
        let Ok(descriptors) = platform::standard_descriptors(process.pid) else { continue };
        let Some(Some(target)) = descriptors.get(number) else { continue };
        let kind = match target.split(':').next() {
            Some("socket") => "a socket",
            Some("pipe") => "a pipe",
            Some("anon_inode") => "an object of the kernel",
            _ if Path::new(target) == log && log != Path::new("") => "the chat log",
            _ => continue,
        };
        found.push((kind, format!("descriptor {number} of {process} is {kind}, {target}")));
    }
    Ok(found)
}

fn standard_descriptors_closed(check: &mut Check) -> Outcome {
    // A server may well put a client's socket or a pipe there itself, and have nothing to say on
    // standard output; on standard error every C library has.
    let mut output = Pipe::new()?;
    let usual = check.server_with(Options::new().output_to(output.give_writer()?))?;
    let (_alice, _) = usual.join_with_cluster("alice")?;
    let usually: Vec<_> = standing_in(&usual, 2)?.into_iter().map(|(kind, _)| kind).collect();
    usual.end()?;
    let numbers = if output.content()?.0.is_empty() { 2..=2 } else { 1..=2 };
    let server = check.server_with(Options::new().without_standard_descriptors())?;
    let (mut alice, _) = server.join_with_cluster("alice")?;
    let mut bob = server.join("bob")?;
    both_are_served(check, &mut alice, &mut bob, "without standard descriptors")?;
    for number in numbers {
        for (kind, which) in standing_in(&server, number)? {
            ensure(
                number == 2 && usually.contains(&kind),
                format!(
                    "descriptor {number}, which messages go to, is nothing of the server's own"
                ),
                || which,
            )?;
        }
    }
    Ok(())
}

fn inherited_descriptors_unused(check: &mut Check) -> Outcome {
    const LEFT: &[u8] = b"for another program\n";
    let mut to_write = Pipe::new()?;
    let to_read = Pipe::new()?;
    to_read.put(LEFT)?;
    let options = Options::new().inheriting(to_write.give_writer()?).inheriting(to_read.reader()?);
    let server = check.server_with(options)?;
    let mut alice = server.join("alice")?;
    let mut bob = server.join("bob")?;
    both_are_served(check, &mut alice, &mut bob, "beside descriptors of others")?;
    drop((alice, bob));
    server.end()?;
    let (written, _) = to_write.content()?;
    ensure(written.is_empty(), "nothing is written to a pipe that its parent left open", || {
        format!("it holds {}", excerpt(&written))
    })?;
    let left = to_read.length()?;
    ensure(left == LEFT.len(), "nothing is read from a pipe that its parent left open", || {
        format!("of {} bytes {left} are left", LEFT.len())
    })?;
    if check.has(Claim::Daemon) { lets_its_launcher_go(check) } else { Ok(()) }
}

/// In the background nobody has the launcher's standard output. Standard error may be where messages
/// go.
fn lets_its_launcher_go(check: &mut Check) -> Outcome {
    let mut pipe = Pipe::new()?;
    let mut options = Options::new().daemon();
    if check.has(Claim::Syslog) {
        options = options.syslog().messages_to(pipe.give_writer()?);
    } else {
        options = options.output_to(pipe.give_writer()?);
    }
    let server = check.server_with(options)?;
    server.join("alice")?;
    check.until(
        Duration::from_secs(2),
        "whoever reads the launcher's output sees its end once the daemon runs",
        || Ok(pipe.content()?.1),
        || "some process of the daemon has it open".into(),
    )?;
    server.end()
}

fn as_process_1(check: &mut Check) -> Outcome {
    if check.target().manifest.launch.background {
        return Err(Stop::Unsupported(
            "what goes into the background by itself is no process 1 of a container".into(),
        ));
    }
    let server = check.server_with(Options::new().being_process_1())?;
    let mut alice = server.join("alice")?;
    for _ in 0..3 {
        let pid = server.given_an_orphan()?.end();
        check.until(
            Duration::from_secs(5),
            "an orphan that process 1 was given is reaped when it ends",
            || Ok(server.process(pid)?.is_none()),
            || match server.process(pid) {
                Ok(Some(process)) if process.state == State::Zombie => {
                    format!("process {pid} is still a zombie")
                }
                _ => format!("process {pid} is still there"),
            },
        )?;
    }
    // It may have ended of the last one; asking for another tells.
    server.given_an_orphan()?.end();
    alice.barrier()?;
    drop(alice);
    server.end()
}

/// What below `dir` everyone can write: files and directories, links not followed. Not what is meant
/// to be: sockets, and directories in which everyone has only what is his own.
fn open_to_all(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.filter_map(Result::ok) {
        // It may be gone again.
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        let (kind, mode) = (metadata.file_type(), metadata.permissions().mode());
        let exempt = kind.is_symlink() || kind.is_socket() || kind.is_dir() && mode & STICKY != 0;
        if !exempt && mode & OTHERS_WRITE != 0 {
            found.insert(entry.path());
        }
        if kind.is_dir() {
            open_to_all(&entry.path(), found);
        }
    }
}

fn umask_of_created_files(check: &mut Check) -> Outcome {
    // What the harness itself creates is not everyone's.
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    let dir = check.dir().to_owned();
    let mut before = BTreeSet::new();
    open_to_all(&dir, &mut before);
    for options in check.launch_modes() {
        let server = check.server_with(options.umask(0))?;
        let mut alice = server.join("alice")?;
        alice.barrier()?;
        let mut now = BTreeSet::new();
        open_to_all(&dir, &mut now);
        if let Some(path) = now.difference(&before).next() {
            let mode = std::fs::symlink_metadata(path).or_error(path.display())?.permissions();
            return fail(
                "no file that the server creates can be written by everyone, also under a umask of 0",
                format!(
                    "{} can be written by everyone (mode {:04o})",
                    path.strip_prefix(&dir).unwrap_or(path).display(),
                    mode.mode() & 0o7777
                ),
            );
        }
        drop(alice);
        server.end()?;
    }
    Ok(())
}
