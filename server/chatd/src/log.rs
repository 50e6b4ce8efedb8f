//! The chat log: whole appends under an exclusive `flock`, reads under a shared one.
//!
//! Every process opens the log for itself. A descriptor that came through `fork` is the same open
//! file description as its parent's: its lock would exclude none of the processes that share it
//! (flock(2): locks "are associated with an open file description"), and its offset would be
//! theirs too. Reads name their position (`pread`).
//!
//! The standard library's file calls are used throughout, since they are the large-file ones on
//! 32-bit systems as well (`open64`, `pread64`, `ftruncate64`).
//!
//! # Rotation
//! The log is followed by name. A writer that holds the lock makes sure that its file is still
//! the one with the log's name, and otherwise opens the new one; a reader changes to the new file
//! when it has read the old one to its end *after* it saw the change, so nothing is lost. A log
//! that was removed is created again by the next writer.
//!
//! # Unfinished lines
//! No line begins within another's. A writer that finds the log's last line without its end, and
//! has not itself written the last of it, ends it first: what it appends begins with a newline. A
//! client whose line comes in pieces so keeps it whole until somebody else speaks; the rest of it
//! is then a line of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::signals;

/// Mode of a new log, less the umask: never for all users of the machine.
const MODE: u32 = 0o660;

/// How much one read takes.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The chat log, opened by this process for itself.
#[derive(Debug)]
pub(crate) struct ChatLog {
    path: PathBuf,
    file: File,
    /// Device and inode of `file`.
    identity: (u64, u64),
    /// The end of what this process wrote last: it may go on from there, even within a line.
    own: Option<End>,
}

/// A place where the log ended once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    identity: (u64, u64),
    length: u64,
}

/// Why an append didn't happen.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The process was asked to end while it waited for the lock. Nothing was written.
    Terminated,
    /// The file refused. What was already written of the message is taken back.
    Io(io::Error),
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ChatLog {
    /// Opens the log for reading and appending, creating it when there is none.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = open_file(path, true)?;
        let identity = identity(&file.metadata()?);
        Ok(Self { path: path.to_owned(), file, identity, own: None })
    }

    /// The file's mode, if it lets every user of this machine open it, and so lock it.
    pub(crate) fn open_to_all(&self) -> Option<u32> {
        let mode = self.file.metadata().ok()?.mode() & 0o7777;
        (mode & 0o006 != 0).then_some(mode)
    }

    /// Which file has the log's name now, and how long it is, if that can be told.
    pub(crate) fn length(&self) -> Option<(u64, u64)> {
        std::fs::metadata(&self.path).ok().map(|known| (known.ino(), known.len()))
    }

    /// Where the log ends now.
    fn end(&self) -> io::Result<End> {
        Ok(End { identity: self.identity, length: self.file.metadata()?.len() })
    }

    /// Whether the log's last line is someone else's and has no end. The caller holds the lock.
    fn is_within_another_line(&self, end: End) -> io::Result<bool> {
        if end.length == 0 || self.own == Some(end) {
            return Ok(false);
        }
        let mut last = [0];
        self.file.read_exact_at(&mut last, end.length - 1)?;
        Ok(last != *b"\n")
    }

    /// Appends all of `bytes`, after the end of a line that someone else has left without it, or
    /// nothing. The caller holds the exclusive lock.
    fn append_locked(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.end()?;
        let own_line = match self.is_within_another_line(end)? {
            true => [b"\n", bytes].concat(),
            false => Vec::new(),
        };
        let bytes = if own_line.is_empty() { bytes } else { &own_line };
        write_whole(&self.file, bytes)?;
        self.own = Some(End { length: end.length + bytes.len() as u64, ..end });
        Ok(())
    }

    /// Whether the file can be locked: some network file systems, and some old ones, have no locks.
    pub(crate) fn try_lock(&self) -> io::Result<()> {
        match signals::retry(|| flock(&self.file, libc::LOCK_SH | libc::LOCK_NB)) {
            Ok(()) => {
                drop(Locked(&self.file));
                Ok(())
            }
            Err(Errno::EWOULDBLOCK) => Ok(()), // somebody else has locked it
            Err(errno) => Err(no_locks(errno)),
        }
    }

    /// Appends `bytes` as one piece: under the exclusive lock, and all or nothing.
    ///
    /// `SIGTERM` ends the wait for the lock. It may come just before that wait, so whoever sends
    /// it repeats it, as the daemon does.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        loop {
            self.lock()?;
            match self.successor() {
                None => {
                    let appended = self.append_locked(bytes);
                    drop(Locked(&self.file));
                    return appended.map_err(AppendError::Io);
                }
                // It has the log's name now.
                Some(file) => {
                    drop(Locked(&self.file));
                    self.change_to(file)?;
                }
            }
        }
    }

    fn lock(&self) -> Result<(), AppendError> {
        // Mostly nobody holds it, and then no signal needs to end a wait.
        match flock(&self.file, libc::LOCK_EX | libc::LOCK_NB) {
            Ok(()) => return Ok(()),
            Err(Errno::EWOULDBLOCK | Errno::EINTR) => {}
            Err(errno) => return Err(AppendError::Io(errno.into())),
        }
        signals::with_open(nix::sys::signal::Signal::SIGTERM, || {
            loop {
                match flock(&self.file, libc::LOCK_EX) {
                    Err(Errno::EINTR) if signals::terminating() => {
                        return Err(AppendError::Terminated);
                    }
                    Err(Errno::EINTR) => {}
                    other => return other.map_err(|errno| AppendError::Io(errno.into())),
                }
            }
        })
    }

    /// The new file that has taken the log's name, opened. None while the name is this file's, or
    /// while there is no file of that name and none can be made: then the chat goes on in the file
    /// that is open.
    fn successor(&self) -> Option<File> {
        if self.is_current() { None } else { open_file(&self.path, true).ok() }
    }

    fn is_current(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|by_name| identity(&by_name) == self.identity)
    }

    fn change_to(&mut self, file: File) -> io::Result<()> {
        self.identity = identity(&file.metadata()?);
        self.file = file;
        Ok(())
    }

    /// Where the last `lines` lines begin, in bytes from the file's start. A last line without its
    /// newline counts as one.
    pub(crate) fn start_of_last_lines(&self, lines: usize) -> io::Result<u64> {
        let _locked = self.lock_shared()?;
        let end = self.file.metadata()?.len();
        if lines == 0 {
            return Ok(end);
        }
        let mut buffer = vec![0; CHUNK];
        let mut newlines = 0;
        let mut upper = end;
        while upper > 0 {
            let lower = upper.saturating_sub(CHUNK as u64);
            // At most CHUNK, so the width of usize does not matter.
            let piece = &mut buffer[..(upper - lower) as usize];
            self.file.read_exact_at(piece, lower)?;
            for (at, byte) in piece.iter().enumerate().rev() {
                let position = lower + at as u64;
                // The newline that ends the file ends the last line, it doesn't begin another.
                if *byte == b'\n' && position + 1 != end {
                    newlines += 1;
                    if newlines == lines {
                        return Ok(position + 1);
                    }
                }
            }
            upper = lower;
        }
        Ok(0)
    }

    /// Reads what stands at `position` into `buffer` under the shared lock, which is free again
    /// when this returns. Returns how much that is, 0 at the end. A file that became shorter than
    /// `position` is read from its start.
    pub(crate) fn read(&self, buffer: &mut [u8], position: &mut u64) -> io::Result<usize> {
        let _locked = self.lock_shared()?;
        let mut count = read_at(&self.file, buffer, *position)?;
        if count == 0 && *position > 0 && self.file.metadata()?.len() < *position {
            *position = 0;
            count = read_at(&self.file, buffer, 0)?;
        }
        *position += count as u64;
        Ok(count)
    }

    /// Changes to the file that has taken the log's name, if there is one. To be called at the end
    /// of the present one: `finish` reads what a writer added to it before that writer saw the
    /// change.
    pub(crate) fn follow<E: From<io::Error>>(
        &mut self,
        position: &mut u64,
        mut finish: impl FnMut(&Self, &mut u64) -> Result<(), E>,
    ) -> Result<bool, E> {
        if self.is_current() {
            return Ok(false);
        }
        let Ok(next) = open_file(&self.path, false) else { return Ok(false) };
        finish(self, position)?;
        self.change_to(next)?;
        *position = 0;
        Ok(true)
    }

    fn lock_shared(&self) -> io::Result<Locked<'_>> {
        signals::retry(|| flock(&self.file, libc::LOCK_SH))?;
        Ok(Locked(&self.file))
    }
}

/// A lock that is held, until dropped.
struct Locked<'a>(&'a File);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Unlocking what is locked cannot fail (flock(2) lists no such error).
        let _ = flock(self.0, libc::LOCK_UN);
    }
}

fn flock(file: &File, operation: libc::c_int) -> nix::Result<()> {
    // SAFETY: a descriptor that is open and an integer.
    Errno::result(unsafe { libc::flock(file.as_raw_fd(), operation) }).map(drop)
}

/// The error of a file that cannot be locked.
pub(crate) fn no_locks(errno: Errno) -> io::Error {
    io::Error::other(format!("its file system has no locks: {}", errno.desc()))
}

fn open_file(path: &Path, create: bool) -> io::Result<File> {
    // O_NONBLOCK: a FIFO in the log's place must not hold the start up. O_NOFOLLOW: the log is
    // created with the server's rights, so where it is may not be someone else's choice.
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(create)
        .mode(MODE)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            // Linux and POSIX say ELOOP, FreeBSD EMLINK (its open(2), O_NOFOLLOW).
            Some(libc::ELOOP | libc::EMLINK) => io::Error::new(
                ErrorKind::InvalidInput,
                "it is a symbolic link; name the file itself",
            ),
            Some(libc::ENXIO) => io::Error::new(ErrorKind::InvalidInput, NOT_REGULAR),
            _ => error,
        })?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, NOT_REGULAR));
    }
    Ok(file)
}

const NOT_REGULAR: &str = "it is not a regular file";

fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, position) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Writes all of `bytes` at the end, or nothing: after an error (no space, file too large) what
/// was written is cut off again. The caller holds the exclusive lock.
fn write_whole(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        let error = match file.write(&bytes[written..]) {
            Ok(0) => ErrorKind::WriteZero.into(),
            Ok(count) => {
                written += count;
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        // Cutting needs no space; if even that fails, the first error says more.
        let _ = file.metadata().and_then(|now| file.set_len(now.len() - written as u64));
        return Err(error);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn log_with(content: &[u8]) -> (tempfile::TempDir, ChatLog) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, content).unwrap();
        let log = ChatLog::open(&path).unwrap();
        (dir, log)
    }

    #[rstest]
    #[case("", 7, 0)]
    #[case("a\n", 7, 0)]
    #[case("a\nb\nc\n", 2, 2)]
    #[case("a\nb\nc", 2, 2)]
    #[case("a\nb\nc\n", 3, 0)]
    #[case("a\nb\nc\n", 0, 6)]
    #[case("\n\n\n", 1, 2)]
    #[case("\n", 1, 0)]
    fn last_lines(#[case] content: &str, #[case] lines: usize, #[case] start: u64) {
        let (_dir, log) = log_with(content.as_bytes());
        assert_eq!(log.start_of_last_lines(lines).unwrap(), start);
    }

    #[test]
    fn last_lines_across_chunks() {
        let mut content = vec![b'x'; 3 * CHUNK];
        content[CHUNK - 1] = b'\n';
        content[2 * CHUNK] = b'\n';
        content.push(b'\n');
        let (_dir, log) = log_with(&content);
        assert_eq!(log.start_of_last_lines(1).unwrap(), 2 * CHUNK as u64 + 1);
        assert_eq!(log.start_of_last_lines(2).unwrap(), CHUNK as u64);
        assert_eq!(log.start_of_last_lines(3).unwrap(), 0);
    }

    #[test]
    fn an_append_follows_the_name() {
        let (dir, mut log) = log_with(b"old\n");
        std::fs::rename(dir.path().join("log"), dir.path().join("log.1")).unwrap();
        log.append(b"new\n").unwrap();
        assert_eq!(std::fs::read(dir.path().join("log")).unwrap(), b"new\n");
        assert_eq!(std::fs::read(dir.path().join("log.1")).unwrap(), b"old\n");
    }

    #[rstest]
    #[case::empty("", "b\n", "b\n")]
    #[case::whole("a\n", "b\n", "a\nb\n")]
    #[case::unfinished("a", "b\n", "a\nb\n")]
    #[case::unfinished_twice("a", "b", "a\nb")]
    fn nobody_goes_on_with_anothers_line(
        #[case] content: &str,
        #[case] appended: &str,
        #[case] result: &str,
    ) {
        let (dir, mut log) = log_with(content.as_bytes());
        log.append(appended.as_bytes()).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), result);
        // Its own line, though, until someone else has spoken.
        log.append(b"more").unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join("log")).unwrap(),
            format!("{result}more")
        );
        let mut other = ChatLog::open(&dir.path().join("log")).unwrap();
        other.append(b"other\n").unwrap();
        log.append(b"rest").unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join("log")).unwrap(),
            format!("{result}more\nother\nrest")
        );
    }

    #[test]
    fn a_reader_takes_the_old_end_before_the_new_file() {
        let (dir, mut log) = log_with(b"old\n");
        let mut position = 4;
        std::fs::rename(dir.path().join("log"), dir.path().join("log.1")).unwrap();
        std::fs::write(dir.path().join("log"), b"new\n").unwrap();
        let mut late = OpenOptions::new().append(true).open(dir.path().join("log.1")).unwrap();
        late.write_all(b"late\n").unwrap();
        let mut seen = Vec::new();
        let mut read = |log: &ChatLog, position: &mut u64| {
            let mut buffer = [0; 16];
            let count = log.read(&mut buffer, position)?;
            seen.extend_from_slice(&buffer[..count]);
            Ok::<(), io::Error>(())
        };
        assert!(log.follow(&mut position, &mut read).unwrap());
        read(&log, &mut position).unwrap();
        assert_eq!(seen, b"late\nnew\n");
    }

    #[test]
    fn a_shortened_log_is_read_from_its_start() {
        let (dir, log) = log_with(b"a long line\n");
        let mut position = 12;
        std::fs::write(dir.path().join("log"), b"new\n").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(log.read(&mut buffer, &mut position).unwrap(), 4);
        assert_eq!((&buffer[..4], position), (&b"new\n"[..], 4));
    }
}
