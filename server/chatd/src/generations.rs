//! Which process groups hear a multicast: every daemon's that serves the same log.
//!
//! A daemon's clusters are one process group, and a receiver multicasts by `killpg`. When a daemon
//! dies its clusters live on, and the next daemon's are another group; both must hear each other,
//! and a list of process ids in a file would go stale and one day name a stranger.
//!
//! So the kernel keeps the list. Beside the log stands an empty file, `LOG.groups`. Every sender
//! holds a shared record lock (fcntl(2), `F_SETLK`) on the byte whose offset is its process group.
//! To find the groups, a receiver asks which locks stand in its way (`F_GETLK`): the answer's
//! offset is a group with a living member. A lock goes with its process, however that dies.
//!
//! A daemon holds a lock, too, on the byte [`CLAIMS`] bytes further on, for its own clusters' group. A
//! group without one has lost its daemon: it serves its clients on, until another daemon of the same
//! log is told to end, which ends it as well.
//!
//! Record locks and `flock` are kept apart by using different files: on FreeBSD the two see each
//! other (flock(2) there), on Linux they don't.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, geteuid, getpgrp};

/// How far a daemon's lock is from its group's: no process id is so large (Linux: 2^22, proc(5)), and
/// an offset of 32 bits holds it.
const CLAIMS: libc::off_t = 1 << 30;

/// The register of the process groups that serve one log.
#[derive(Debug)]
pub(crate) struct Generations(File);

impl Generations {
    /// The register's file: the log's name and `.groups`.
    pub(crate) fn path(log: &Path) -> PathBuf {
        let mut name = log.as_os_str().to_owned();
        name.push(".groups");
        name.into()
    }

    /// Opens the register of `log`, creating it when there is none. Only a regular file of this
    /// process's user is believed, and only if nobody else may open it: a lock takes no more.
    pub(crate) fn open(log: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            // The server's user alone: whoever may lock it has groups of this user signalled.
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(Self::path(log))?;
        let metadata = file.metadata()?;
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        if !metadata.is_file() {
            Err(io::Error::other("it is not a regular file"))
        } else if owner != geteuid().as_raw() {
            Err(io::Error::other(format!(
                "it belongs to user {owner}, who could have any process of this server's user \
                 signalled; remove it"
            )))
        } else if mode & 0o077 != 0 {
            Err(io::Error::other(format!(
                "mode {mode:04o} lets others have any process of this server's user signalled; \
                 `chmod 600` it"
            )))
        } else {
            Ok(Self(file))
        }
    }

    /// Registers this process's group for as long as this process lives and keeps `self`. The
    /// register must not be opened and closed again meanwhile: closing any descriptor of a file
    /// drops the process's record locks on it.
    pub(crate) fn join(&self) -> nix::Result<()> {
        let group = libc::off_t::from(getpgrp().as_raw());
        fcntl(&self.0, FcntlArg::F_SETLK(&record(libc::F_RDLCK as libc::c_short, group, 1)))
            .map(drop)
    }

    /// Says that this process is the daemon of `group`, as long as it lives and keeps `self`.
    pub(crate) fn claim(&self, group: Pid) -> nix::Result<()> {
        self.set_claim(group, libc::F_RDLCK as libc::c_short)
    }

    /// Says that `group` is no more.
    pub(crate) fn disclaim(&self, group: Pid) -> nix::Result<()> {
        self.set_claim(group, libc::F_UNLCK as libc::c_short)
    }

    fn set_claim(&self, group: Pid, kind: libc::c_short) -> nix::Result<()> {
        let at = CLAIMS + libc::off_t::from(group.as_raw());
        fcntl(&self.0, FcntlArg::F_SETLK(&record(kind, at, 1))).map(drop)
    }

    /// The registered groups that no living daemon claims. Those of this process are among them: no
    /// lock of its own stands in its way.
    pub(crate) fn orphans(&self) -> Vec<Pid> {
        let mut groups = Vec::new();
        self.find(0, CLAIMS, &mut groups);
        groups.retain(|group| {
            let at = CLAIMS + libc::off_t::from(group.as_raw());
            let mut lock = record(libc::F_WRLCK as libc::c_short, at, 1);
            let asked = fcntl(&self.0, FcntlArg::F_GETLK(&mut lock));
            asked.is_ok() && lock.l_type == libc::F_UNLCK as libc::c_short
        });
        groups
    }

    /// Whether the kernel can keep the register. Tried on a byte that stands for no group.
    pub(crate) fn try_lock(&self) -> nix::Result<()> {
        let byte = |kind: libc::c_short| record(kind, 1, 1);
        match fcntl(&self.0, FcntlArg::F_SETLK(&byte(libc::F_RDLCK as libc::c_short))) {
            Err(Errno::EAGAIN | Errno::EACCES) => return Ok(()), // somebody else has locked it
            other => other?,
        };
        fcntl(&self.0, FcntlArg::F_GETLK(&mut byte(libc::F_WRLCK as libc::c_short)))?;
        fcntl(&self.0, FcntlArg::F_SETLK(&byte(libc::F_UNLCK as libc::c_short))).map(drop)
    }

    /// Sends `signal` to this process's group and to every other registered one.
    pub(crate) fn multicast(&self, signal: Signal) {
        let own = getpgrp();
        let _ = killpg(own, signal);
        let own = libc::off_t::from(own.as_raw());
        let mut others = Vec::new();
        self.find(0, own, &mut others);
        self.find(own + 1, CLAIMS, &mut others);
        for group in others {
            // Another user's group, or one that is just gone: not ours to wake.
            let _ = killpg(group, signal);
        }
    }

    /// Collects the registered groups from `start` up to but not including `end`. The kernel
    /// answers with any lock of the range, so the range is split around it.
    fn find(&self, start: libc::off_t, end: libc::off_t, found: &mut Vec<Pid>) {
        if end <= start {
            return;
        }
        let length = end - start;
        let mut lock = record(libc::F_WRLCK as libc::c_short, start, length);
        match fcntl(&self.0, FcntlArg::F_GETLK(&mut lock)) {
            Err(Errno::EINTR) => return self.find(start, end, found),
            Err(_) => return,
            Ok(_) => {}
        }
        if lock.l_type == libc::F_UNLCK as libc::c_short {
            return;
        }
        let at = lock.l_start;
        let inside = at >= start && at < end;
        if !inside || lock.l_len != 1 {
            return; // not a registration: someone else's lock on our file
        }
        // Offset 1 is no group of ours, and -1 or 0 would signal half the machine.
        if let Some(group) = i32::try_from(at).ok().filter(|&group| group > 1) {
            found.push(Pid::from_raw(group));
        }
        self.find(start, at, found);
        self.find(at + 1, end, found);
    }
}

fn record(kind: libc::c_short, start: libc::off_t, length: libc::off_t) -> libc::flock {
    // SAFETY: all-zero bytes are a valid `flock` structure: it holds integers only. Systems differ
    // in its further fields (FreeBSD: l_sysid).
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = start;
    lock.l_len = length;
    lock
}
