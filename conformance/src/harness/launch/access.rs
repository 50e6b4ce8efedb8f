//! A server that is started as another user: what it must be able to reach.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::words::mentions;
use crate::harness::world::World;
use crate::stop::{OrError, Step, Stop};

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
    let path = world.orders.dir.join("program");
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
