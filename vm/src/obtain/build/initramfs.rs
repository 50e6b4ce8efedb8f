//! Writes an initramfs, member by member.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::platform;

/// An initramfs: cpio's format newc (Linux, Documentation/driver-api/early-userspace), all root's.
pub(super) struct Initramfs<'a> {
    to: BufWriter<File>,
    path: &'a Path,
    inode: u32,
}

impl<'a> Initramfs<'a> {
    pub(super) fn create(path: &'a Path) -> Result<Self> {
        let file = File::create(path).map_err(|error| Error::io("write", path, error))?;
        Ok(Self { to: BufWriter::new(file), path, inode: 0 })
    }

    fn member(
        &mut self,
        name: &str,
        mode: u32,
        kind: cpio::newc::ModeFileType,
        content: &[u8],
    ) -> Result<()> {
        self.inode += 1;
        let length = u32::try_from(content.len()).map_err(|_| {
            Error::io("write", self.path, std::io::Error::other("a member of 4 GiB"))
        })?;
        let builder =
            cpio::newc::Builder::new(name).ino(self.inode).mode(mode).set_mode_file_type(kind);
        let mut writer = builder.write(&mut self.to, length);
        writer
            .write_all(content)
            .and_then(|()| writer.finish().map(drop))
            .map_err(|error| Error::io("write", self.path, error))
    }

    pub(super) fn directory(&mut self, name: &str, mode: u32) -> Result<()> {
        self.member(name, mode, cpio::newc::ModeFileType::Directory, &[])
    }

    pub(super) fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.member(name, mode, cpio::newc::ModeFileType::Regular, content)
    }

    pub(super) fn link(&mut self, name: &str, to: &str) -> Result<()> {
        self.member(name, 0o777, cpio::newc::ModeFileType::Symlink, to.as_bytes())
    }

    pub(super) fn copy(&mut self, name: &str, mode: u32, from: &Path) -> Result<()> {
        let content = platform::read(from)?;
        self.file(name, mode, &content)
    }

    pub(super) fn finish(mut self) -> Result<()> {
        cpio::newc::trailer(&mut self.to)
            .and_then(|to| to.flush())
            .map_err(|error| Error::io("write", self.path, error))
    }
}
