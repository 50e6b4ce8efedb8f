//! The directory of images, and what a machine is started from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::disk;
use crate::catalogue::{DiskFormat, Image, Kind, Source};
use crate::error::{Error, Result};
use crate::platform::{self, Lock};

/// The file of digests; an image without it is not there.
pub(super) const SEAL: &str = "digests.toml";

/// The name of a disk that is there.
const DISKS: [(&str, DiskFormat); 2] =
    [("disk.qcow2", DiskFormat::Qcow2), ("disk.raw", DiskFormat::Raw)];

/// What a machine is started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Files {
    /// A disk to boot from.
    Disk {
        /// Never to be written to: machines write to an overlay.
        path: PathBuf,
        /// Its format.
        format: DiskFormat,
    },
    /// A kernel that QEMU starts itself.
    Kernel {
        /// The kernel.
        kernel: PathBuf,
        /// Its initramfs.
        initrd: PathBuf,
        /// The disk with the system, if that isn't the initramfs alone. Never to be written to.
        root: Option<(PathBuf, DiskFormat)>,
    },
}

impl Files {
    /// How many bytes they take.
    pub(crate) fn size(&self) -> u64 {
        let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
        match self {
            Self::Disk { path, .. } => size(path),
            Self::Kernel { kernel, initrd, root } => {
                let root = root.as_ref().map_or(0, |(path, _)| size(path));
                size(kernel) + size(initrd) + root
            }
        }
    }
}

/// The cache of one user.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// The right to change an image's directory, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct ImageLock {
    _file: Lock,
    dir: PathBuf,
}

impl Cache {
    /// The user's: below `$XDG_CACHE_HOME`, or `~/.cache`.
    pub(crate) fn open() -> Result<Self> {
        let base = settings::base_directory("XDG_CACHE_HOME", ".cache").ok_or_else(|| {
            Error::Usage("no place for images: neither XDG_CACHE_HOME nor HOME is set".into())
        })?;
        Self::at(&base.join("forkproof/images"))
    }

    /// In this directory, which is made, for this user alone, if it is not there.
    pub(crate) fn at(root: &Path) -> Result<Self> {
        platform::make_private(root)?;
        platform::require_own_directory(root)?;
        // One that is there and cannot be read is told now, not as an image that is missing.
        fs::read_dir(root).map_err(|error| Error::io("read", root, error))?;
        Ok(Self { root: root.to_owned() })
    }

    /// Where everything is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where this image is, or would be.
    pub(crate) fn dir(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// What is there to start this image from; nothing while it is being made.
    pub(crate) fn find(&self, image: &Image) -> Option<Files> {
        let dir = self.dir(&image.id);
        let sealed = || dir.join(SEAL).is_file();
        match &image.source {
            Source::File(path) => {
                let format = disk::own_disk(path).ok()?;
                Some(Files::Disk { path: path.clone(), format })
            }
            Source::Built(built) => {
                let (kernel, initrd) = (dir.join("kernel"), dir.join("initrd"));
                let root = disk_of(&dir);
                let whole = sealed()
                    && kernel.is_file()
                    && initrd.is_file()
                    && (built.kind == Kind::Tiny || root.is_some());
                whole.then_some(Files::Kernel { kernel, initrd, root })
            }
            Source::Download(_) => {
                let (path, format) = disk_of(&dir).filter(|_| sealed())?;
                Some(Files::Disk { path, format })
            }
        }
    }

    /// Takes the image's lock. While another process has it, `waiting` is called once, and this
    /// waits: afterwards, look again whether the image is there.
    pub(crate) fn lock(&self, id: &str, waiting: impl FnOnce()) -> Result<ImageLock> {
        let dir = self.dir(id);
        platform::make_private(&dir)?;
        platform::require_own_directory(&dir)?;
        Ok(ImageLock { _file: platform::lock(&dir.join("lock"), waiting)?, dir })
    }
}

impl ImageLock {
    /// The image's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives a whole file its final name, in the same directory, after it has reached the disk. Nobody
    /// else may write to it then, whatever the tools that made it thought of that.
    pub(crate) fn publish(&self, part: &Path, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        let file = File::open(part).map_err(|error| Error::io("open", part, error))?;
        platform::close_to_others(&file).map_err(|error| Error::io("change", part, error))?;
        file.sync_all().map_err(|error| Error::io("write", part, error))?;
        fs::rename(part, &path).map_err(|error| Error::io("rename", part, error))?;
        platform::sync_directory(&self.dir)?;
        Ok(path)
    }
}

/// The disk of an image's directory.
fn disk_of(dir: &Path) -> Option<(PathBuf, DiskFormat)> {
    DISKS.iter().map(|(name, format)| (dir.join(name), *format)).find(|(path, _)| path.is_file())
}
