//! What is not the server's while it is measured: the load's own processor time, and what others use of
//! the machine.

use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::platform::{self, Ticks};

/// A span of time in which something is measured.
pub(super) struct Meanwhile {
    begin: Instant,
    own: Duration,
    machine: Option<Ticks>,
}

/// A span that is over.
pub(super) struct Spent {
    /// How long it took.
    pub(super) time: Duration,
    /// Processor time of this process, which is the load.
    pub(super) own: Duration,
    /// What was done on the machine, as a share of what could be.
    busy: Option<f64>,
}

impl Meanwhile {
    pub(super) fn begin() -> Self {
        let machine = platform::machine_ticks().ok();
        Self { begin: Instant::now(), own: own_time(), machine }
    }

    pub(super) fn end(self) -> Spent {
        let time = self.begin.elapsed();
        let own = own_time().saturating_sub(self.own);
        let busy = self.machine.zip(platform::machine_ticks().ok()).and_then(|(before, after)| {
            let all = after.all.checked_sub(before.all).filter(|all| *all > 0)?;
            Some(after.busy.saturating_sub(before.busy) as f64 / all as f64)
        });
        Spent { time, own, busy }
    }
}

impl Spent {
    /// What others than the load and the server, which has used `processor`, used of the machine, in
    /// percent of all its processors.
    pub(super) fn others_percent(&self, processor: Duration) -> Option<f64> {
        let known = (processor + self.own).as_secs_f64();
        let known = known / self.time.as_secs_f64() / platform::processors_online();
        self.busy.map(|busy| ((busy - known) * 100.0).max(0.0))
    }

    /// How busy this process was, in percent of one processor.
    pub(super) fn own_percent(&self) -> f64 {
        self.own.as_secs_f64() / self.time.as_secs_f64().max(f64::MIN_POSITIVE) * 100.0
    }
}

/// Descriptors that are no client's.
const SPARE: u64 = 64;

/// Allows this process, and what it starts, as many descriptors as clients take.
pub(super) fn allow_descriptors(clients: usize) -> Result<(), String> {
    let wanted = clients as u64 + SPARE;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|errno| format!("RLIMIT_NOFILE: {}", errno.desc()))?;
    #[allow(clippy::unnecessary_cast, reason = "rlim_t is signed on some systems")]
    let most = hard as u64;
    if most < wanted {
        return Err(format!(
            "this process may have {most} descriptors, and {clients} clients take {wanted}: raise the \
             limit, with `ulimit -n {wanted}`"
        ));
    }
    #[allow(clippy::unnecessary_cast, reason = "rlim_t is signed on some systems")]
    if (soft as u64) < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted as _, hard)
            .map_err(|errno| format!("RLIMIT_NOFILE: {}", errno.desc()))?;
    }
    Ok(())
}

fn own_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}
