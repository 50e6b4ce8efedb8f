//! From a published file to a disk: xz, tar, 7z, and what a disk must look like.
//!
//! What comes out is written to a `.part` beside its final name. Blocks of zeros become holes: a raw
//! disk of many GiB takes what is used of it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use lzma_rust2::XzReader;
use tar::EntryType;

use crate::catalogue::{DiskFormat, Format};
use crate::error::{Error, Result};
use crate::interrupt;

/// What QEMU's disks begin with.
const QCOW2_MAGIC: &[u8] = b"QFI\xfb";
/// How a disk's name ends, in an archive.
const DISK_NAMES: [&str; 3] = ["qcow2", "raw", "img"];

/// Writes the disk that is in `file` to `part`, and says its format. Whatever fails, `part` is gone
/// afterwards. `progress` is told how many bytes of `file` have been read since it was told last.
pub(crate) fn unpack(
    id: &str,
    file: &Path,
    format: Format,
    part: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<DiskFormat> {
    let result = unpacked(id, file, format, part, progress);
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
) -> Result<DiskFormat> {
    let damaged = |why: String| Error::Damaged { id: id.to_owned(), file: file.to_owned(), why };
    let source = File::open(file).map_err(|error| Error::io("read", file, error))?;
    let source = BufReader::new(Counting { inner: source, progress });
    let copied = match format {
        Format::Qcow2 | Format::Raw => {
            return Err(Error::Usage(format!("image `{id}` is not compressed")));
        }
        Format::Qcow2Xz | Format::RawXz => {
            SparseFile::create(part).and_then(|disk| copy(&mut xz(source), disk))
        }
        Format::TarXz => disk_of_tar(&mut xz(source), part),
        Format::SevenZ => disk_of_7z(source, part),
    };
    copied.map_err(|error| match error {
        Failure::Write(error) => Error::io("write", part, error),
        Failure::Read(error) if error.raw_os_error().is_some() => Error::io("read", file, error),
        Failure::Read(error) => damaged(error.to_string()),
        Failure::Content(why) => damaged(why),
        Failure::Interrupted => Error::Interrupted,
    })?;
    let found = check_disk(part).map_err(|error| match error {
        Failure::Content(why) => damaged(why),
        Failure::Read(error) | Failure::Write(error) => Error::io("read", part, error),
        Failure::Interrupted => Error::Interrupted,
    })?;
    match (format, found) {
        (Format::Qcow2Xz, DiskFormat::Raw) => {
            Err(damaged("what is in it does not begin as a qcow2 disk does".into()))
        }
        (Format::RawXz, DiskFormat::Qcow2) => {
            Err(damaged("what is in it is a qcow2 disk, not a raw one".into()))
        }
        _ => Ok(found),
    }
}

/// The checks that a disk passes which is not compressed.
pub(crate) fn check(id: &str, file: &Path, format: Format) -> Result<DiskFormat> {
    let damaged = |why: String| Error::Damaged { id: id.to_owned(), file: file.to_owned(), why };
    let found = check_disk(file).map_err(|failure| match failure {
        Failure::Content(why) => damaged(why),
        Failure::Read(error) | Failure::Write(error) => Error::io("read", file, error),
        Failure::Interrupted => Error::Interrupted,
    })?;
    match (format, found) {
        (Format::Qcow2, DiskFormat::Raw) => {
            Err(damaged("it does not begin as a qcow2 disk does".into()))
        }
        (Format::Raw, DiskFormat::Qcow2) => {
            Err(damaged("it is a qcow2 disk, not a raw one".into()))
        }
        _ => Ok(found),
    }
}

/// The format of a disk, by its first bytes.
pub(crate) fn disk_format(path: &Path) -> io::Result<DiskFormat> {
    let mut magic = Vec::new();
    File::open(path)?.take(QCOW2_MAGIC.len() as u64).read_to_end(&mut magic)?;
    Ok(if magic == QCOW2_MAGIC { DiskFormat::Qcow2 } else { DiskFormat::Raw })
}

/// Why a disk is not there.
#[derive(Debug)]
enum Failure {
    Read(io::Error),
    Write(io::Error),
    Content(String),
    Interrupted,
}

/// Concatenated streams are one file, says xz(1).
fn xz<R: Read>(source: R) -> XzReader<R> {
    XzReader::new(source, true)
}

/// The members of an archive, of which one must be a disk.
#[derive(Default)]
struct Members {
    disk: Option<String>,
    others: Vec<String>,
}

impl Members {
    /// Whether this file is the disk. Another one before, or a path that leads out, is an error.
    fn is_disk(&mut self, path: &Path) -> std::result::Result<bool, Failure> {
        let name = path.display().to_string();
        if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(Failure::Content(format!("it names `{name}`, outside of itself")));
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !extension.is_some_and(|extension| DISK_NAMES.contains(&extension)) {
            self.others.push(name);
            return Ok(false);
        }
        if let Some(first) = &self.disk {
            return Err(Failure::Content(format!("it holds two disks, `{first}` and `{name}`")));
        }
        self.disk = Some(name);
        Ok(true)
    }

    fn one_disk(self) -> std::result::Result<(), Failure> {
        if self.disk.is_some() {
            return Ok(());
        }
        let others =
            if self.others.is_empty() { "nothing".to_owned() } else { self.others.join(", ") };
        Err(Failure::Content(format!(
            "it holds no disk (a file that ends with .qcow2, .raw or .img), but {others}"
        )))
    }
}

/// Takes the one disk of an archive, and reads that to its end.
fn disk_of_tar(xz: &mut impl Read, part: &Path) -> std::result::Result<(), Failure> {
    let mut archive = tar::Archive::new(&mut *xz);
    let mut members = Members::default();
    for entry in archive.entries().map_err(Failure::Read)? {
        let mut entry = entry.map_err(Failure::Read)?;
        let path: PathBuf = entry.path().map_err(Failure::Read)?.into_owned();
        let kind = entry.header().entry_type();
        let file =
            matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse);
        if !file || !members.is_disk(&path)? {
            continue;
        }
        if pax_sparse(&mut entry) {
            return Err(Failure::Content(format!(
                "`{}` is stored in pax's sparse format, which is not supported: unpack it with \
                 tar, and use --image",
                path.display()
            )));
        }
        copy(&mut entry, SparseFile::create(part)?)?;
    }
    // What follows the archive's end belongs to the compressed file, whose checks are at its end.
    io::copy(xz, &mut io::sink()).map_err(Failure::Read)?;
    members.one_disk()
}

/// As [`disk_of_tar`]; here the names are known before the bytes.
fn disk_of_7z(source: impl Read + Seek, part: &Path) -> std::result::Result<(), Failure> {
    use sevenz_rust2::{ArchiveReader, Error, Password};
    let unreadable = |error: Error| match error {
        Error::Io(error, _) => Failure::Read(error),
        error => Failure::Content(error.to_string()),
    };
    let mut archive = ArchiveReader::new(source, Password::empty()).map_err(unreadable)?;
    let mut members = Members::default();
    for entry in archive.archive().files.iter().filter(|entry| !entry.is_directory()) {
        members.is_disk(Path::new(entry.name()))?;
    }
    let disk = members.disk.clone();
    members.one_disk()?;
    let mut failure = None;
    let walked = archive.for_each_entries(|entry, bytes| {
        // In a solid archive the next file begins where this one has been read to.
        let mut bytes = bytes;
        let result = if disk.as_deref() == Some(entry.name()) {
            SparseFile::create(part).and_then(|disk| copy(&mut bytes, disk))
        } else {
            io::copy(&mut bytes, &mut io::sink()).map(drop).map_err(Failure::Read)
        };
        failure = result.err();
        Ok(failure.is_none())
    });
    match failure {
        Some(failure) => Err(failure),
        None => walked.map_err(unreadable),
    }
}

/// Whether a member is condensed in a way that only its extended headers tell: taken as it is, it
/// would be a wrong disk.
fn pax_sparse<R: Read>(entry: &mut tar::Entry<'_, R>) -> bool {
    let Ok(Some(extensions)) = entry.pax_extensions() else { return false };
    extensions.flatten().any(|extension| extension.key_bytes().starts_with(b"GNU.sparse."))
}

fn copy(from: &mut impl Read, mut disk: SparseFile) -> std::result::Result<(), Failure> {
    let mut block = vec![0; SparseFile::BLOCK];
    loop {
        if interrupt::check().is_err() {
            return Err(Failure::Interrupted);
        }
        let mut filled = 0;
        while filled < block.len() {
            match from.read(&mut block[filled..]).map_err(Failure::Read)? {
                0 => break,
                n => filled += n,
            }
        }
        disk.append(&block[..filled]).map_err(Failure::Write)?;
        if filled < block.len() {
            return disk.finish().map_err(Failure::Write);
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

    fn create(path: &Path) -> std::result::Result<Self, Failure> {
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(path)
            .map_err(Failure::Write)?;
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

/// A disk is whole sectors, or a qcow2 that needs no other file.
fn check_disk(path: &Path) -> std::result::Result<DiskFormat, Failure> {
    const SECTOR: u64 = 512;
    let mut file = File::open(path).map_err(Failure::Read)?;
    let length = file.metadata().map_err(Failure::Read)?.len();
    // QEMU's docs/interop/qcow2.txt: version at 4, the backing file's offset at 8, incompatible
    // features at 72 from version 3 on, of which bit 2 is an external data file. All big-endian.
    let mut header = Vec::new();
    (&mut file).take(104).read_to_end(&mut header).map_err(Failure::Read)?;
    let number = |at: usize| -> u64 {
        header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
    };
    if !header.starts_with(QCOW2_MAGIC) {
        return if length > 0 && length % SECTOR == 0 {
            Ok(DiskFormat::Raw)
        } else {
            Err(Failure::Content(format!("{length} bytes are no disk of whole sectors")))
        };
    }
    let version = number(4) >> 32;
    if ![2, 3].contains(&version) || header.len() < 72 {
        return Err(Failure::Content(format!(
            "it is no qcow2 disk that QEMU reads: version {version}"
        )));
    }
    if number(8) != 0 {
        return Err(Failure::Content("it is a qcow2 disk that needs a backing file".into()));
    }
    if version == 3 && number(72) & 0b100 != 0 {
        return Err(Failure::Content("it is a qcow2 disk whose data are in another file".into()));
    }
    Ok(DiskFormat::Qcow2)
}

/// Tells what has been read.
struct Counting<'a, R> {
    inner: R,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        (self.progress)(n as u64);
        Ok(n)
    }
}

impl<R: Seek> Seek for Counting<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn qcow2(version: u32, backing: u64, incompatible: u64) -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..4].copy_from_slice(QCOW2_MAGIC);
        header[4..8].copy_from_slice(&version.to_be_bytes());
        header[8..16].copy_from_slice(&backing.to_be_bytes());
        header[72..80].copy_from_slice(&incompatible.to_be_bytes());
        header
    }

    #[rstest]
    #[case::raw(vec![0xeb; 1024], Ok(DiskFormat::Raw))]
    #[case::version_2(qcow2(2, 0, 0), Ok(DiskFormat::Qcow2))]
    #[case::version_3(qcow2(3, 0, 0b1), Ok(DiskFormat::Qcow2))]
    #[case::empty(vec![], Err("0 bytes"))]
    #[case::part_of_a_sector(vec![1; 513], Err("513 bytes"))]
    #[case::header_cut_off(qcow2(3, 0, 0)[..20].to_vec(), Err("no qcow2"))]
    #[case::unknown_version(qcow2(4, 0, 0), Err("version 4"))]
    #[case::backing_file(qcow2(3, 520, 0), Err("backing file"))]
    #[case::external_data(qcow2(3, 0, 0b100), Err("another file"))]
    fn what_a_disk_is(
        #[case] bytes: Vec<u8>,
        #[case] expected: std::result::Result<DiskFormat, &str>,
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("disk");
        std::fs::write(&path, bytes).expect("written");
        match (check_disk(&path), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(Failure::Content(why)), Err(words)) => assert!(why.contains(words), "{why}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn zeros_become_holes_and_the_length_stays() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("disk");
        let mut bytes = vec![0; 4 << 20];
        bytes[1 << 20] = 1;
        let disk = SparseFile::create(&path).expect("made");
        copy(&mut bytes.as_slice(), disk).expect("copied");
        assert!(std::fs::read(&path).expect("read") == bytes);
        let taken = path.metadata().expect("there").blocks() * 512;
        assert!(taken < 1 << 20, "{taken} bytes are taken by one block of 64 KiB");
    }
}
