//! Small files for others: the process id, the real addresses.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use settings::{StartError, reason};

/// Writes a small file in one step: whoever reads it sees all of it or none. A link in its place
/// is replaced, never followed.
pub(crate) fn write_file(path: &Path, what: &str, content: &str) -> Result<(), StartError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = Path::new(&temporary);
    // Everyone may read it, and nobody else write to it, whatever the umask is.
    let create = || -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o644).open(temporary)
    };
    let written = (|| {
        let mut file = create().or_else(|error| {
            // Of an earlier process with this id that was killed.
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            std::fs::remove_file(temporary)?;
            create()
        })?;
        file.write_all(content.as_bytes())?;
        std::fs::rename(temporary, path)
    })();
    written.map_err(|error| {
        let _ = std::fs::remove_file(temporary);
        let why = reason(&error);
        StartError::failure(format!("{what} {}: cannot be written: {why}", path.display()))
    })
}

/// Writes this process's id to `path`.
pub(crate) fn write_pid(path: &Path) -> Result<(), StartError> {
    write_file(path, "pid file", &format!("{}\n", std::process::id()))
}

/// Removes the pid file, unless another server has written its own there since.
pub(crate) fn remove_pid(path: &Path) {
    let ours = std::fs::read_to_string(path)
        .is_ok_and(|text| text.trim_end() == std::process::id().to_string());
    if ours {
        let _ = std::fs::remove_file(path);
    }
}
