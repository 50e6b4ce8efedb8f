//! A server that is started as another user: what it must be able to reach.

use std::fs::File;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::words::{fill, mentions};
use crate::harness::world::World;
use crate::stop::{OrError, Outcome, Step, Stop};

/// Gives `dir`, and what is bound below it, to the user that servers are started as; once, before the
/// first of them, so that it is still what this program has made.
pub(super) fn give_away(world: &World, dir: &Path) -> Outcome {
    let Some(user) = world.owner.get() else { return Ok(()) };
    let kept = &world.orders.kept;
    let values = world.places()?;
    let mut own = vec![dir.to_owned()];
    for bind in &world.orders.target.manifest.launch.bind {
        own.push(PathBuf::from(fill(&bind.from, &values)?));
    }
    // What lies elsewhere is somebody else's.
    own.retain(|path| path.starts_with(kept));
    for path in own {
        if world.given.borrow().contains(&(path.clone(), user.id)) {
            continue;
        }
        let given = File::options()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(&path)
            .and_then(|dir| std::os::unix::fs::fchown(dir, Some(user.id), Some(user.group)));
        match given {
            Ok(()) => world.given.borrow_mut().push((path, user.id)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // Root inside a user namespace may not know the user.
            Err(error) => {
                return Err(Stop::NotRun(format!(
                    "needs the right to run the server as user {}: {error}",
                    user.id
                )));
            }
        }
    }
    Ok(())
}

/// The program under test at a place where any user can execute it: a home or build directory may
/// be closed to others.
pub(super) fn reachable_program(world: &World) -> Step<PathBuf> {
    let target = &world.orders.target;
    let original = &target.program;
    let unreachable = |path: &Path| {
        Err(Stop::NotRun(format!(
            "needs files that every user can read: the server is started as another user, who cannot \
             reach {}",
            path.display()
        )))
    };
    // With a script beside the manifest the program is its interpreter, which works where it is.
    let is_interpreter = mentions(&target.manifest, "manifest-dir");
    if let Some(manifest) = target.file.as_ref().filter(|_| is_interpreter) {
        if !is_open_to_all(manifest) {
            return unreachable(manifest);
        }
    }
    let mode = std::fs::metadata(original).or_error(original.display())?.permissions().mode();
    if is_open_to_all(original) && mode & 0o001 != 0 {
        return Ok(original.clone());
    }
    if is_interpreter {
        return unreachable(original);
    }
    let path = world.orders.kept.join("program");
    if !path.exists() && std::fs::hard_link(original, &path).is_err() {
        std::fs::copy(original, &path).or_error(original.display())?;
    }
    Ok(path)
}

/// Whether every user can read `path`: each directory above it can be passed through.
fn is_open_to_all(path: &Path) -> bool {
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.permissions().mode());
    mode(path) & 0o004 != 0 && path.ancestors().skip(1).all(|above| mode(above) & 0o001 != 0)
}
