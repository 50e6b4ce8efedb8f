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

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::catalogue::{DiskFormat, Image, Kind, Source};
use crate::error::{Error, Result};
use crate::interrupt;

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
        /// The disk with the system, if that isn't the initramfs alone. Never to be written to.
        root: Option<(PathBuf, DiskFormat)>,
    },
}

impl Files {
    /// How many bytes they take.
    pub fn size(&self) -> u64 {
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
        // One that is there and cannot be read is told now, not as an image that is missing.
        fs::read_dir(root).map_err(|error| Error::io("read", root, error))?;
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
            Source::File(path) => {
                let format = crate::unpack::disk_format(path).ok()?;
                Some(Files::Disk { path: path.clone(), format })
            }
            Source::Built(built) => {
                let (kernel, initrd) = (dir.join("kernel"), dir.join("initrd"));
                let root = disk(&dir);
                let whole = kernel.is_file()
                    && initrd.is_file()
                    && (built.kind == Kind::Tiny || root.is_some());
                whole.then_some(Files::Kernel { kernel, initrd, root })
            }
            Source::Download(_) => {
                let (path, format) = disk(&dir)?;
                Some(Files::Disk { path, format })
            }
        }
    }

    /// Takes the image's lock. While another process has it, `waiting` is called once, and this
    /// waits: afterwards, look again whether the image is there.
    pub fn lock(&self, id: &str, waiting: impl FnOnce()) -> Result<ImageLock> {
        let dir = self.dir(id);
        private_directory(&dir)?;
        Ok(ImageLock { _file: flock(&dir.join("lock"), waiting)?, dir })
    }

    /// The file of records ([`Records`]).
    pub fn records_file(&self) -> PathBuf {
        self.root.join("lock.toml")
    }

    /// Records what an image was made from.
    pub fn record(&self, id: &str, record: Record) -> Result<()> {
        // Images are fetched side by side, and this file is one for all.
        let _lock = flock(&self.root.join("lock.toml.lock"), || ())?;
        let path = self.records_file();
        let mut records = Records::read(&path)?;
        records.images.insert(id.to_owned(), record);
        let text = toml::to_string(&records)
            .map_err(|error| Error::io("write", &path, std::io::Error::other(error)))?;
        let written = tempfile::NamedTempFile::new_in(&self.root).and_then(|mut file| {
            file.write_all(RECORDS_HEAD.as_bytes())?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        });
        written.map_err(|error| Error::io("write", &path, error))
    }
}

/// The disk of an image's directory.
fn disk(dir: &Path) -> Option<(PathBuf, DiskFormat)> {
    DISKS.iter().map(|(name, format)| (dir.join(name), *format)).find(|(path, _)| path.is_file())
}

const RECORDS_HEAD: &str = "\
# What was downloaded, written by forkproof. A copy of this file pins the images:
# `forkproof vm fetch --locked --lock-file COPY IMAGE` refuses anything else.
";

/// What was used: the contents of `lock.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// By the image's id.
    #[serde(default)]
    pub images: BTreeMap<String, Record>,
}

/// What one image was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What was downloaded.
    pub url: String,
    /// Its digest, which is the publisher's: `sha512:…`.
    pub digest: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// When, RFC 3339.
    pub date: String,
}

impl Records {
    /// Reads a file of records; one that is not there holds none.
    pub fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::io("read", path, error)),
        };
        toml::from_str(&text).map_err(|error| crate::catalogue::bad_toml(path, &text, &error))
    }
}

/// Takes an advisory lock. The file stays: removing it would let two processes lock two files of
/// one name.
fn flock(path: &Path, waiting: impl FnOnce()) -> Result<Flock<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| Error::io("open", path, error))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok(file),
        Err((mut file, Errno::EWOULDBLOCK)) => {
            waiting();
            loop {
                // Polled, because a wait in the kernel would lose a signal that comes just before
                // it: Ctrl-C must end this too.
                std::thread::sleep(Duration::from_millis(100));
                interrupt::check()?;
                match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                    Ok(file) => return Ok(file),
                    Err((again, Errno::EWOULDBLOCK)) => file = again,
                    Err((_, errno)) => return Err(Error::io("lock", path, errno.into())),
                }
            }
        }
        Err((_, errno)) => Err(Error::io("lock", path, errno.into())),
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
