//! Files that a command writes: known to be writable before the work begins, and there only when
//! they are whole.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A file to be written: a temporary file beside it, renamed at the end.
pub struct Destination {
    path: PathBuf,
    file: tempfile::NamedTempFile,
}

impl Destination {
    /// Sees that `path` can be written, and leaves it as it is until [`Destination::keep`].
    pub fn open(path: &Path) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
        if path.is_dir() {
            return Err(format!("cannot write {}: it is a directory", path.display()));
        }
        if path.exists() {
            if !path.is_file() {
                // The renamed file would stand in the place of a device or a FIFO.
                return Err(format!("cannot write {}: it is no ordinary file", path.display()));
            }
            // Opened without truncation, only to see that it can be.
            std::fs::OpenOptions::new().append(true).open(path).map_err(cannot)?;
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".forkproof-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(parent)
            .map_err(|error| {
                // tempfile's error names its own file, which nobody asked for.
                let why = error.get_ref().and_then(|e| e.source()).map(ToString::to_string);
                format!(
                    "cannot write {}: {}",
                    path.display(),
                    why.unwrap_or_else(|| error.to_string())
                )
            })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes the text where nobody looks yet: of several files, all are filled before the first
    /// is kept.
    pub fn fill(&mut self, text: &str) -> Result<(), String> {
        self.file
            .write_all(text.as_bytes())
            .map_err(|error| format!("cannot write {}: {error}", self.path.display()))
    }

    /// Puts the file in its place.
    pub fn keep(self) -> Result<(), String> {
        self.file
            .persist(&self.path)
            .map(drop)
            .map_err(|error| format!("cannot write {}: {}", self.path.display(), error.error))
    }

    /// [`Destination::fill`] and [`Destination::keep`].
    pub fn write(mut self, text: &str) -> Result<(), String> {
        self.fill(text)?;
        self.keep()
    }
}
