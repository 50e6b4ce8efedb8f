//! Files that a command writes: known to be writable before the work begins, and there only when
//! they are whole.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::private;

/// A file to be written: a temporary file beside it, renamed at the end; or standard output.
pub struct Destination {
    path: PathBuf,
    place: Place,
}

enum Place {
    Beside(Option<tempfile::NamedTempFile>),
    /// Printed when it is whole.
    Output(String),
}

/// Whether `path` stands for standard output.
pub fn is_output(path: &Path) -> bool {
    path == Path::new("-")
}

impl Destination {
    /// Sees that `path` can be written, and leaves it as it is until [`Destination::keep`].
    /// `-` is standard output.
    pub fn open(path: &Path) -> Result<Self, String> {
        if is_output(path) {
            return Ok(Self { path: path.to_owned(), place: Place::Output(String::new()) });
        }
        let cannot = |error: std::io::Error| cannot_write(path, &error);
        if path.is_dir() {
            return Err(format!("cannot write {}: it is a directory", path.display()));
        }
        if path.exists() {
            if !path.is_file() {
                // The renamed file would stand in the place of a device or a FIFO.
                return Err(format!("cannot write {}: it is not a regular file", path.display()));
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
        Ok(Self { path: path.to_owned(), place: Place::Beside(None) })
    }

    /// Opens several that a command writes: each a file of its own, and none of those that it reads.
    pub fn open_all<'a>(
        outputs: impl IntoIterator<Item = &'a Path>,
        read: &[&Path],
    ) -> Result<Vec<Self>, String> {
        let mut known: Vec<&Path> = Vec::new();
        let mut destinations = Vec::new();
        for path in outputs {
            if known.iter().any(|other| same(path, other)) {
                return Err(format!("cannot write two outputs to {}", path.display()));
            }
            if let Some(input) = read.iter().find(|input| !is_output(path) && same(path, input)) {
                return Err(format!("cannot write {}: it is read, too", input.display()));
            }
            known.push(path);
            destinations.push(Self::open(path)?);
        }
        Ok(destinations)
    }

    /// Writes the text where nobody looks yet: of several files, all are filled before the first
    /// is kept.
    pub fn fill(&mut self, text: &str) -> Result<(), String> {
        match &mut self.place {
            Place::Output(whole) => whole.push_str(text),
            Place::Beside(file) => {
                let cannot = |error: std::io::Error| cannot_write(&self.path, &error);
                let mut fresh = private::beside(parent_of(&self.path)).map_err(cannot)?;
                told_of_limits(|| fresh.write_all(text.as_bytes())).map_err(cannot)?;
                *file = Some(fresh);
            }
        }
        Ok(())
    }

    /// Puts the file in its place.
    pub fn keep(self) -> Result<(), String> {
        match self.place {
            // As it is, without anything stripped: it is for a program.
            Place::Output(text) => match std::io::stdout().write_all(text.as_bytes()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    Err(format!("cannot write standard output: {error}"))
                }
                _ => Ok(()),
            },
            Place::Beside(None) => Ok(()),
            Place::Beside(Some(file)) => file
                .persist(&self.path)
                .map(drop)
                .map_err(|error| cannot_write(&self.path, &error.error)),
        }
    }

    /// [`Destination::fill`] and [`Destination::keep`].
    pub fn write(mut self, text: &str) -> Result<(), String> {
        self.fill(text)?;
        self.keep()
    }
}

/// Makes a directory that files are to be written to, and those above it, where they are missing.
pub fn make_directory(path: &Path) -> Result<(), String> {
    std::fs::create_dir_all(path)
        .map_err(|error| format!("cannot make {}: {}", path.display(), settings::reason(&error)))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether both paths lead to the same file, which need not be there yet.
fn same(a: &Path, b: &Path) -> bool {
    let whole = |path: &Path| {
        path.canonicalize().ok().or_else(|| {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
            Some(parent.join(path.file_name()?))
        })
    };
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
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
