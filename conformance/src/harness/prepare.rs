//! What is run before a server is started, so that it finds what it needs: host keys, a database.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::user::User;
use super::world::{World, last_of, shared};
use crate::stop::{OrError, Outcome, Step, Stop};

/// How much of what such a command says is told, in bytes from its end.
const TOLD: u64 = 2048;

/// Runs what the manifest wants once a run, into a directory that all checks share.
pub(super) fn once(world: &World) -> Outcome {
    let launch = &world.orders.target.manifest.launch;
    let dir = shared(&world.orders.kept);
    if launch.prepare.iter().all(|prepare| !prepare.once) {
        return Ok(());
    }
    std::fs::create_dir(&dir).or_error(dir.display())?;
    let user = user_of(world)?;
    if let Some(user) = user {
        std::os::unix::fs::lchown(&dir, Some(user.id), Some(user.group)).or_error(dir.display())?;
    }
    let values = world.places()?;
    for prepare in launch.prepare.iter().filter(|prepare| prepare.once) {
        let words = prepare.command.iter().map(|template| {
            template.fill(&values).map_err(|message| Stop::Error(format!("manifest: {message}")))
        });
        run_before(&words.collect::<Step<Vec<_>>>()?, &dir, user)?;
    }
    Ok(())
}

/// The user that the server is started as, if that is another one.
pub(super) fn user_of(world: &World) -> Step<Option<User>> {
    match &world.orders.target.manifest.launch.user {
        Some(name) if nix::unistd::geteuid().is_root() => {
            let user = nix::unistd::User::from_name(name).or_error("user database")?;
            let user = user.ok_or_else(|| Stop::Error(format!("no user `{name}`")))?;
            Ok(Some(User { id: user.uid.as_raw(), group: user.gid.as_raw() }))
        }
        _ => Ok(None),
    }
}

/// Writes a file anew, with its directory if that is missing. What was there is removed: a link in its
/// place is not followed.
pub(super) fn write_file(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    // Whatever the umask is.
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// Runs a command in `dir`, as `user`, to its end.
pub(super) fn run_before(words: &[OsString], dir: &Path, user: Option<User>) -> Outcome {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let shown = shell_words::join(words.iter().map(|word| word.to_string_lossy().into_owned()));
    // Without a name: the directory may be the server's by now, with whatever it has laid there.
    let mut said = tempfile::tempfile().or_error("output")?;
    let output = said.try_clone().or_error("output")?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(dir).stdin(Stdio::null());
    command.stdout(output.try_clone().or_error("output")?).stderr(output);
    if let Some(user) = user {
        // SAFETY: between fork and exec, system calls only.
        unsafe { command.pre_exec(move || user.become_it().map_err(Into::into)) };
    }
    let status = command.status().map_err(|error| {
        Stop::Error(format!("launch.prepare: `{shown}` cannot be run: {error}"))
    })?;
    if status.success() {
        return Ok(());
    }
    let words = last_of(&mut said, TOLD).trim().replace('\n', " / ");
    Err(Stop::Error(format!("launch.prepare: `{shown}` ended with {status}, and says: {words}")))
}
