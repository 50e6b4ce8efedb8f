//! The key file.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Exit, Failure};
use settings::reason;

/// The length of every key, in bytes.
pub(super) const LENGTH: usize = 128;

/// More of a file is not read: enough to say how much too long it is, if it is near.
const LIMIT: usize = 64 * 1024;

/// A key. It has no `Debug` and no `Display`, so that no message can hold it by mistake.
pub(super) struct Key {
    bytes: [u8; LENGTH],
    warning: Option<String>,
}

impl Key {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::new(
                Exit::Usage,
                format!(
                    "{}: the key file cannot be read: {}; name the right one with --key-file FILE",
                    path.display(),
                    reason(&error)
                ),
            )
        };
        let file = File::open(path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        let mut bytes = Vec::new();
        file.take(LIMIT as u64).read_to_end(&mut bytes).map_err(cannot)?;

        let mode = metadata.permissions().mode() & 0o777;
        // A pipe or a socket from process substitution is nobody else's, whatever its mode.
        let warning = (metadata.is_file() && mode & 0o044 != 0).then(|| {
            format!(
                "{path}: other users can read the key (mode {mode:04o}): `chmod 600 {path}`",
                path = path.display()
            )
        });
        match bytes.as_slice().try_into() {
            Ok(bytes) => Ok(Self { bytes, warning }),
            Err(_) => {
                Err(Failure::new(Exit::Usage, format!("{}: {}", path.display(), misfit(&bytes))))
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8; LENGTH] {
        &self.bytes
    }

    /// What to tell the user about the file, though it serves.
    pub(super) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}

/// Says why `bytes` are no key, without showing any of them.
fn misfit(bytes: &[u8]) -> String {
    let fix = "write it with `printf %s KEY > FILE`";
    match bytes {
        [] => format!("the key file is empty; a key is exactly {LENGTH} bytes: {fix}"),
        [key @ .., b'\r', b'\n'] | [key @ .., b'\n'] if key.len() == LENGTH => format!(
            "the key is followed by a line break; the file must hold the {LENGTH} bytes of the \
             key and nothing else: {fix}, which adds none"
        ),
        _ if bytes.len() == LIMIT => {
            format!("this is no key file: {LIMIT} bytes or more, where a key is exactly {LENGTH}")
        }
        _ => format!(
            "the key file has {} bytes; a key is exactly {LENGTH} bytes: {fix}",
            bytes.len()
        ),
    }
}
