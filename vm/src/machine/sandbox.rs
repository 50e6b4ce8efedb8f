//! QEMU's own cage, a filter of system calls (seccomp(2)): a guest that finds an error in QEMU starts
//! no program on the host and becomes no other user.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use settings::printable;

use crate::error::{Error, Result};
use crate::platform;

pub(super) const OPTIONS: [&str; 2] =
    ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"];
/// How long QEMU may take to start and end without a machine.
const LIMIT: Duration = Duration::from_secs(20);

/// Tries it: QEMU with its cage, without a machine. Its help lists the options even where it was
/// built without them, and a kernel may have no filters. The inner error is why it is without.
pub(crate) fn try_sandbox(emulator: &Path) -> Result<std::result::Result<(), String>> {
    let cannot = |error| Error::io("run", emulator, error);
    let (input, mut monitor) = UnixStream::pair().map_err(cannot)?;
    monitor.write_all(b"quit\n").map_err(cannot)?;
    let mut command = Command::new(emulator);
    command
        .args(OPTIONS)
        .args(["-machine", "none", "-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-serial", "none", "-monitor", "stdio"])
        .stdin(OwnedFd::from(input));
    let began = Instant::now();
    let tried = platform::start_tool(&mut command).and_then(|(tool, _output)| {
        tool.finish(&mut || {
            if began.elapsed() < LIMIT {
                return Ok(());
            }
            Err(Error::Failed(format!("it did not end within {} s", LIMIT.as_secs())))
        })
    });
    match tried {
        Ok(said) if said.status.success() => Ok(Ok(())),
        Ok(said) => {
            let why = said.errors.lines().next_back().unwrap_or_default();
            let ended = platform::say_how_it_ended(said.status);
            Ok(Err(printable(&format!("{ended}: {why}"))))
        }
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(error) => Ok(Err(error.to_string())),
    }
}
