//! The program of a target: a path, or a name to be looked up in PATH.

use std::path::{Path, PathBuf};

use settings::reason;

use super::template::{Template, Values};

/// The absolute path of a program that can be executed.
///
/// # Errors
/// What is wrong with it, as one line.
pub fn executable(path: &Path) -> Result<PathBuf, String> {
    let shown = path.display();
    let absolute =
        path.canonicalize().map_err(|error| format!("program {shown}: {}", reason(&error)))?;
    if absolute.is_dir() {
        return Err(format!("program {shown}: it is a directory"));
    }
    nix::unistd::access(&absolute, nix::unistd::AccessFlags::X_OK)
        .map_err(|errno| format!("program {shown}: {}", errno.desc()))?;
    Ok(absolute)
}

/// The program that a manifest names: below its directory, or in PATH.
pub(super) fn own_program(named: &Template, file: Option<&Path>) -> Result<PathBuf, String> {
    let own =
        std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    let mut values: Values<'_> = [("forkproof", own.into_os_string())].into();
    if let Some(directory) = file.and_then(Path::parent) {
        values.insert("manifest-dir", directory.into());
    }
    let named = PathBuf::from(named.fill(&values)?);
    if named.components().count() == 1 && !named.is_absolute() {
        // Not resolved further: what a program does may depend on the name it has.
        return which::which(&named)
            .map_err(|_| format!("program {}: it is in no directory of PATH", named.display()));
    }
    let base = file.and_then(Path::parent).unwrap_or(Path::new("."));
    executable(&base.join(named))
}
