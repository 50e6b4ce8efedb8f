//! Mounts of this process's own, in private mounts (mount_namespaces(7)).

use std::fs;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::platform::model::Cover;

/// Puts directories in the place of others. To be called in private mounts; `scratch` is an empty
/// directory for what that takes. Nothing is ever made in a directory that others see: where a path
/// does not exist, its nearest ancestor that does is covered by an empty file system in which all
/// of the ancestor's entries are links to the real ones.
pub fn cover_paths(covers: &[Cover], scratch: &std::path::Path) -> Result<(), String> {
    // Directories that are on file systems of our own.
    let mut own: Vec<std::path::PathBuf> = Vec::new();
    for (number, cover) in covers.iter().enumerate() {
        let path = &cover.path;
        if !path.is_dir() {
            let ancestor = path
                .ancestors()
                .skip(1)
                .find(|ancestor| ancestor.is_dir())
                .and_then(|ancestor| ancestor.canonicalize().ok())
                .ok_or_else(|| format!("{}: no directory above it", path.display()))?;
            if !own.iter().any(|dir| ancestor.starts_with(dir)) {
                if ancestor == std::path::Path::new("/") {
                    return Err(format!(
                        "needs {} to exist: nothing can be put beside the entries of /",
                        path.display()
                    ));
                }
                let stage = scratch.join(number.to_string());
                shadow(&ancestor, &stage)?;
                own.push(ancestor);
            }
            fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let cannot = |errno: Errno| {
            format!("{} at {}: {}", cover.from.display(), path.display(), errno.desc())
        };
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(&cover.from), path, None::<&str>, flags, None::<&str>).map_err(cannot)?;
        if cover.read_only {
            make_bind_read_only(path)?;
        }
    }
    Ok(())
}

/// Makes what is bound on `path` read-only there. In a user namespace the flags that the original
/// mount has cannot be taken off, so they are said again (mount_namespaces(7), "locked"); but for
/// relatime, which the kernel keeps or takes where nothing is said of it.
fn make_bind_read_only(path: &std::path::Path) -> Result<(), String> {
    use nix::sys::statvfs::{FsFlags, statvfs};
    let failed = |errno: Errno| format!("remount {}: {}", path.display(), errno.desc());
    let has = statvfs(path).map_err(failed)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (flag, mount_flag) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
    ] {
        if has.contains(flag) {
            flags |= mount_flag;
        }
    }
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>).map_err(failed)
}

/// Covers `dir` by an empty file system that holds links to all that `dir` held.
fn shadow(dir: &std::path::Path, stage: &std::path::Path) -> Result<(), String> {
    const REAL: &str = ".forkproof-below";
    let failed =
        |what: &std::path::Path, why: &dyn std::fmt::Display| format!("{}: {why}", what.display());
    fs::create_dir(stage).map_err(|error| failed(stage, &error))?;
    mount(Some("tmpfs"), stage, Some("tmpfs"), MsFlags::empty(), Some("size=1m,mode=0755"))
        .map_err(|errno| failed(stage, &errno.desc()))?;
    let real = stage.join(REAL);
    fs::create_dir(&real).map_err(|error| failed(&real, &error))?;
    mount(Some(dir), &real, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|errno| failed(&real, &errno.desc()))?;
    for entry in fs::read_dir(dir).map_err(|error| failed(dir, &error))? {
        let name = entry.map_err(|error| failed(dir, &error))?.file_name();
        let link = stage.join(&name);
        std::os::unix::fs::symlink(std::path::Path::new(REAL).join(&name), &link)
            .map_err(|error| failed(&link, &error))?;
    }
    mount(Some(stage), dir, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(|errno| failed(dir, &errno.desc()))
}

/// Unmounts what a check has left mounted below `dir`: private mounts are gone with their process.
pub fn unmount_below(_dir: &std::path::Path) {}

/// Mounts an empty file system of `size` bytes on the directory `path` (tmpfs(5)). To be called in
/// private mounts.
pub fn mount_tmpfs(path: &std::path::Path, size: u64) -> Result<(), String> {
    let options = format!("size={size},mode=0700");
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|errno| format!("tmpfs on {}: {}", path.display(), errno.desc()))
}

/// Makes the file system that is mounted on `path` read-only (mount(2), "Remounting"). To be called
/// in private mounts.
pub fn make_read_only(path: &std::path::Path) -> Result<(), String> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>)
        .map_err(|errno| format!("remount {}: {}", path.display(), errno.desc()))
}

/// Makes `dir` hold a file of the given name and content whose inode number takes all 64 bits. To
/// be called in private mounts.
///
/// An overlay with `xino=on` puts the number of the layer's file system into the inode's highest
/// bits (Documentation/filesystems/overlayfs, "Inode properties"); a file keeps its number when it
/// is written to.
pub fn mount_high_inodes(dir: &std::path::Path, name: &str, content: &[u8]) -> Result<(), String> {
    let beside = |part: &str| {
        let mut path = dir.as_os_str().to_owned();
        path.push(part);
        std::path::PathBuf::from(path)
    };
    let (lower, upper) = (beside(".lower"), beside(".upper"));
    let words =
        |path: &std::path::Path, error: std::io::Error| format!("{}: {error}", path.display());
    for path in [dir, &lower, &upper] {
        fs::create_dir(path).map_err(|error| words(path, error))?;
    }
    // Two file systems: with one, the overlay needs no bits to tell its layers apart.
    mount_tmpfs(&lower, 1024 * 1024)?;
    mount_tmpfs(&upper, 1024 * 1024)?;
    let file = lower.join(name);
    fs::write(&file, content).map_err(|error| words(&file, error))?;
    let (changed, work) = (upper.join("changed"), upper.join("work"));
    for path in [&changed, &work] {
        fs::create_dir(path).map_err(|error| words(path, error))?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={},xino=on",
        lower.display(),
        changed.display(),
        work.display()
    );
    mount(Some("overlay"), dir, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|errno| format!("overlay on {}: {}", dir.display(), errno.desc()))
}
