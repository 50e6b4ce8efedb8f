//! The deadline of a check, and how slow this machine is, so that deadlines are as long as they must
//! be.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The deadline of one whole check on an ordinary machine. Every wait inside has a shorter one of its
/// own.
pub const CHECK_DEADLINE: Duration = Duration::from_secs(60);

/// What takes as long on an ordinary machine is called slow.
pub const SLOW: Duration = Duration::from_secs(15);

/// What executing this program once takes on an ordinary idle machine.
const ORDINARY: Duration = Duration::from_millis(4);
/// Nothing is slower than this; a software-emulated guest is 10 to 50 times.
const CEILING: f64 = 100.0;

/// How slow the machine is while a run goes on. One early measurement would hold for all of a long run,
/// whatever comes after it.
#[derive(Debug)]
pub struct Pace {
    scale: f64,
    latest: Mutex<Latest>,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    slowness: f64,
    measured: Instant,
    greatest: f64,
}

impl Pace {
    /// How long a measurement is good for.
    const GOOD_FOR: Duration = Duration::from_secs(5);

    /// Begins with `slowness` as it was measured just now, `scale` included.
    pub fn new(slowness: f64, scale: f64) -> Self {
        let latest = Latest { slowness, measured: Instant::now(), greatest: slowness };
        Self { scale, latest: Mutex::new(latest) }
    }

    /// How many times as long as usual deadlines are for what begins now.
    pub fn slowness(&self) -> f64 {
        self.measured_by(slowness)
    }

    fn measured_by(&self, measure: impl FnOnce() -> f64) -> f64 {
        let Ok(mut latest) = self.latest.lock() else { return self.scale };
        if latest.measured.elapsed() < Self::GOOD_FOR {
            return latest.slowness;
        }
        // So that the others do not wait for the measurement.
        latest.measured = Instant::now();
        drop(latest);
        let fresh = measure() * self.scale;
        let Ok(mut latest) = self.latest.lock() else { return fresh };
        // One moment makes a machine neither quick nor slow.
        latest.slowness = fresh.clamp(latest.slowness / 2.0, latest.slowness * 2.0);
        latest.greatest = latest.greatest.max(latest.slowness);
        latest.slowness
    }

    /// The greatest that it was.
    pub fn greatest(&self) -> f64 {
        self.latest.lock().map_or(self.scale, |latest| latest.greatest)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_makes_a_machine_neither_quick_nor_slow() {
        let pace = Pace::new(8.0, 2.0);
        let old = || pace.latest.lock().unwrap().measured -= Pace::GOOD_FOR;
        assert_eq!(pace.measured_by(|| panic!("it is new")), 8.0);
        old();
        assert_eq!(pace.measured_by(|| 1.0), 4.0);
        assert_eq!(pace.measured_by(|| 1.0), 4.0, "it is new again");
        old();
        assert_eq!(pace.measured_by(|| 1.0), 2.0);
        old();
        assert_eq!(pace.measured_by(|| 10.0), 4.0);
        for expected in [8.0, 16.0, 20.0, 20.0] {
            old();
            assert_eq!(pace.measured_by(|| 10.0), expected);
        }
        assert_eq!(pace.greatest(), 20.0);
    }
}
