//! From root to a plain user, once and for good.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::{User, geteuid, getuid, setgid, setuid};
use settings::{StartError, reason};

use crate::diagnostics;
use crate::generations::Generations;

/// Finds `name` in the user database.
pub(crate) fn find_user(name: &str) -> Result<User, StartError> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(StartError::usage(format!("user `{name}`: no such user"))),
        Err(errno) => Err(StartError::failure(format!(
            "user `{name}`: cannot be looked up: {}",
            errno.desc()
        ))),
    }
}

/// Refuses to stay root unless that is asked for.
pub(crate) fn refuse_root(user: Option<&str>, allowed: bool) -> Result<(), StartError> {
    if user.is_none() && geteuid().is_root() && !allowed {
        return Err(StartError::usage(
            "will not run as root: name a user with --user, or say --allow-root",
        ));
    }
    Ok(())
}

/// Becomes `user`, if one is named. Only root can; anyone else must be that user already.
pub(crate) fn drop_to(user: Option<&str>, log: &Path) -> Result<(), StartError> {
    let Some(name) = user else {
        if geteuid().is_root() {
            diagnostics::warning("running as root: name a user with --user");
        }
        return Ok(());
    };
    let user = find_user(name)?;
    if !geteuid().is_root() {
        if getuid() == user.uid {
            return Ok(());
        }
        return Err(StartError::usage(format!(
            "user `{name}`: only root can become another user; start as root or leave --user out"
        )));
    }
    if user.uid.is_root() {
        diagnostics::warning("running as root: name another user with --user");
    }
    prepare_file(log, 0o660, &user)?;
    prepare_file(&Generations::path(log), 0o600, &user)?;
    let cannot = |what: &str, errno: nix::Error| {
        StartError::failure(format!("cannot become user `{name}`: {what}: {}", errno.desc()))
    };
    // The groups first: afterwards there is no right to change them.
    let c_name = CString::new(name)
        .map_err(|_| StartError::usage(format!("user `{name}`: a name cannot hold a NUL")))?;
    nix::unistd::initgroups(&c_name, user.gid).map_err(|errno| cannot("initgroups", errno))?;
    setgid(user.gid).map_err(|errno| cannot("setgid", errno))?;
    setuid(user.uid).map_err(|errno| cannot("setuid", errno))?;
    if !user.uid.is_root() && setuid(nix::unistd::Uid::from_raw(0)).is_ok() {
        return Err(StartError::failure(format!(
            "cannot become user `{name}`: this system gives root back"
        )));
    }
    Ok(())
}

/// Creates `path` for `user`, so that the log can stand in a directory that the user cannot write
/// to. What exists is left as it is.
fn prepare_file(path: &Path, mode: u32, user: &User) -> Result<(), StartError> {
    let cannot = |error: std::io::Error| {
        StartError::failure(format!("{}: cannot be created: {}", path.display(), reason(&error)))
    };
    // O_EXCL: never through a link that someone else laid there.
    match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(file) => nix::unistd::fchown(file.as_fd(), Some(user.uid), Some(user.gid))
            .map_err(|errno| cannot(errno.into())),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(cannot(error)),
    }
}
