//! storage/ : the chat log on a file system that refuses, and as something else than a file.
//!
//! One file however long, as each area's: the code of an id is found by its area.

pub(super) mod surroundings;

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::Resource;
use nix::sys::stat::Mode;

use super::situations::{as_user, last_lines, lines, refuses_to_start, unused_user};
use crate::harness::{Check, Client, Options, Server, excerpt};
use crate::needs::Need;
use crate::platform;
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{OrError, Outcome, Step, Stop, ensure, fail};
use crate::subject::Claim;
use crate::subject::SymbolicLinks;
use forkproof_report::Level;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "storage/disk-full",
        title: "On a full disk no line is torn, its speaker is dropped and so knows, others stay, and all goes on when there is space again",
        level: Level::Must,
        clause: "POSIX.1-2024, write: writes as many bytes as there is room for; [ENOSPC] when there is none",
        trap: "half of a message fits and stays: the next one is glued to it; or the failed write is not noticed and the message silently lost; or everyone is dropped",
        fix: "write under the exclusive lock, cut off again what was written of a message that did not fit, and close its client's connection",
        references: &[],
        needs: &[Need::Mounts],
        claims: &[Claim::DiskErrors],
        controls: Controls::By(&[by("truncate-does-nothing", "it ends with").but_not_on(
            "freebsd",
            "a write that a file system has no room for leaves nothing there (IO_UNIT)",
        )]),
        exclusive: false,
        check: disk_full,
    },
    Requirement {
        id: "storage/file-size-limit",
        title: "At the limit of the file size a message is refused whole, its speaker dropped, the reason told, and nobody else harmed",
        level: Level::Must,
        clause: "POSIX.1-2024, write: [EFBIG], and SIGXFSZ is generated for the thread; its default action ends the process and dumps core",
        trap: "SIGXFSZ left at its default: the process dies in the middle of an append, with the torn line in the log and not a word of why",
        fix: "ignore SIGXFSZ, treat EFBIG as ENOSPC, and cut off again what was written",
        references: &[],
        needs: &[],
        claims: &[Claim::DiskErrors],
        controls: Controls::By(&[
            by("truncate-does-nothing", "it ends with"),
            by("signal-default=SIGXFSZ", "it ends with"),
        ]),
        exclusive: false,
        check: file_size_limit,
    },
    Requirement {
        id: "storage/short-writes",
        title: "A write that takes a part of a message only, by one byte or by many, leaves all of the message in the log or nothing",
        level: Level::Must,
        clause: "POSIX.1-2024, write: the return value may be less than nbyte, and is no error",
        trap: "write checked for -1 only: a short count counts as done, and the rest of the message is lost",
        fix: "go on with the rest after a short count; when that fails, take back what was written",
        references: &[],
        needs: &[],
        claims: &[Claim::DiskErrors, Claim::Replay],
        controls: Controls::By(&[by("truncate-does-nothing", "it ends with")]),
        exclusive: false,
        check: short_writes,
    },
    Requirement {
        id: "storage/log-read-only",
        title: "A log that the server may not write to is refused at the start, by name",
        level: Level::Must,
        clause: "POSIX.1-2024, open: [EACCES]",
        trap: "opened for the first time when a client speaks, or read-only as a fallback: the server starts, and nothing that is said is kept",
        fix: "open the log as it will be used before the launcher returns",
        references: &[],
        needs: &[],
        claims: &[Claim::ChatLog, Claim::StartupErrors],
        controls: Controls::By(&[by("exits-zero", "non-zero")]),
        exclusive: false,
        check: log_read_only,
    },
    Requirement {
        id: "storage/log-on-read-only-file-system",
        title: "A log on a read-only file system is refused at the start, by name, even for root",
        level: Level::Must,
        clause: "POSIX.1-2024, open: [EROFS]",
        trap: "access() or the mode bits asked instead of the file opened: root may write, the file system can't",
        fix: "open the log as it will be used before the launcher returns",
        references: &[],
        needs: &[Need::Mounts],
        claims: &[Claim::ChatLog, Claim::StartupErrors],
        controls: Controls::By(&[by("exits-zero", "non-zero")]),
        exclusive: false,
        check: log_on_read_only_file_system,
    },
    Requirement {
        id: "storage/log-is-a-directory",
        title: "A directory in the log's place is refused at the start, by name",
        level: Level::Must,
        clause: "POSIX.1-2024, open: [EISDIR] when write access is asked for",
        trap: "a first open for reading only succeeds on a directory; the failure comes with the first message",
        fix: "open the log as it will be used before the launcher returns",
        references: &[],
        needs: &[],
        claims: &[Claim::ChatLog, Claim::StartupErrors],
        controls: Controls::By(&[by("exits-zero", "non-zero")]),
        exclusive: false,
        check: log_is_a_directory,
    },
    Requirement {
        id: "storage/log-is-a-fifo",
        title: "A FIFO in the log's place is refused at the start, by name and at once",
        level: Level::Must,
        clause: "POSIX.1-2024, open: opening a FIFO waits for its other end unless O_NONBLOCK is set; O_RDWR is undefined there",
        trap: "the start hangs for a reader that never comes; where O_RDWR opens it, pread and replay fail with ESPIPE",
        fix: "open with O_NONBLOCK and make sure with fstat that it is a regular file",
        references: &[],
        needs: &[],
        claims: &[Claim::ChatLog, Claim::StartupErrors],
        controls: Controls::By(&[
            by("exits-zero", "non-zero"),
            by("modes-unreported", "it starts and listens"),
        ]),
        exclusive: false,
        check: log_is_a_fifo,
    },
    Requirement {
        id: "storage/log-is-a-symlink",
        title: "A symbolic link in the log's place is treated as documented: refused by name with what it points to untouched, or followed",
        level: Level::Must,
        clause: "POSIX.1-2024, open: O_NOFOLLOW, [ELOOP]; FreeBSD open(2): [EMLINK]; CWE-59: link following",
        trap: "a daemon that starts as root follows a link in a directory that others may write to, and creates or appends to any file of the machine",
        fix: "open with O_NOFOLLOW, when the log is opened again after rotation too; expect ELOOP and EMLINK",
        references: &[],
        needs: &[],
        claims: &[Claim::ChatLog, Claim::StartupErrors],
        controls: Controls::By(&[by("exits-zero", "non-zero")]),
        exclusive: false,
        check: log_is_a_symlink,
    },
    Requirement {
        id: "storage/log-mode",
        title: "A new log has mode 0660 less the umask and less all users' rights, under every umask; an old one keeps its mode",
        level: Level::Must,
        clause: "POSIX.1-2024, open: the mode argument is masked by the file mode creation mask; CWE-732",
        trap: "mode 0666 and trust in the umask, which a daemon has just set to 0: the whole machine reads and writes the chat; or open() without its third argument, and the mode is what the stack held",
        fix: "create with mode 0660, whatever the umask may be",
        references: &[],
        needs: &[],
        claims: &[Claim::PrivateLog],
        controls: Controls::By(&[by("open-without-mode", "0666")]),
        exclusive: false,
        check: log_mode,
    },
    Requirement {
        id: "storage/log-deleted-while-running",
        title: "When the log is deleted, what is said next is heard by all and stands in a new log",
        level: Level::Should,
        clause: "POSIX.1-2024, unlink: the file stays until its last descriptor is closed, but has no name any more",
        trap: "writers go on in the nameless file: the chat seems to work, and all of it is gone with the last process; or new clients get a new file and the chat splits",
        fix: "while holding the lock, check that the name still refers to the open file, and create it again if not",
        references: &[],
        needs: &[],
        claims: &[Claim::LogRotation],
        controls: Controls::By(&[by("stale-paths", "there is no file of its name")]),
        exclusive: false,
        check: log_deleted_while_running,
    },
];

/// The name of a directory for the log alone, so that the condition made for it meets nothing
/// else of the check's.
fn own_directory(check: &Check, name: &str) -> Step<PathBuf> {
    let dir = check.dir().join(name);
    std::fs::create_dir(&dir).or_error(dir.display())?;
    Ok(dir)
}

/// Takes what space a file system has left; deleting the file gives it back.
fn fill(path: &Path) -> Outcome {
    let mut file = File::create(path).or_error(path.display())?;
    loop {
        match file.write(&[0; 4096]) {
            Ok(count) if count > 0 => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            other => return Err(Stop::Error(format!("{}: {other:?}", path.display()))),
        }
    }
}

/// `client` says what the log has no room for: it is dropped, and the log is as it was. The
/// protocol has no word for an error, so the end of the connection is how the speaker is told.
fn is_refused_whole(
    server: &Server,
    client: &mut Client,
    message: &[u8],
    condition: &str,
) -> Outcome {
    let before = server.log_content()?;
    client.queue(message);
    let heard = client.hears_end().map_err(|stop| match stop {
        Stop::Fail(mut failure) => {
            failure.expected =
                format!("{condition} the client whose message cannot be kept is dropped");
            let kept = server.log_content().map_or(0, |log| log.len().saturating_sub(before.len()));
            failure.actual +=
                &format!("; the log holds {kept} of the message's {} bytes", message.len());
            Stop::Fail(failure)
        }
        other => other,
    })?;
    ensure(
        heard.is_empty(),
        format!("{condition} nobody hears a message that was not kept"),
        || format!("the speaker hears {}", excerpt(&heard)),
    )?;
    let after = server.log_content()?;
    ensure(
        after == before,
        format!("{condition} the log holds nothing of a message that did not fit"),
        || match after.strip_prefix(before.as_slice()) {
            Some(torn) => format!(
                "it ends with {} of the message's {} bytes: {}",
                torn.len(),
                message.len(),
                excerpt(torn)
            ),
            None => "it has changed".into(),
        },
    )
}

/// The server says why, in the system's words for `errno`.
fn says_why(check: &Check, server: &Server, errno: Errno) -> Outcome {
    check.until(
        Duration::from_secs(2),
        &format!("the server's messages name the reason: {}", errno.desc()),
        || Ok(server.output().to_lowercase().contains(&errno.desc().to_lowercase())),
        || format!("the server's messages are: {}", server.output().trim().replace('\n', " / ")),
    )
}

fn disk_full(check: &mut Check) -> Outcome {
    const WHEN: &str = "on a full disk";
    platform::prepare_mounts().map_err(Stop::NotRun)?;
    let dir = own_directory(check, "small")?;
    platform::mount_tmpfs(&dir, 256 * 1024).map_err(Stop::NotRun)?;
    let server = check.server_with(Options::new().log(dir.join("chat.log")))?;
    let mut alice = server.join("alice")?;
    let mut bob = server.join("bob")?;
    bob.barrier()?;
    alice.barrier()?;
    let ballast = dir.join("ballast");
    let replay = usize::from(check.target().manifest.wire.replay);
    for round in 0..3 {
        fill(&ballast)?;
        check.note("fills the disk");
        // The page in which the log ends has room for a part of it.
        let message = lines("too much for a full disk", 1, 16 * 1024).concat();
        is_refused_whole(&server, &mut alice, &message, WHEN)?;
        says_why(check, &server, Errno::ENOSPC)?;
        let replay = last_lines(&server.log_content()?, replay);
        let mut carol = server.enter("carol, on a full disk")?;
        carol.hears_bytes(&replay)?;
        ensure(!bob.has_ended(), format!("{WHEN} those who say nothing stay"), || {
            "bob's connection is closed too".into()
        })?;
        std::fs::remove_file(&ballast).or_error("ballast")?;
        check.note("makes room again");
        let line = format!("there is room again, {round}");
        bob.say(&line)?;
        bob.hears(&line)?;
        carol.hears(&line)?;
        alice = server.join("alice, again")?;
    }
    let log = server.log_content()?;
    ensure(log.ends_with(b"\n"), "the log ends with a whole line", || {
        format!("the log ends with {}", excerpt(&log[log.len().saturating_sub(50)..]))
    })
}

/// The limit of the file size in the requirements about it: more than the server's own messages
/// take, which it holds for too.
const FILE_SIZE: usize = 64 * 1024;

fn with_file_size_limit() -> Options {
    Options::new()
        .limit(Resource::RLIMIT_FSIZE, FILE_SIZE as u64)
        // What SIGXFSZ may end leaves no core.
        .limit(Resource::RLIMIT_CORE, 0)
}

fn file_size_limit(check: &mut Check) -> Outcome {
    let history = lines("history", FILE_SIZE / 1_000 - 8, 1_000).concat();
    let log = check.log_path()?;
    check.lay(&log, &history)?;
    let server = check.server_with(with_file_size_limit())?;
    let mut bob = server.join("bob")?;
    let mut carol = server.join("carol")?;
    let mut alice = server.join("alice")?;
    for client in [&mut bob, &mut carol, &mut alice] {
        client.barrier()?;
    }
    let message = lines("beyond the limit", 1, 16 * 1024).concat();
    is_refused_whole(&server, &mut alice, &message, "at the limit of the file size")?;
    says_why(check, &server, Errno::EFBIG)?;
    bob.say("what fits is kept")?;
    bob.hears("what fits is kept")?;
    carol.hears("what fits is kept")?;
    server.join("alice, again").map(drop)
}

fn short_writes(check: &mut Check) -> Outcome {
    for room in [1, 2, 300, 5_000] {
        let log = check.dir().join(format!("chat-{room}.log"));
        let mut history = lines("history", FILE_SIZE / 1_000 + 1, 1_000).concat();
        history.truncate(FILE_SIZE - room - 1);
        history.push(b'\n');
        check.lay(&log, &history)?;
        let server = check.server_with(with_file_size_limit().log(&log).replay(1))?;
        let newest = last_lines(&history, 1);
        let enter = |name: &str| -> Step<Client> {
            let mut client = server.enter(name)?;
            client.hears_bytes(&newest)?;
            Ok(client)
        };
        let condition = format!("with room for {room} bytes");
        let mut listener = enter("listener")?;
        // The first is cut short by its newline only.
        for length in [room + 1, room + 200, room + 16 * 1024] {
            let message = lines("x", 1, length.max(5)).concat();
            let message = &message[message.len() - length..];
            let mut speaker = enter(&format!("says-{length}"))?;
            is_refused_whole(&server, &mut speaker, message, &condition)?;
        }
        // What just fits is kept, and after that not a byte more.
        let fitting = [&vec![b'y'; room - 1][..], b"\n"].concat();
        let mut speaker = enter("says what fits")?;
        speaker.send(&fitting)?;
        speaker.hears_bytes(&fitting)?;
        listener.hears_bytes(&fitting)?;
        is_refused_whole(&server, &mut speaker, b"\n", "with no room left")?;
        ensure(!listener.has_ended(), "a client that says nothing stays", || {
            "the listener's connection is closed".into()
        })?;
        // No client could hear itself any more, as the end of the check would have it.
        server.end()?;
    }
    Ok(())
}

/// Launched with `options` in the foreground and in the background, the server refuses to start
/// and names the log.
fn log_is_refused(check: &mut Check, options: &Options, what: &str) -> Outcome {
    let log = check.log_path()?.display().to_string();
    let background = check.launch_modes().len() > 1;
    let modes = [Some(options.clone()), background.then(|| options.clone().daemon())];
    for options in modes.into_iter().flatten() {
        let launched = check.launch(options)?;
        refuses_to_start(check, &launched, &log, what)?;
    }
    Ok(())
}

fn log_read_only(check: &mut Check) -> Outcome {
    let log = check.log_path()?;
    std::fs::write(&log, "what was said before\n").or_error(log.display())?;
    std::fs::set_permissions(&log, Permissions::from_mode(0o444)).or_error(log.display())?;
    let mut options = Options::new();
    if nix::unistd::geteuid().is_root() {
        // Root may write to it all the same.
        options = as_user(check, options, unused_user()?)?;
    }
    log_is_refused(check, &options, "a log that may only be read")
}

fn log_on_read_only_file_system(check: &mut Check) -> Outcome {
    platform::prepare_mounts().map_err(Stop::NotRun)?;
    let dir = own_directory(check, "read-only")?;
    platform::mount_tmpfs(&dir, 64 * 1024).map_err(Stop::NotRun)?;
    let log = dir.join("chat.log");
    std::fs::write(&log, "what was said before\n").or_error(log.display())?;
    platform::make_read_only(&dir).map_err(Stop::NotRun)?;
    for options in check.launch_modes() {
        let launched = check.launch(options.log(&log))?;
        refuses_to_start(
            check,
            &launched,
            &log.display().to_string(),
            "a log on a read-only file system",
        )?;
    }
    Ok(())
}

fn log_is_a_directory(check: &mut Check) -> Outcome {
    let log = check.log_path()?;
    std::fs::create_dir(&log).or_error(log.display())?;
    log_is_refused(check, &Options::new(), "a directory in the log's place")
}

fn log_is_a_fifo(check: &mut Check) -> Outcome {
    let log = check.log_path()?;
    nix::unistd::mkfifo(&log, Mode::S_IRUSR | Mode::S_IWUSR).or_error(log.display())?;
    log_is_refused(check, &Options::new(), "a FIFO in the log's place")
}

fn log_is_a_symlink(check: &mut Check) -> Outcome {
    if check
        .target()
        .manifest
        .log
        .as_ref()
        .is_some_and(|log| log.symbolic_links == SymbolicLinks::Followed)
    {
        return log_link_is_followed(check);
    }
    let (log, elsewhere) = (check.log_path()?, check.dir().join("elsewhere"));
    symlink(&elsewhere, &log).or_error(log.display())?;
    log_is_refused(check, &Options::new(), "a symbolic link to nothing in the log's place")?;
    ensure(!elsewhere.exists(), "a link that is refused creates nothing", || {
        "the file that it points to is there".into()
    })?;
    std::fs::write(&elsewhere, "not yours\n").or_error("elsewhere")?;
    log_is_refused(check, &Options::new(), "a symbolic link to a file in the log's place")?;
    // The same when the link comes while the server runs, in the way of rotation.
    std::fs::remove_file(&log).or_error(log.display())?;
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let mut bob = server.join("bob")?;
    let aside = log.with_extension("log.1");
    std::fs::rename(&log, &aside).or_error("rename")?;
    symlink(&elsewhere, &log).or_error(log.display())?;
    check.note("lays a symbolic link in the log's place");
    alice.say("said beside a link")?;
    bob.hears("said beside a link")?;
    let content = server.as_owner(|_| std::fs::read(&elsewhere))?.or_error("elsewhere")?;
    ensure(content == b"not yours\n", "what a link points to is left alone", || {
        format!("the file that the link points to holds {}", excerpt(&content))
    })?;
    std::fs::remove_file(&log).or_error(log.display())?;
    std::fs::rename(&aside, &log).or_error("rename")
}

fn log_link_is_followed(check: &mut Check) -> Outcome {
    let (log, elsewhere) = (check.log_path()?, check.dir().join("elsewhere"));
    std::fs::write(&elsewhere, "said before\n").or_error("elsewhere")?;
    symlink(&elsewhere, &log).or_error(log.display())?;
    let server = check.server()?;
    let mut alice = server.enter("alice")?;
    if check.target().has(Claim::Replay) {
        alice.hears("said before")?;
    } else {
        alice.barrier()?;
    }
    alice.say("through the link")?;
    alice.hears("through the link")?;
    let content = server.as_owner(|_| std::fs::read(&elsewhere))?.or_error("elsewhere")?;
    let others = |line: &&[u8]| !line.starts_with(b"=barrier");
    let lines = content.split_inclusive(|&byte| byte == b'\n').filter(others);
    ensure(
        lines.collect::<Vec<_>>().concat() == b"said before\nthrough the link\n",
        "the file that the link points to is the log",
        || format!("that file holds {}", excerpt(&content)),
    )?;
    ensure(log.is_symlink(), "the link stays one", || "the link was replaced".into())
}

fn mode_of(path: &Path) -> Step<u32> {
    Ok(std::fs::metadata(path).or_error(path.display())?.mode() & 0o7777)
}

fn log_mode(check: &mut Check) -> Outcome {
    for umask in [0o000, 0o022, 0o077] {
        for background in [false, true] {
            if background && check.launch_modes().len() == 1 {
                continue;
            }
            let dir = own_directory(check, &format!("{umask:03o}-{background}"))?;
            let mut options = Options::new().log(dir.join("chat.log")).umask(umask);
            if background {
                options = options.daemon();
            }
            let server = check.server_with(options)?;
            let mut alice = server.join("alice")?;
            let expected = 0o660 & !umask;
            has_mode(server.log(), expected, &format!("a new log under umask {umask:03o}"))?;
            // Once more, by one of the clients' processes.
            std::fs::remove_file(server.log()).or_error(server.log().display())?;
            alice.say("in a new log")?;
            alice.hears("in a new log")?;
            if server.log().exists() {
                let what = format!("a log that was created again under umask {umask:03o}");
                has_mode(server.log(), expected, &what)?;
            }
            nothing_for_everyone(&dir)?;
            server.end()?;
        }
    }
    let server = check.server()?;
    server.join("alice")?;
    server.end()?;
    let mode = Permissions::from_mode(0o640);
    server.as_owner(|log| std::fs::set_permissions(log, mode))?.or_error("chmod")?;
    check.server()?.join("bob")?;
    has_mode(&check.log_path()?, 0o640, "a log that was there before")
}

fn has_mode(path: &Path, expected: u32, what: &str) -> Outcome {
    let mode = mode_of(path)?;
    ensure(mode == expected, format!("{what} has mode {expected:04o}"), || {
        format!("{what} has mode {mode:04o}")
    })
}

/// No file that the server left beside its log can be written to by all users.
fn nothing_for_everyone(dir: &Path) -> Outcome {
    for entry in std::fs::read_dir(dir).or_error(dir.display())? {
        let path = entry.or_error(dir.display())?.path();
        let mode = mode_of(&path)?;
        if mode & 0o002 != 0 {
            return fail(
                "no file of the server's can be written to by every user",
                format!("{} has mode {mode:04o}", path.display()),
            );
        }
    }
    Ok(())
}

fn log_deleted_while_running(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut crowd = server.crowd(3)?;
    for speaker in 0..3 {
        std::fs::remove_file(server.log()).or_error(server.log().display())?;
        check.note("deletes the log");
        let said = lines(&format!("after deletion {speaker}"), 5, 60);
        for line in &said {
            crowd.clients[speaker].queue(line);
        }
        crowd.hear_everything_in_one_order(&said)?;
        let log = match server.read_log(0)? {
            Ok(log) => log,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return fail(
                    "the log is there again after the first line that is said",
                    "there is no file of its name: what was said is in one that nobody can open",
                );
            }
            Err(error) => return Err(Stop::Error(format!("chat log: {error}"))),
        };
        ensure(log == said.concat(), "the new log holds what was said since", || {
            format!("the new log holds {}", excerpt(&log))
        })?;
        let replayed = check.target().manifest.wire.replay;
        let mut late = server.enter("late")?;
        late.hears_bytes(&last_lines(&log, replayed.into()))?;
    }
    Ok(())
}
