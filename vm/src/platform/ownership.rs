//! Whose a file is, and who may change it.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::{Error, Result};

/// The bits of a mode that let others write.
const OTHERS_WRITE: u32 = 0o022;

/// Sees that a directory is one, no link to one, and that nobody but this user and root can change
/// what is in it.
pub(crate) fn require_own_directory(path: &Path) -> Result<()> {
    let metadata = path.symlink_metadata().map_err(|error| Error::io("read", path, error))?;
    require_own(path, &metadata)
}

/// Opens a file that nobody but this user and root can change.
pub(crate) fn open_own(path: &Path) -> Result<File> {
    let cannot = |error| Error::io("open", path, error);
    require_own(path, &path.symlink_metadata().map_err(cannot)?)?;
    // It may have become another since.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    require_own(path, &metadata)?;
    if !metadata.is_file() {
        return Err(cannot(std::io::Error::other("it is no file")));
    }
    Ok(file)
}

/// Takes the right to write from all but the owner.
pub(crate) fn close_to_others(file: &File) -> std::io::Result<()> {
    let mode = file.metadata()?.mode();
    file.set_permissions(std::fs::Permissions::from_mode(mode & 0o7777 & !OTHERS_WRITE))
}

fn require_own(path: &Path, metadata: &Metadata) -> Result<()> {
    let user = nix::unistd::geteuid().as_raw();
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let shown = path.display();
    let why = if metadata.is_symlink() {
        "it is a symbolic link: put what it leads to in its place".to_owned()
    } else if ![0, user].contains(&owner) {
        format!("it belongs to user {owner}: it should be yours (user {user}) or root's")
    } else if mode & OTHERS_WRITE != 0 {
        format!(
            "others may write to it (mode {mode:04o}): remove it, or, if you trust what is there, \
             `chmod go-w {shown}`"
        )
    } else {
        return Ok(());
    };
    Err(Error::Failed(format!("the cache cannot be trusted: {shown}: {why}")))
}
