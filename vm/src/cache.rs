//! The images on this host: one directory for each below `~/.cache/forkproof/images`.
//!
//! ```text
//! lock.toml              what was used: URL, digest, date, size
//! ID/lock                held (flock) by whoever fetches or builds; the kernel frees it
//! ID/disk.qcow2          or disk.raw, or kernel and initrd: whole, verified, never written to
//! ID/download.part       a download that can be resumed, with download.toml beside it
//! ID/*.part              something else on its way to its final name
//! ```
//!
//! A name without `.part` is given by renaming, after the file has reached the disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::catalogue::{DiskFormat, Image, Kind, Source};
use crate::error::{Error, Result};

/// The name of a disk that is there.
const DISKS: [(&str, DiskFormat); 2] =
    [("disk.qcow2", DiskFormat::Qcow2), ("disk.raw", DiskFormat::Raw)];

/// What a machine is started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
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
    },
}

impl Files {
    /// How many bytes they take.
    pub fn size(&self) -> u64 {
        let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
        match self {
            Self::Disk { path, .. } => size(path),
            Self::Kernel { kernel, initrd } => size(kernel) + size(initrd),
        }
    }
}

/// The cache of one user.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// The right to change an image's directory, until it is dropped or the process ends.
#[derive(Debug)]
pub struct ImageLock {
    _file: Flock<File>,
    dir: PathBuf,
}

impl Cache {
    /// The user's: below `$XDG_CACHE_HOME`, or `~/.cache`.
    pub fn open() -> Result<Self> {
        let base = xdg("XDG_CACHE_HOME", ".cache").ok_or_else(|| {
            Error::Usage("no place for images: neither XDG_CACHE_HOME nor HOME is set".into())
        })?;
        Self::at(&base.join("forkproof/images"))
    }

    /// In this directory, which is made, for this user alone, if it is not there.
    pub fn at(root: &Path) -> Result<Self> {
        private_directory(root)?;
        Ok(Self { root: root.to_owned() })
    }

    /// Where everything is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where this image is, or would be.
    pub fn dir(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// What is there to start this image from; nothing while it is being made.
    pub fn find(&self, image: &Image) -> Option<Files> {
        let dir = self.dir(&image.id);
        match &image.source {
            Source::File(path) => path.is_file().then(|| Files::Disk {
                path: path.clone(),
                format: if path.extension().is_some_and(|extension| extension == "qcow2") {
                    DiskFormat::Qcow2
                } else {
                    DiskFormat::Raw
                },
            }),
            Source::Built(built) if built.kind == Kind::Tiny => {
                let (kernel, initrd) = (dir.join("kernel"), dir.join("initrd"));
                (kernel.is_file() && initrd.is_file()).then_some(Files::Kernel { kernel, initrd })
            }
            Source::Built(_) | Source::Download(_) => DISKS
                .iter()
                .map(|(name, format)| (dir.join(name), *format))
                .find_map(|(path, format)| path.is_file().then_some(Files::Disk { path, format })),
        }
    }

    /// Takes the image's lock. While another process has it, `waiting` is called once, and this
    /// waits: afterwards, look again whether the image is there.
    pub fn lock(&self, id: &str, waiting: impl FnOnce()) -> Result<ImageLock> {
        let dir = self.dir(id);
        private_directory(&dir)?;
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| Error::io("open", &path, error))?;
        let failed = |errno: Errno| Error::io("lock", &path, errno.into());
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((file, Errno::EWOULDBLOCK)) => {
                waiting();
                Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno))?
            }
            Err((_, errno)) => return Err(failed(errno)),
        };
        Ok(ImageLock { _file: file, dir })
    }
}

impl ImageLock {
    /// The image's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives a whole file its final name, in the same directory, after it has reached the disk.
    pub fn publish(&self, part: &Path, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        let file = File::open(part).map_err(|error| Error::io("open", part, error))?;
        file.sync_all().map_err(|error| Error::io("write", part, error))?;
        fs::rename(part, &path).map_err(|error| Error::io("rename", part, error))?;
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| Error::io("write", &self.dir, error))?;
        Ok(path)
    }
}

/// A directory that only this user can enter, made with its parents.
fn private_directory(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::io("make the directory", path, error))
}

/// A base directory of the XDG specification, which FreeBSD's ports follow too; relative ones are
/// to be ignored, it says.
pub(crate) fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| {
        std::env::var_os("HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .map(|home| home.join(below_home))
    })
}
