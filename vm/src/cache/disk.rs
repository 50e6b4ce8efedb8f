//! What a disk looks like.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::catalogue::DiskFormat;
use crate::error::{Error, Result};

/// What QEMU's disks begin with.
const QCOW2_MAGIC: &[u8] = b"QFI\xfb";

/// The format of what must be a disk: whole sectors, or a qcow2 that needs no other file. The inner
/// error is why it is none.
pub(crate) fn inspect(path: &Path) -> io::Result<std::result::Result<DiskFormat, String>> {
    const SECTOR: u64 = 512;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // QEMU's docs/interop/qcow2.txt: version at 4, the backing file's offset at 8, incompatible
    // features at 72 from version 3 on, of which bit 2 is an external data file. All big-endian.
    let mut header = Vec::new();
    (&mut file).take(104).read_to_end(&mut header)?;
    let number = |at: usize| -> u64 {
        header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
    };
    if !header.starts_with(QCOW2_MAGIC) {
        return if length > 0 && length % SECTOR == 0 {
            Ok(Ok(DiskFormat::Raw))
        } else {
            Ok(Err(format!("{length} bytes are no disk of whole sectors")))
        };
    }
    let version = number(4) >> 32;
    let least = if version == 3 { 104 } else { 72 };
    if ![2, 3].contains(&version) || header.len() < least {
        return Ok(Err(format!("it is no qcow2 disk that QEMU reads: version {version}")));
    }
    if number(8) != 0 {
        return Ok(Err("it is a qcow2 disk that needs a backing file".into()));
    }
    if version == 3 && number(72) & 0b100 != 0 {
        return Ok(Err("it is a qcow2 disk whose data are in another file".into()));
    }
    Ok(Ok(DiskFormat::Qcow2))
}

/// A disk of the user's own, and its format. One that makes QEMU open another file, whatever that
/// is, is refused: its header is whose who made it, and a guest reads what QEMU opens. So is one
/// whose name says another format: a guest that was given a raw disk may have written any header.
pub(crate) fn own_disk(path: &Path) -> Result<DiskFormat> {
    let refused = |why: &str| Error::Usage(format!("{} cannot be booted: {why}", path.display()));
    let extension = path.extension().and_then(|extension| extension.to_str());
    match (inspect(path).map_err(|error| Error::io("read", path, error))?, extension) {
        (Err(why), _) => Err(refused(&format!(
            "{why}; `qemu-img convert` makes one that stands alone, if you trust it"
        ))),
        (Ok(DiskFormat::Qcow2), Some("raw")) => {
            Err(refused("its name says raw, and it begins as a qcow2 disk does"))
        }
        (Ok(DiskFormat::Raw), Some("qcow2")) => {
            Err(refused("its name says qcow2, and it does not begin as a qcow2 disk does"))
        }
        (Ok(format), _) => Ok(format),
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
    #[case::features_cut_off(qcow2(3, 0, 0)[..80].to_vec(), Err("no qcow2"))]
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
        match (inspect(&path).expect("read"), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(why), Err(words)) => assert!(why.contains(words), "{why}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    /// Whatever a header says, what is accepted makes QEMU open no other file.
    #[test]
    fn fuzz() {
        const TOKENS: &[&[u8]] =
            &[QCOW2_MAGIC, &[0; 8], &[0, 0, 0, 3], &[0, 0, 0, 2], b"/etc/shadow"];
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/image");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("disk");
        forkproof_fuzz::fuzz(Path::new(corpus), TOKENS, |bytes| {
            std::fs::write(&path, bytes).expect("written");
            match inspect(&path).expect("read") {
                Ok(DiskFormat::Qcow2) => {
                    assert!(bytes.starts_with(QCOW2_MAGIC));
                    assert_eq!(bytes[8..16], [0; 8], "a backing file");
                    assert!(bytes[7] == 2 || bytes[79] & 0b100 == 0, "data in another file");
                }
                Ok(DiskFormat::Raw) => assert!(!bytes.starts_with(QCOW2_MAGIC)),
                Err(why) => assert!(!why.contains(char::is_control), "{}", why.escape_debug()),
            }
        });
    }
}
