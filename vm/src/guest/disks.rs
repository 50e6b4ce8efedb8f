//! The job's disk, which goes in, and the result's disk, which comes out, before the guest has
//! written to it: raw disks, found in the guest by their first bytes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::stamp::Stamp;
use crate::error::{Error, Result};

/// The first member of the job's disk.
pub(crate) const RUN_MEMBER: &str = "run.sh";
/// What the first line of an unwritten result's disk begins with.
pub(crate) const OUT_MAGIC: &str = "forkproof-out/1";
/// Size of the result's disk, bytes; it takes as much of the host as is written to it.
const OUT_SIZE: u64 = 128 * 1024 * 1024;
/// What a job has in its directory in the guest.
const OWN_NAMES: [&str; 3] = [RUN_MEMBER, "forkproof", "result"];

/// Sees that `added` can lie beside `forkproof` in a guest under their last names: that they are
/// there, are files or directories, and that no two names, and none of a job's own, are the same.
pub(crate) fn require_added(added: &[PathBuf]) -> Result<()> {
    let mut names = BTreeMap::new();
    for path in added {
        let refused = |why: String| Error::Usage(format!("--add {}: {why}", path.display()));
        let metadata = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
        if !(metadata.is_file() || metadata.is_dir()) {
            return Err(refused("it is neither a file nor a directory".into()));
        }
        let name = name_in_guest(path).map_err(|error| refused(error.to_string()))?;
        if OWN_NAMES.iter().any(|own| name == *own) {
            let name = name.to_string_lossy();
            return Err(refused(format!("`{name}` in the guest is forkproof's own")));
        }
        if let Some(other) = names.insert(name, path) {
            return Err(refused(format!("{} would have the same name there", other.display())));
        }
    }
    Ok(())
}

/// The last name of what a path leads to: `.` and `dir/..` have one, too.
fn name_in_guest(path: &Path) -> std::io::Result<OsString> {
    let name = match path.file_name() {
        Some(name) => Some(name.to_owned()),
        None => path.canonicalize()?.file_name().map(ToOwned::to_owned),
    };
    name.ok_or_else(|| std::io::Error::other("it has no name of its own"))
}

/// Writes the job's disk: `run.sh`, the payload, if there is one, and what is added.
///
/// What is added comes with its permissions; a symbolic link comes as what it leads to.
pub(crate) fn write_job(
    path: &Path,
    run_script: &str,
    payload: Option<&Path>,
    added: &[PathBuf],
) -> Result<()> {
    let cannot = |error| Error::io("write", path, error);
    let file = File::create_new(path).map_err(cannot)?;
    let mut archive = tar::Builder::new(file);
    let mut append = |name: &str, mode: u32, size: u64, content: &mut dyn Read| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        archive.append_data(&mut header, name, content).map_err(cannot)
    };
    append(RUN_MEMBER, 0o755, run_script.len() as u64, &mut run_script.as_bytes())?;
    if let Some(payload) = payload {
        let mut file = File::open(payload).map_err(|error| Error::io("open", payload, error))?;
        let size = file.metadata().map_err(|error| Error::io("read", payload, error))?.len();
        append("forkproof", 0o755, size, &mut file)?;
    }
    // Owners and times of this host mean nothing there.
    archive.mode(tar::HeaderMode::Deterministic);
    for path in added {
        let cannot = |error| Error::io("read", path, error);
        let name = name_in_guest(path).map_err(cannot)?;
        if path.is_dir() {
            archive.append_dir_all(&name, path).map_err(cannot)?;
        } else {
            archive.append_path_with_name(path, &name).map_err(cannot)?;
        }
    }
    let file = archive.into_inner().map_err(cannot)?;
    // Whole blocks: QEMU rounds a raw disk's size to sectors.
    let size = file.metadata().map_err(cannot)?.len().next_multiple_of(1024 * 1024);
    file.set_len(size).map_err(cannot)
}

/// Writes the result's disk: the stamp, and room.
pub(crate) fn write_out(path: &Path, stamp: &Stamp) -> Result<()> {
    let cannot = |error| Error::io("write", path, error);
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(cannot)?;
    writeln!(file, "{OUT_MAGIC} {}", stamp.text()).map_err(cannot)?;
    file.set_len(OUT_SIZE).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_job_begins_with_its_script() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("in");
        let server = dir.path().join("server");
        std::fs::create_dir(&server).expect("made");
        std::fs::write(server.join("run"), "#!/bin/sh\n").expect("written");
        std::fs::set_permissions(server.join("run"), PermissionsExt::from_mode(0o755))
            .expect("set");
        let manifest = dir.path().join("server.toml");
        std::fs::write(&manifest, "").expect("written");
        let added = [manifest, server];
        require_added(&added).expect("accepted");
        let payload = std::env::current_exe().expect("this test");
        write_job(&path, "echo", Some(&payload), &added).expect("written");
        let bytes = std::fs::read(&path).expect("read");
        assert!(bytes.starts_with(b"run.sh\0"));
        assert_eq!(bytes.len() % (1024 * 1024), 0);
        let members: Vec<_> = tar::Archive::new(&bytes[..])
            .entries()
            .expect("an archive")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let name = entry.path().expect("a path").to_string_lossy().into_owned();
                (name, entry.header().mode().expect("a mode") & 0o777)
            })
            .collect();
        let named = |name: &str, mode| (name.to_owned(), mode);
        assert_eq!(
            members,
            [
                named("run.sh", 0o755),
                named("forkproof", 0o755),
                named("server.toml", 0o644),
                named("server/", 0o755),
                named("server/run", 0o755),
            ]
        );
    }

    #[rstest::rstest]
    #[case(&["missing"], "No such file")]
    #[case(&["a/forkproof"], "`forkproof` in the guest is forkproof's own")]
    #[case(&["a/x", "b/x"], "a/x would have the same name there")]
    #[case(&["/"], "it has no name of its own")]
    fn what_cannot_be_added(#[case] added: &[&str], #[case] words: &str) {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["a/forkproof", "a/x", "b/x"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        let added: Vec<_> = added.iter().map(|name| dir.path().join(name)).collect();
        let error = require_added(&added).expect_err("refused");
        assert!(error.to_string().contains(words), "{error}");
        assert!(matches!(error, Error::Usage(_)), "{error:?}");
    }
}
