//! The workers of a server: which processes they are, and how they come and go.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::processes::descends;
use super::server::Server;
use super::world::SERVES;
use crate::platform::{self, State};
use crate::stop::{Outcome, Step, fail};

impl Server {
    /// The workers that live: the children of the daemon that have the listening socket open, or
    /// all of its children where none has.
    pub fn workers(&self) -> Step<Vec<i32>> {
        let (daemon, port) = (self.daemon(), self.address().port());
        let mut children = descends()?;
        children.retain(|process| process.parent == daemon && process.state != State::Zombie);
        let children: Vec<i32> = children.iter().map(|process| process.pid).collect();
        let listening: Vec<i32> = children
            .iter()
            .copied()
            .filter(|&pid| platform::listens(pid, port).unwrap_or(false))
            .collect();
        Ok(if listening.is_empty() { children } else { listening })
    }

    /// The same, when they have been the same for a while: all that are to come are there.
    pub fn pool(&self) -> Step<Vec<i32>> {
        const A_WHILE: Duration = Duration::from_millis(300);
        /// Where there are many processes a look at all of them takes its time too.
        const LIMIT: Duration = Duration::from_secs(20);
        let a_while = self.world.scaled(A_WHILE);
        let mut last = (Vec::new(), Instant::now());
        let settled = self.world.wait(self.world.patience().max(LIMIT), || {
            let now = self.workers()?;
            if now != last.0 {
                last = (now, Instant::now());
            }
            let still = !last.0.is_empty() && last.1.elapsed() >= a_while;
            Ok(still.then(|| last.0.clone()))
        })?;
        let found = match settled {
            Some(pool) => Ok(pool),
            None if last.0.is_empty() => fail(
                "the server has workers, children of its daemon",
                "it has none, and processes.model says that there are",
            ),
            None => fail(
                "the server's workers stay while nobody is served",
                format!(
                    "new ones come all the time: there are {} now, and others were there just before",
                    last.0.len()
                ),
            ),
        };
        self.world.step(SERVES, found)
    }

    /// Kills `workers` and waits until their parent has seen it.
    pub fn kill_workers(&self, workers: &[i32]) -> Outcome {
        for &pid in workers {
            self.signal(pid, Signal::SIGKILL)?;
        }
        self.world.until(
            Duration::from_secs(5),
            "a killed worker is reaped by its master",
            || {
                let left = descends()?;
                Ok(!left.iter().any(|process| workers.contains(&process.pid)))
            },
            || "it is left as a zombie".into(),
        )
    }

    /// Waits until there are `count` workers again, none of `gone` among them; returns them. Within
    /// `limit` one has to come, and then another: a master may take its time for many (Apache's starts
    /// one in the first second, two in the next).
    pub fn replaced(&self, gone: &[i32], count: usize, limit: Duration) -> Step<Vec<i32>> {
        let mut now: Vec<i32> = Vec::new();
        let limit = self.world.scaled(limit);
        let (mut most, mut since) = (0, Instant::now());
        let longest = limit * u32::try_from(count + 1).unwrap_or(u32::MAX);
        let found = self.world.wait(longest, || {
            now = self.workers()?;
            now.retain(|pid| !gone.contains(pid));
            if now.len() > most {
                (most, since) = (now.len(), Instant::now());
            }
            let complete = now.len() >= count;
            Ok((complete || since.elapsed() > limit).then(|| complete.then(|| now.clone())))
        })?;
        match found.flatten() {
            Some(workers) => Ok(workers),
            None => {
                let daemon = match self.lives()? {
                    true => "",
                    false => ", and the daemon has ended",
                };
                fail(
                    "a worker that has gone is replaced",
                    format!(
                        "there are {} workers, not {count}, and no other has come within {:.1} s{daemon}",
                        now.len(),
                        limit.as_secs_f64()
                    ),
                )
            }
        }
    }
}
