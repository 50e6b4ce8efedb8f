//! Directories and files of a command's own that a `kill -9` leaves behind, and their removal by the
//! next one.
//!
//! Each is locked (flock(2)) as long as its program lives; the kernel frees what belongs to nobody.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::outcome::CommandError;
use crate::platform;

/// What the names of directories begin with that a later run may remove.
const RUN: &str = "forkproof-run.";
/// The same for those that are to stay.
const KEPT: &str = "forkproof-kept.";
/// How many characters follow.
const RANDOM: usize = 10;

/// A directory of this run's own.
pub(super) struct PrivateDir {
    dir: tempfile::TempDir,
    _lock: Option<File>,
}

impl PrivateDir {
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves it there.
    pub(super) fn keep(self) -> PathBuf {
        self.dir.keep()
    }
}

/// A directory of this run's own, for the checks'; `kept` if it is to stay. What killed runs have left
/// is removed.
pub(super) fn private_dir(kept: bool) -> Result<PrivateDir, CommandError> {
    let cannot = |why: &dyn std::fmt::Display| {
        CommandError::no_verdict(format!("no temporary directory: {why}"))
    };
    let place = std::env::temp_dir();
    if place.to_str().is_none() {
        // It stands in command lines, manifests and reports, which are text.
        let shown = settings::printable(&place.to_string_lossy());
        return Err(CommandError::usage(format!(
            "TMPDIR is `{shown}`, which is not UTF-8: name a directory that is"
        )));
    }
    tidy(&place, RUN);
    let prefix = if kept { KEPT } else { RUN };
    let (dir, lock) = loop {
        let dir = tempfile::Builder::new()
            .prefix(prefix)
            .rand_bytes(RANDOM)
            .tempdir_in(&place)
            .map_err(|error| cannot(&error))?;
        if kept {
            break (dir, None);
        }
        // Between the two steps another run may have taken it for one that nobody has.
        match open_own(dir.path(), libc::O_DIRECTORY) {
            Some(file) if lock(&file) && is_still(&file, dir.path()) => break (dir, Some(file)),
            Some(_) => {}
            None if !dir.path().exists() => {}
            None => return Err(cannot(&format!("{} cannot be opened", dir.path().display()))),
        }
    };
    if nix::unistd::geteuid().is_root() {
        // Checks that start a server as another user need a way to its directory; the names below
        // are still nobody else's to list.
        let passable = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(dir.path(), passable).map_err(|error| {
            CommandError::no_verdict(format!("{}: {error}", dir.path().display()))
        })?;
    }
    can_write(dir.path())?;
    Ok(PrivateDir { dir, _lock: lock })
}

/// That files can be written there at all: a limit of their size ends whoever comes to it.
fn can_write(dir: &Path) -> Result<(), CommandError> {
    use nix::sys::resource::{Resource, getrlimit};
    /// What a check writes at most, in bytes: logs past 4 GiB are sparse, and count as long as they
    /// are. Less is told by those that need more.
    const WRITTEN: u64 = 64 << 20;
    let most = getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(soft, _)| {
        #[allow(clippy::unnecessary_cast, reason = "rlim_t is signed on some systems")]
        let soft = soft as u64;
        soft
    });
    if most < WRITTEN {
        return Err(CommandError::no_verdict(format!(
            "this process may write files of {most} bytes, and checks write {WRITTEN} in {}: raise \
             the limit, with `ulimit -f`",
            dir.display()
        )));
    }
    Ok(())
}

/// Removes what begins with `prefix` in `place`, is this user's, and belongs to no program that lives.
pub(super) fn tidy(place: &Path, prefix: &str) {
    let Ok(entries) = std::fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_own = name.to_str().and_then(|name| name.strip_prefix(prefix)).is_some_and(|rest| {
            rest.len() == RANDOM && rest.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        if !is_own {
            continue;
        }
        let path = entry.path();
        let Some(file) = open_own(&path, 0) else { continue };
        if lock(&file) && is_still(&file, &path) {
            let is_dir = file.metadata().is_ok_and(|metadata| metadata.is_dir());
            platform::unmount_below(&path);
            let _ =
                if is_dir { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        }
    }
}

/// A file beside `path`, to be renamed to it, which a later program removes if this one cannot.
pub(super) fn beside(parent: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let file = tempfile::Builder::new()
        .prefix(PART)
        .rand_bytes(RANDOM)
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(parent)?;
    lock(file.as_file());
    Ok(file)
}

/// What the names of such files begin with.
pub(super) const PART: &str = ".forkproof-part.";

/// Opens what is this user's, and no link.
fn open_own(path: &Path, flags: i32) -> Option<File> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | flags)
        .open(path)
        .ok()?;
    let metadata = file.metadata().ok()?;
    let is_plain = metadata.is_dir() || metadata.is_file();
    (is_plain && metadata.uid() == nix::unistd::geteuid().as_raw()).then_some(file)
}

/// Whether nobody else has it, and now this process does.
fn lock(file: &File) -> bool {
    // SAFETY: a descriptor that is open and an integer.
    Errno::result(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }).is_ok()
}

fn is_still(file: &File, path: &Path) -> bool {
    let same =
        |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => same(&open, &there),
        _ => false,
    }
}
