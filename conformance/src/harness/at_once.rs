//! Processes that begin at the same moment.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::processes::descends;
use super::server::Server;
use crate::platform::State;
use crate::stop::{Outcome, Step};

impl Server {
    /// Does `act` while the processes `pids` are stopped, and then lets them all go on: what it has
    /// for them they begin with at the same moment.
    pub fn at_once(&self, pids: &[i32], act: impl FnOnce() -> Outcome) -> Outcome {
        self.world.act();
        let tell = |signal| {
            for &pid in pids.iter().filter(|&&pid| pid > 1) {
                // One that has gone is missed by whoever waits for its work.
                let _ = kill(Pid::from_raw(pid), signal);
            }
        };
        tell(Signal::SIGSTOP);
        let stopped = || -> Step<Option<()>> {
            let running = |state| !matches!(state, State::Stopped | State::Zombie);
            let all = descends()?;
            Ok((!all.iter().any(|p| pids.contains(&p.pid) && running(p.state))).then_some(()))
        };
        // Who does not stop in time is not with them; nothing is wrong for that.
        let limit = self.world.scaled(Duration::from_secs(1));
        let done = self.world.wait(limit, stopped).and_then(|_| act());
        tell(Signal::SIGCONT);
        done
    }
}
