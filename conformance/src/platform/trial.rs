//! Whether something can be had, by trying it in an executed copy of this program: this process stays
//! as it is, and what a forked child of many threads may not do, allocate for one, is no matter.

use super::model::Namespace;

/// Why this process cannot have a namespace of its own, if it cannot.
pub(super) fn why_not(namespace: Namespace) -> Option<String> {
    let program = std::env::current_exe().ok()?;
    match std::process::Command::new(program).args(["__try-namespace", namespace.name()]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}
