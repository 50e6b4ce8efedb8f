//! Files that a command writes: known to be writable before the work begins, and there only when
//! they are whole.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::private;

/// A file to be written: a temporary file beside it, renamed at the end.
pub struct Destination {
    path: PathBuf,
    file: Option<tempfile::NamedTempFile>,
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
        let parent = parent_of(path);
        private::tidy(parent, private::PART);
        // Gone again at once: for as long as the work takes, nothing lies there.
        private::beside(parent).map_err(|error| {
            // tempfile's error names its own file, which nobody asked for.
            let why = error.get_ref().and_then(|e| e.source()).map(ToString::to_string);
            format!("cannot write {}: {}", path.display(), why.unwrap_or_else(|| error.to_string()))
        })?;
        Ok(Self { path: path.to_owned(), file: None })
    }

    /// Writes the text where nobody looks yet: of several files, all are filled before the first
    /// is kept.
    pub fn fill(&mut self, text: &str) -> Result<(), String> {
        let mut file =
            private::beside(parent_of(&self.path)).map_err(|error| self.cannot(&error))?;
        told_of_limits(|| file.write_all(text.as_bytes())).map_err(|error| self.cannot(&error))?;
        self.file = Some(file);
        Ok(())
    }

    /// Puts the file in its place.
    pub fn keep(mut self) -> Result<(), String> {
        let Some(file) = self.file.take() else { return Ok(()) };
        file.persist(&self.path).map(drop).map_err(|error| self.cannot(&error.error))
    }

    fn cannot(&self, error: &std::io::Error) -> String {
        format!("cannot write {}: {error}", self.path.display())
    }

    /// [`Destination::fill`] and [`Destination::keep`].
    pub fn write(mut self, text: &str) -> Result<(), String> {
        self.fill(text)?;
        self.keep()
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Does `write` so that a limit of file sizes is an error, and not the end of this program.
fn told_of_limits<T>(write: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: no handler is installed.
    let before = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
    let written = write();
    // SAFETY: what was there before.
    unsafe { signal(Signal::SIGXFSZ, before) }?;
    written
}
