//! From a published file to a disk, by xz(1) and bsdtar(1).
//!
//! What comes out is written to a `.part` beside its final name. Blocks of zeros become holes: a raw
//! disk of many GiB takes what is used of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use super::archive::{self, first_words};
use crate::cache::inspect;
use crate::catalogue::{DiskFormat, Format};
use crate::error::{Error, Result};
use crate::platform;

/// No disk is larger, bytes: what is compressed may say anything.
const LARGEST: u64 = 1 << 40;

/// Writes the disk that is in `file` to `part`, and says its format. Whatever fails, `part` is gone
/// afterwards. `progress` is told how many bytes of `file` have been read since it was told last.
pub(super) fn unpack(
    id: &str,
    file: &Path,
    format: Format,
    part: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<DiskFormat> {
    let result = unpacked(id, file, format, part, progress).and_then(|()| check(id, part, format));
    if result.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(part);
    }
    result
}

fn unpacked(
    id: &str,
    file: &Path,
    format: Format,
    part: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let damaged = |why| Error::Damaged { id: id.to_owned(), file: file.display().to_string(), why };
    let mut command = match format {
        Format::Qcow2 | Format::Raw => {
            return Err(Error::Usage(format!("image `{id}` is not compressed")));
        }
        Format::Qcow2Xz | Format::RawXz => xz()?,
        Format::TarXz | Format::SevenZ => archive::extraction(file, &damaged)?,
    };
    let cannot = |error| Error::io("read", file, error);
    let source = File::open(file).map_err(cannot)?;
    // The tool's descriptor and this one have their position in common.
    let mut position = source.try_clone().map_err(cannot)?;
    let (tool, mut output) = platform::start_tool(command.stdin(source))?;
    let mut told = 0;
    copy(&mut output, part, &mut |written| {
        platform::check()?;
        if written > LARGEST {
            return Err(damaged(format!("what is in it is larger than {LARGEST} bytes")));
        }
        let at = position.stream_position().unwrap_or(told);
        progress(at.saturating_sub(told));
        told = at.max(told);
        Ok(())
    })?;
    let said = tool.finish(&mut || Ok(()))?;
    if said.status.success() { Ok(()) } else { Err(damaged(first_words(&said.errors))) }
}

/// xz, which decompresses its standard input.
pub(super) fn xz() -> Result<Command> {
    let mut command = Command::new(platform::program("xz")?);
    command.args(["--decompress", "--stdout", "--format=xz"]);
    // Its errors are quoted, and nobody else's options count.
    command.env("LC_ALL", "C").env_remove("XZ_DEFAULTS").env_remove("XZ_OPT");
    Ok(command)
}

/// The checks that every disk passes.
pub(super) fn check(id: &str, file: &Path, format: Format) -> Result<DiskFormat> {
    let damaged = |why: &str| {
        Err(Error::Damaged { id: id.into(), file: file.display().to_string(), why: why.into() })
    };
    match (format, inspect(file).map_err(|error| Error::io("read", file, error))?) {
        (_, Err(why)) => damaged(&why),
        (Format::Qcow2 | Format::Qcow2Xz, Ok(DiskFormat::Raw)) => {
            damaged("it does not begin as a qcow2 disk does")
        }
        (Format::Raw | Format::RawXz, Ok(DiskFormat::Qcow2)) => {
            damaged("it is a qcow2 disk, not a raw one")
        }
        (_, Ok(found)) => Ok(found),
    }
}

/// Copies to the end; `watch` hears after each block how much that was so far.
fn copy(from: &mut impl Read, to: &Path, watch: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
    let unwritten = |error| Error::io("write", to, error);
    let mut disk = SparseFile::create(to).map_err(unwritten)?;
    let mut block = vec![0; SparseFile::BLOCK];
    loop {
        watch(disk.length)?;
        let mut filled = 0;
        while filled < block.len() {
            match from.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("unpack to", to, error)),
            }
        }
        disk.append(&block[..filled]).map_err(unwritten)?;
        if filled < block.len() {
            return disk.finish().map_err(unwritten);
        }
    }
}

/// A file in which blocks of zeros are holes.
struct SparseFile {
    file: File,
    length: u64,
}

impl SparseFile {
    const BLOCK: usize = 64 * 1024;

    fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
        Ok(Self { file, length: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.iter().any(|&byte| byte != 0) {
            self.file.seek(SeekFrom::Start(self.length))?;
            self.file.write_all(bytes)?;
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// A hole at the end has no bytes to show for it until the length is set.
    fn finish(self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_become_holes_and_the_length_stays() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("disk");
        let mut bytes = vec![0; 4 << 20];
        bytes[1 << 20] = 1;
        copy(&mut bytes.as_slice(), &path, &mut |_| Ok(())).expect("copied");
        assert!(std::fs::read(&path).expect("read") == bytes);
        let taken = path.metadata().expect("there").blocks() * 512;
        assert!(taken < 1 << 20, "{taken} bytes are taken by one block of 64 KiB");
    }
}
