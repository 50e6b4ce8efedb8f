//! The seed: an ISO 9660 image labelled `cidata`, with `meta-data` and `user-data`, as cloud-init's
//! NoCloud (docs.cloud-init.io, "NoCloud") and FreeBSD's nuageinit(7) look for it.
//!
//! An own writer, because it is small, what there is in Rust (hadris-iso) needs 1.88, and bsdtar
//! writes the label in capitals: one
//! directory, two files, ECMA-119 with the Rock Ridge names (SUSP 1.12, RRIP 1.12) that keep the
//! hyphens and the lower case. nuageinit wants an ISO and not a FAT: it looks for
//! /dev/iso9660/cidata, in lower case.

use std::path::Path;

use crate::error::Result;
use crate::platform;

/// The volume's label.
pub(crate) const LABEL: &str = "cidata";
const SECTOR: usize = 2048;
// The layout: 16 sectors that belong to the system, then one sector for each of these.
const PRIMARY: usize = 16;
const TERMINATOR: usize = 17;
const PATHS_LITTLE: usize = 18;
const PATHS_BIG: usize = 19;
const ROOT: usize = 20;
const CONTENT: usize = 21;

/// Writes the seed whose `user-data` is `user_data`. `instance` must differ from run to run: both
/// readers do their work once for an instance.
pub(crate) fn write(path: &Path, instance: &str, user_data: &str) -> Result<()> {
    let meta_data = format!("instance-id: forkproof-{instance}\nlocal-hostname: forkproof\n");
    let image = iso(&[
        ("METADATA.;1", "meta-data", meta_data.as_bytes()),
        ("USERDATA.;1", "user-data", user_data.as_bytes()),
    ]);
    platform::write(path, image)
}

/// An image with these files: name of ECMA-119 (in its order), name of Rock Ridge, content.
fn iso(files: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut image = vec![0; CONTENT * SECTOR];
    let mut directory = Vec::new();
    let dot = [sharing_protocol(), extension_reference(), attributes(0o040_755, 2)].concat();
    directory.extend(record(ROOT, SECTOR, true, &[0], &dot));
    directory.extend(record(ROOT, SECTOR, true, &[1], &attributes(0o040_755, 2)));
    for (plain, name, content) in files {
        let extent = image.len() / SECTOR;
        let system_use = [attributes(0o100_644, 1), alternate_name(name)].concat();
        directory.extend(record(extent, content.len(), false, plain.as_bytes(), &system_use));
        image.extend_from_slice(content);
        image.resize(image.len().next_multiple_of(SECTOR), 0);
    }
    let sectors = image.len() / SECTOR;
    let mut put = |sector: usize, bytes: &[u8]| {
        image[sector * SECTOR..sector * SECTOR + bytes.len()].copy_from_slice(bytes);
    };
    put(PRIMARY, &primary_descriptor(sectors));
    // ECMA-119 8.3: type 255 ends the set.
    put(TERMINATOR, b"\xffCD001\x01");
    // ECMA-119 9.4: the root's entry alone.
    let paths =
        |extent: [u8; 4], parent: [u8; 2]| [&[1, 0][..], &extent, &parent, &[0, 0]].concat();
    put(PATHS_LITTLE, &paths((ROOT as u32).to_le_bytes(), 1u16.to_le_bytes()));
    put(PATHS_BIG, &paths((ROOT as u32).to_be_bytes(), 1u16.to_be_bytes()));
    put(ROOT, &directory);
    image
}

/// ECMA-119 8.4. Unset fields are spaces where they are text, and zero otherwise.
fn primary_descriptor(sectors: usize) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR];
    let mut put =
        |from: usize, value: &[u8]| bytes[from..from + value.len()].copy_from_slice(value);
    put(0, b"\x01CD001\x01");
    put(8, &[b' '; 64]);
    put(40, LABEL.as_bytes());
    put(80, &both32(sectors));
    put(120, &both16(1)); // volumes of the set
    put(124, &both16(1)); // number of this one
    put(128, &both16(SECTOR));
    put(132, &both32(10)); // size of a path table
    put(140, &(PATHS_LITTLE as u32).to_le_bytes());
    put(148, &(PATHS_BIG as u32).to_be_bytes());
    put(156, &record(ROOT, SECTOR, true, &[0], &[]));
    put(190, &[b' '; 623]);
    for date in [813, 830, 847, 864] {
        put(date, b"0000000000000000\0"); // not specified
    }
    put(881, &[1]);
    bytes
}

/// A directory record, ECMA-119 9.1.
fn record(extent: usize, size: usize, directory: bool, name: &[u8], system_use: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(both32(extent));
    bytes.extend(both32(size));
    bytes.extend([100, 1, 1, 0, 0, 0, 0]); // the first of January 2000
    bytes.extend([if directory { 2 } else { 0 }, 0, 0]);
    bytes.extend(both16(1));
    bytes.push(name.len() as u8);
    bytes.extend(name);
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes.extend(system_use);
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes[0] = u8::try_from(bytes.len()).expect("names and entries are short");
    bytes
}

/// SUSP 5.3.
fn sharing_protocol() -> Vec<u8> {
    b"SP\x07\x01\xbe\xef\x00".to_vec()
}

/// SUSP 5.5: the extension is Rock Ridge.
fn extension_reference() -> Vec<u8> {
    let id = b"RRIP_1991A";
    [&[b'E', b'R', 8 + id.len() as u8, 1, id.len() as u8, 0, 0, 1][..], id].concat()
}

/// RRIP 4.1.1: mode and links; root's.
fn attributes(mode: usize, links: usize) -> Vec<u8> {
    [b"PX\x24\x01".to_vec(), both32(mode), both32(links), both32(0), both32(0)].concat()
}

/// RRIP 4.1.4.
fn alternate_name(name: &str) -> Vec<u8> {
    [&[b'N', b'M', 5 + name.len() as u8, 1, 0][..], name.as_bytes()].concat()
}

/// ECMA-119 7.2.3.
fn both16(value: usize) -> Vec<u8> {
    let value = value as u16;
    [value.to_le_bytes(), value.to_be_bytes()].concat()
}

/// ECMA-119 7.3.3.
fn both32(value: usize) -> Vec<u8> {
    let value = u32::try_from(value).expect("a seed is small");
    [value.to_le_bytes(), value.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn seed(user_data: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("seed.iso");
        write(&path, "1", user_data).expect("written");
        (dir, path)
    }

    /// What cdrkit's reader makes of it; it says so when it is not there.
    fn isoinfo(path: &Path, arguments: &[&str]) -> Option<String> {
        match Command::new("isoinfo").arg("-i").arg(path).args(arguments).output() {
            Ok(output) => {
                assert!(output.status.success(), "{output:?}");
                Some(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Err(error) => {
                eprintln!("skipped: isoinfo (package genisoimage): {error}");
                None
            }
        }
    }

    #[test]
    fn another_reader_finds_label_names_and_content() {
        // Longer than a sector, and no multiple of one.
        let script = format!("#!/bin/sh\n{}", "echo a line of a script\n".repeat(200));
        let (_dir, path) = seed(&script);
        let Some(descriptor) = isoinfo(&path, &["-d"]) else { return };
        assert!(descriptor.contains("Volume id: cidata\n"), "{descriptor}");
        assert!(descriptor.contains("Rock Ridge"), "{descriptor}");
        let names = isoinfo(&path, &["-R", "-f"]).expect("isoinfo");
        assert_eq!(names, "/meta-data\n/user-data\n");
        assert_eq!(isoinfo(&path, &["-R", "-x", "/user-data"]).as_deref(), Some(script.as_str()));
        let meta = isoinfo(&path, &["-R", "-x", "/meta-data"]).expect("isoinfo");
        assert!(meta.starts_with("instance-id: forkproof-1\n"), "{meta}");
    }

    #[test]
    fn the_label_is_where_blkid_and_geom_look() {
        let (_dir, path) = seed("#!/bin/sh\n");
        let bytes = std::fs::read(path).expect("read");
        assert_eq!(&bytes[16 * 2048..16 * 2048 + 6], b"\x01CD001");
        assert_eq!(&bytes[16 * 2048 + 40..16 * 2048 + 72], format!("{LABEL:32}").as_bytes());
        assert_eq!(bytes.len() % 2048, 0);
    }
}
