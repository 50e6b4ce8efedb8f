//! The pid file and the ready file: small files in directories that others may write to, written by
//! root perhaps. No link in their place, or in that of a temporary file, is ever followed.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use settings::{StartError, reason};

/// Names tried for the temporary file. Each is as good as unique.
const TRIES: usize = 8;

/// Writes a small file in one step: whoever reads it sees all of it or none.
pub(super) fn write(path: &Path, what: &str, content: &str) -> Result<(), StartError> {
    let cannot = |error: io::Error| {
        StartError::failure(format!(
            "{what} {}: cannot be written: {}",
            path.display(),
            reason(&error)
        ))
    };
    let (temporary, mut file) = create_beside(path).map_err(cannot)?;
    // A rename takes the place of a link, not of what it points to.
    file.write_all(content.as_bytes()).and_then(|()| std::fs::rename(&temporary, path)).map_err(
        |error| {
            let _ = std::fs::remove_file(&temporary);
            cannot(error)
        },
    )
}

/// Creates a file with a name that nobody can have guessed, in the directory of `path`.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut tries = 1;
    loop {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{:016x}", u64::from_ne_bytes(random)));
        // O_EXCL, which follows no link.
        match OpenOptions::new().write(true).create_new(true).mode(0o644).open(&name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < TRIES => tries += 1,
            created => return Ok((name.into(), created?)),
        }
    }
}

/// Removes the pid file at `path`, if it is this process's: another server may have written its
/// own there since, and anybody may have put something else there.
pub(super) fn remove_own_pid(path: &Path) {
    if names_this_process(path).unwrap_or(false) {
        let _ = std::fs::remove_file(path);
    }
}

fn names_this_process(path: &Path) -> io::Result<bool> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    let mut text = String::new();
    file.take(32).read_to_string(&mut text)?;
    Ok(text.trim_end() == std::process::id().to_string())
}
