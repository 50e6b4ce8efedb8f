//! storage/ : file systems that lack something.

use crate::harness::{Check, Options};
use crate::requirement::{Controls, Requirement, by};
use crate::requirements::situations::refuses_to_start;
use crate::stop::{Outcome, Stop};
use crate::subject::Claim;
use forkproof_report::Level;

pub(in crate::requirements) const REQUIREMENTS: &[Requirement] = &[Requirement {
    id: "storage/locks-unavailable",
    title: "A log that cannot be locked is refused at the start, by name",
    level: Level::Must,
    clause: "POSIX.1-2024, fcntl: [ENOLCK]; flock(2): [EOPNOTSUPP] (FreeBSD), [ENOLCK] and NFS details (Linux); ENOSYS from kernels and sandboxes without the call",
    trap: "NFS without its lock daemon, FUSE and old container file systems know no locks: the error is not looked at and messages are torn, or each message fails one by one, long after the start",
    fix: "take and release the lock once before anyone is served, and end with the file's name when that fails",
    references: &["tox-dev/filelock#67"],
    needs: &[],
    claims: &[Claim::LogLock, Claim::StartupErrors],
    controls: Controls::By(&[by("exits-zero", "exit non-zero")]),
    exclusive: false,
    check: locks_unavailable,
}];

fn locks_unavailable(check: &mut Check) -> Outcome {
    let log = check.log_path()?.display().to_string();
    // EBADF: an NFSv4 client, for a lock that the descriptor's mode does not allow.
    for error in ["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EBADF"] {
        let launched = check.launch(Options::new().under(format!("no-locks={error}")))?;
        let what = format!("a log that cannot be locked ({error})");
        let outcome = refuses_to_start(check, &launched, &log, &what);
        // One that makes its system calls itself can lock it all the same; one that locks late has
        // done so by now.
        if let (Err(Stop::Fail(_)), Some(server)) = (&outcome, &launched.server) {
            if server.join("alice").is_ok() {
                check.came_to("no-locks")?;
            }
        }
        outcome?;
    }
    Ok(())
}
