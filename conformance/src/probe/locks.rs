//! locks/ : whose lock it is, what it excludes, and when it goes away.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;

use super::experiment::{Doing, Settled, Subject, file, word_or_errno};
use super::model::{Measure, Probe, Value, fixed, open};
use super::system;

const NOT_POSIX: &str = "flock() is not in POSIX";
const LINUX_DESCRIPTION: &str =
    "flock(2): locks belong to the open file description, and duplicates refer to the same lock";
const FREEBSD_REFERENCES: &str =
    "flock(2), Notes: dup(2) and fork(2) give multiple references to a single lock";

pub(super) const PROBES: &[Probe] = &[
    Probe {
        id: "locks/flock-second-open",
        title: "LOCK_EX through a second open of a file that the same process has locked",
        posix: NOT_POSIX,
        linux: fixed("excluded", "flock(2): descriptors from several opens are independent"),
        freebsd: open("flock(2), Notes: `locks are on files, not file descriptors`"),
        measure: |dir| {
            let (first, second) = (file(dir, "lock")?, file(dir, "lock")?);
            flock(&first, libc::LOCK_EX).doing("flock")?;
            excluded(flock(&second, libc::LOCK_EX | libc::LOCK_NB))
        },
    },
    Probe {
        id: "locks/flock-dup",
        title: "LOCK_EX through a duplicate of the locked descriptor",
        posix: NOT_POSIX,
        linux: fixed("not excluded", LINUX_DESCRIPTION),
        freebsd: fixed("not excluded", FREEBSD_REFERENCES),
        measure: |dir| {
            let first = file(dir, "lock")?;
            let second = first.try_clone().doing("dup")?;
            flock(&first, libc::LOCK_EX).doing("flock")?;
            excluded(flock(&second, libc::LOCK_EX | libc::LOCK_NB))
        },
    },
    Probe {
        id: "locks/flock-fork",
        title: "LOCK_EX in a child through the descriptor that its parent locked before fork",
        posix: NOT_POSIX,
        linux: fixed("not excluded", LINUX_DESCRIPTION),
        freebsd: fixed("not excluded", FREEBSD_REFERENCES),
        measure: |dir| {
            let lock = file(dir, "lock")?;
            flock(&lock, libc::LOCK_EX).doing("flock")?;
            elsewhere(|| excluded(flock(&lock, libc::LOCK_EX | libc::LOCK_NB)))
        },
    },
    Probe {
        id: "locks/flock-unlocked-by-child",
        title: "The parent's lock after its child has unlocked the inherited descriptor",
        posix: NOT_POSIX,
        linux: fixed("lost", LINUX_DESCRIPTION),
        freebsd: fixed("lost", "flock(2), Notes: if the child unlocks, the parent loses its lock"),
        measure: |dir| {
            let lock = file(dir, "lock")?;
            flock(&lock, libc::LOCK_EX).doing("flock")?;
            elsewhere(|| {
                flock(&lock, libc::LOCK_UN).doing("unlock")?;
                Ok("done".into())
            })?;
            held(flock(&file(dir, "lock")?, libc::LOCK_EX | libc::LOCK_NB))
        },
    },
    Probe {
        id: "locks/flock-close-of-duplicate",
        title: "A lock after a duplicate of its descriptor is closed",
        posix: NOT_POSIX,
        linux: fixed("kept", "flock(2): released when all such descriptors have been closed"),
        freebsd: fixed("kept", "fcntl(2): flock(2) has last close semantics"),
        measure: |dir| {
            let lock = file(dir, "lock")?;
            flock(&lock, libc::LOCK_EX).doing("flock")?;
            drop(lock.try_clone().doing("dup")?);
            held(flock(&file(dir, "lock")?, libc::LOCK_EX | libc::LOCK_NB))
        },
    },
    Probe {
        id: "locks/flock-close-of-other-open",
        title: "A lock after another open of the same file is closed",
        posix: NOT_POSIX,
        linux: fixed("kept", "flock(2): descriptors from several opens are independent"),
        freebsd: fixed("kept", "fcntl(2): flock(2) has last close semantics"),
        measure: |dir| {
            let lock = file(dir, "lock")?;
            flock(&lock, libc::LOCK_EX).doing("flock")?;
            drop(file(dir, "lock")?);
            held(flock(&file(dir, "lock")?, libc::LOCK_EX | libc::LOCK_NB))
        },
    },
    Probe {
        id: "locks/flock-read-only",
        title: "LOCK_EX on a descriptor that is open for reading only",
        posix: NOT_POSIX,
        linux: fixed(
            "granted",
            "flock(2): regardless of the mode in which the file was opened; not on NFS",
        ),
        freebsd: open("flock(2) lists no error for it"),
        measure: |dir| {
            drop(file(dir, "lock")?);
            let lock = File::open(dir.join("lock")).doing("open")?;
            Ok(word_or_errno("granted", flock(&lock, libc::LOCK_EX | libc::LOCK_NB)))
        },
    },
    Probe {
        id: "locks/upgrade-failed",
        title: "A shared lock after LOCK_EX | LOCK_NB failed because of another shared lock",
        posix: NOT_POSIX,
        linux: fixed(
            "lost",
            "flock(2), Notes: the existing lock is first removed, then a new one is established; fails if LOCK_NB",
        ),
        freebsd: open(
            "flock(2): the previous lock is released and the new one applied; of a failure it says nothing",
        ),
        measure: |dir| {
            let (upgrader, other) = (file(dir, "lock")?, file(dir, "lock")?);
            flock(&upgrader, libc::LOCK_SH).doing("flock")?;
            flock(&other, libc::LOCK_SH).doing("flock")?;
            match flock(&upgrader, libc::LOCK_EX | libc::LOCK_NB) {
                Err(Errno::EWOULDBLOCK) => {}
                other => return Ok(word_or_errno("upgraded beside the other", other)),
            }
            flock(&other, libc::LOCK_UN).doing("unlock")?;
            held(flock(&other, libc::LOCK_EX | libc::LOCK_NB))
        },
    },
    Probe {
        id: "locks/upgrade-waiting",
        title: "A shared lock while its process waits for the upgrade to LOCK_EX",
        posix: NOT_POSIX,
        linux: fixed("lost", "flock(2), Notes: the conversion is not atomic"),
        freebsd: fixed("lost", "flock(2): the previous lock is released, others may gain the lock"),
        measure: upgrade_waiting,
    },
    Probe {
        id: "locks/flock-and-fcntl",
        title: "A record lock of another process on a file that is locked with flock()",
        posix: NOT_POSIX,
        linux: fixed(
            "independent",
            "flock(2), Notes: no interaction with fcntl(2) locks; on NFS there is",
        ),
        freebsd: fixed(
            "one list",
            "flock(2), Notes: flock(2), fcntl(2) and lockf(3) locks are compatible",
        ),
        measure: |dir| {
            let lock = file(dir, "lock")?;
            flock(&lock, libc::LOCK_EX).doing("flock")?;
            elsewhere(|| match record_lock(&file(dir, "lock")?, libc::F_SETLK, libc::F_WRLCK) {
                Ok(()) => Ok("independent".into()),
                Err(Errno::EAGAIN | Errno::EACCES) => Ok("one list".into()),
                Err(errno) => Err(format!("fcntl: {errno:?}")),
            })
        },
    },
    Probe {
        id: "locks/fcntl-close-of-other-open",
        title: "A record lock after its process closed another open of the file",
        posix: "fcntl(): all locks of the process on the file are removed when it closes any descriptor of it",
        linux: fixed(
            "lost",
            "fcntl_locking(2), fcntl(2), Advisory record locking: released by closing any descriptor",
        ),
        freebsd: fixed("lost", "fcntl(2): removed when any file descriptor for the file is closed"),
        measure: |dir| {
            let lock = file(dir, "lock")?;
            record_lock(&lock, libc::F_SETLK, libc::F_WRLCK).doing("fcntl")?;
            drop(file(dir, "lock")?);
            elsewhere(|| held(record_lock(&file(dir, "lock")?, libc::F_SETLK, libc::F_WRLCK)))
        },
    },
    Probe {
        id: "locks/fcntl-fork",
        title: "A write lock in a child on the file that its parent has locked with fcntl()",
        posix: "fork: file locks are not inherited by the child",
        linux: fixed(
            "excluded",
            "fcntl(2), Advisory record locking: not inherited by a fork child",
        ),
        freebsd: fixed("excluded", "fcntl(2): locks are not inherited by a forked child"),
        measure: |dir| {
            let lock = file(dir, "lock")?;
            record_lock(&lock, libc::F_SETLK, libc::F_WRLCK).doing("fcntl")?;
            elsewhere(|| excluded(record_lock(&lock, libc::F_SETLK, libc::F_WRLCK)))
        },
    },
    Probe {
        id: "locks/fcntl-second-open",
        title: "A record lock through a second open in the process that holds it",
        posix: "fcntl(): locks belong to the process, which does not exclude itself",
        linux: fixed(
            "not excluded",
            "fcntl(2), Advisory record locking: associated with the process",
        ),
        freebsd: fixed(
            "not excluded",
            "fcntl(2): the previous lock type is replaced by the new one",
        ),
        measure: |dir| {
            let (first, second) = (file(dir, "lock")?, file(dir, "lock")?);
            record_lock(&first, libc::F_SETLK, libc::F_WRLCK).doing("fcntl")?;
            excluded(record_lock(&second, libc::F_SETLK, libc::F_WRLCK))
        },
    },
    Probe {
        id: "locks/fcntl-deadlock",
        title: "F_SETLKW of two processes that wait for each other",
        posix: "fcntl(): EDEADLK where the system detects it",
        linux: fixed("EDEADLK", "fcntl(2), EDEADLK: detected, with limitations"),
        freebsd: fixed("EDEADLK", "fcntl(2): detects that sleeping would cause a deadlock"),
        measure: fcntl_deadlock,
    },
    Probe {
        id: "locks/ofd-second-open",
        title: "F_OFD_SETLK through a second open in the process that holds the lock",
        posix: "fcntl(), F_OFD_SETLK, new in 2024: locks belong to the open file description",
        linux: fixed("excluded", "fcntl(2), Open file description locks, since Linux 3.15"),
        freebsd: fixed("no F_OFD_SETLK", "fcntl(2) has no such command"),
        measure: |dir| match system::OFD_SETLK {
            None => Ok("no F_OFD_SETLK".into()),
            Some(command) => {
                let (first, second) = (file(dir, "lock")?, file(dir, "lock")?);
                match record_lock(&first, command, libc::F_WRLCK) {
                    Err(Errno::EINVAL) => return Ok("no F_OFD_SETLK".into()),
                    other => other.doing("fcntl")?,
                }
                excluded(record_lock(&second, command, libc::F_WRLCK))
            }
        },
    },
    Probe {
        id: "locks/flock-on-this-file-system",
        title: "LOCK_EX of two processes in the directory for temporary files",
        posix: NOT_POSIX,
        linux: fixed("excluded", "flock(2); NFS since Linux 2.6.12, see its NFS details"),
        freebsd: open("flock(2): EOPNOTSUPP where the object does not support locking"),
        measure: between_processes,
    },
    Probe {
        id: "locks/flock-on-tmpfs",
        title: "LOCK_EX of two processes on a tmpfs",
        posix: NOT_POSIX,
        linux: fixed("excluded", "flock(2) names no exception for tmpfs(5)"),
        freebsd: open("tmpfs(4) says nothing of locks"),
        measure: |own| {
            for candidate in [own, Path::new("/dev/shm"), Path::new("/run/shm"), Path::new("/tmp")]
            {
                if crate::platform::file_system(candidate) != "tmpfs" {
                    continue;
                }
                if let Ok(dir) = tempfile::Builder::new().prefix("forkproof-").tempdir_in(candidate)
                {
                    return between_processes(dir.path());
                }
            }
            Ok("no tmpfs to write to".into())
        },
    },
];

/// flock(2) as it is, without std's or nix's guards.
pub(super) fn flock(file: &File, operation: libc::c_int) -> Result<(), Errno> {
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::flock(file.as_raw_fd(), operation) }).map(drop)
}

/// A record lock on the whole file.
pub(super) fn record_lock(
    file: &File,
    command: libc::c_int,
    kind: impl TryInto<libc::c_short>,
) -> Result<(), Errno> {
    record_lock_at(file, command, kind, 0, 0)
}

fn record_lock_at(
    file: &File,
    command: libc::c_int,
    kind: impl TryInto<libc::c_short>,
    start: libc::off_t,
    length: libc::off_t,
) -> Result<(), Errno> {
    // SAFETY: all-zero bytes are a valid flock.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    // F_WRLCK is an int on one system and a short on the other.
    lock.l_type = kind.try_into().map_err(|_| Errno::EINVAL)?;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = start;
    lock.l_len = length;
    // SAFETY: the command reads a flock.
    Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), command, &raw const lock) }).map(drop)
}

fn excluded(attempt: Result<(), Errno>) -> Measure {
    match attempt {
        Ok(()) => Ok("not excluded".into()),
        Err(Errno::EWOULDBLOCK | Errno::EACCES) => Ok("excluded".into()),
        Err(errno) => Ok(format!("{errno:?}").into()),
    }
}

/// What somebody else's attempt says of a lock.
fn held(attempt: Result<(), Errno>) -> Measure {
    match attempt {
        Ok(()) => Ok("lost".into()),
        Err(Errno::EWOULDBLOCK | Errno::EACCES) => Ok("kept".into()),
        Err(errno) => Err(format!("{errno:?}")),
    }
}

/// Measures in a child.
fn elsewhere(measure: impl FnOnce() -> Measure) -> Measure {
    Subject::start(|_| Ok(measure()?.to_string()))?.outcome().map(Value::from)
}

fn between_processes(dir: &Path) -> Measure {
    let lock = file(dir, "lock")?;
    match flock(&lock, libc::LOCK_EX) {
        Err(errno) => Ok(format!("{errno:?}").into()),
        Ok(()) => elsewhere(|| excluded(flock(&file(dir, "lock")?, libc::LOCK_EX | libc::LOCK_NB))),
    }
}

fn upgrade_waiting(dir: &Path) -> Measure {
    let other = file(dir, "lock")?;
    let mut upgrader = Subject::start(|line| {
        let lock = file(dir, "lock")?;
        flock(&lock, libc::LOCK_SH).doing("flock")?;
        line.say()?;
        line.hear()?;
        line.say()?;
        flock(&lock, libc::LOCK_EX).doing("upgrade")?;
        Ok("upgraded".into())
    })?;
    upgrader.hear()?;
    flock(&other, libc::LOCK_SH).doing("flock")?;
    upgrader.say()?;
    upgrader.hear()?;
    if let Settled::Told(text) = upgrader.settle()? {
        return Ok(format!("{text} beside the other").into());
    }
    // If the one that waits still holds its shared lock, this upgrade must fail.
    held(flock(&other, libc::LOCK_EX | libc::LOCK_NB))
}

fn fcntl_deadlock(dir: &Path) -> Measure {
    // Each in a process that can be watched: where nothing detects the deadlock, it lasts.
    let process = |first: libc::off_t, second: libc::off_t| {
        Subject::start(move |line| {
            let lock = file(dir, "lock")?;
            record_lock_at(&lock, libc::F_SETLK, libc::F_WRLCK, first, 1).doing("fcntl")?;
            line.say()?;
            line.hear()?;
            line.say()?;
            Ok(match record_lock_at(&lock, libc::F_SETLKW, libc::F_WRLCK, second, 1) {
                Ok(()) => "granted".to_owned(),
                Err(errno) => format!("{errno:?}"),
            })
        })
    };
    let (mut one, mut other) = (process(0, 1)?, process(1, 0)?);
    for process in [&mut one, &mut other] {
        process.hear()?;
    }
    one.say()?;
    one.hear()?;
    one.must_block("F_SETLKW")?;
    other.say()?;
    other.hear()?;
    Ok(match other.settle()? {
        Settled::Blocked => "not detected".into(),
        Settled::Told(text) => text.into(),
    })
}
