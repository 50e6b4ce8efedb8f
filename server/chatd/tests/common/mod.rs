//! What the tests of both programs need.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a slow machine; what waits so long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The bytes of the key occur in no message by chance.
pub(super) const KEY: [u8; 128] = [b'k'; 128];

/// Writes a file for its owner only.
pub(super) fn private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Waits for the end of a program, and kills one that does not end.
pub(super) fn end_of(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    // std can wait without end or not at all.
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the program did not end");
}
