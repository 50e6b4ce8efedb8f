//! The files that are asked for.

use std::path::Path;

use crate::harness::Check;
use crate::stop::{OrError, Step};

/// The directory that a server under measurement serves, below `{dir}`.
const SITE: &str = "site";

/// The path, in a request, of the file of so many bytes.
pub(super) fn path(bytes: usize) -> String {
    format!("/file-{bytes}")
}

/// Makes that file, before the server is started; what it holds.
pub(super) fn make(check: &Check, bytes: usize) -> Step<Vec<u8>> {
    let site = check.dir().join(SITE);
    std::fs::create_dir_all(&site).or_error(site.display())?;
    let content = content(bytes);
    let file = site.join(path(bytes).trim_start_matches('/'));
    std::fs::write(&file, &content).or_error(file.display())?;
    // Whoever runs forkproof may have a mask that keeps others out.
    readable(&site, 0o755)?;
    readable(&file, 0o644)?;
    give_to_user(check, &site)?;
    Ok(content)
}

/// Bytes that are the same each time, and no part of which is like another.
fn content(bytes: usize) -> Vec<u8> {
    const SEED: u64 = 0x7765_6264;
    let mut content = vec![0; bytes];
    fastrand::Rng::with_seed(SEED).fill(&mut content);
    content
}

fn readable(path: &Path, mode: u32) -> Step<()> {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, mode).or_error(path.display())
}

/// A manifest may have more files to put there, as the user that its server is started as.
fn give_to_user(check: &Check, site: &Path) -> Step<()> {
    let Some(name) = &check.target().manifest.launch.user else { return Ok(()) };
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let user = nix::unistd::User::from_name(name).or_error("user database")?;
    let Some(user) = user else { return Ok(()) };
    let (user, group) = (user.uid.as_raw(), user.gid.as_raw());
    std::os::unix::fs::lchown(site, Some(user), Some(group)).or_error(site.display())
}
