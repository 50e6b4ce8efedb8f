//! The deadline of a check, and how slow this machine is, so that deadlines are as long as they must
//! be.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The deadline of one whole check on an ordinary machine. Every wait inside has a shorter one of its
/// own.
pub const CHECK_DEADLINE: Duration = Duration::from_secs(60);

/// What executing this program once takes on an ordinary idle machine.
const ORDINARY: Duration = Duration::from_millis(4);
/// Nothing is slower than this; a software-emulated guest is 10 to 50 times.
const CEILING: f64 = 100.0;

/// How many times slower than an ordinary machine this one is, at least 1: measured by what a
/// forking server does all day, creating a process and waiting for it, several times over.
pub fn slowness() -> f64 {
    let Ok(program) = std::env::current_exe() else { return 1.0 };
    let mut times: Vec<Duration> = (0..7)
        .filter_map(|_| {
            let begin = Instant::now();
            let status = Command::new(&program)
                .arg("__nothing")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            status.ok().map(|_| begin.elapsed())
        })
        .collect();
    times.sort();
    // Above the median: a machine that is slow now and then is a slow one.
    let typical = times.get(times.len() * 3 / 4).copied().unwrap_or(ORDINARY);
    (typical.as_secs_f64() / ORDINARY.as_secs_f64()).clamp(1.0, CEILING)
}
