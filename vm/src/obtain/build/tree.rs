//! The files of unpacked packages.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Every file below a directory, in order.
pub(super) fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let cannot = |error| Error::io("read", &dir, error);
        for entry in fs::read_dir(&dir).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            if entry.file_type().map_err(cannot)?.is_dir() {
                dirs.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The files of unpacked packages: where they are differs between Debian's releases.
pub(super) struct Tree {
    root: PathBuf,
    pub(super) files: Vec<PathBuf>,
}

impl Tree {
    pub(super) fn of(root: &Path) -> Result<Self> {
        Ok(Self { root: root.to_owned(), files: files_below(root)? })
    }

    /// The regular file of this name; links may lead out of the tree.
    pub(super) fn named(&self, name: &str) -> Option<&Path> {
        self.files
            .iter()
            .find(|path| {
                path.file_name().is_some_and(|there| there == name)
                    && path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
            })
            .map(PathBuf::as_path)
    }

    pub(super) fn starting_with(&self, start: &str) -> Option<&Path> {
        let start = self.root.join(start);
        let start = start.as_os_str().as_encoded_bytes();
        self.files
            .iter()
            .find(|path| path.as_os_str().as_encoded_bytes().starts_with(start))
            .map(PathBuf::as_path)
    }
}
