//! What is done to a web server while it is under a load, and how soon it has its workers again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::harness::{Check, Server};
use crate::stop::{Step, Stop};
use crate::subject::{Model, SignalName, Target};

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disturbance {
    /// A worker is killed, with SIGKILL.
    Kill,
    /// A worker is stopped, with SIGSTOP, and never continued.
    Stop,
    /// The configuration is read again.
    Reload,
    /// The program is executed anew, with the sockets kept.
    Upgrade,
}

impl Disturbance {
    /// Why that cannot be done to a server, if it cannot.
    pub fn missing(self, target: &Target) -> Option<String> {
        if target.manifest.processes.model != Model::Workers {
            return Some("its processes.model is not \"workers\"".into());
        }
        let key = match self {
            Self::Kill | Self::Stop => return None,
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
        };
        let why = || format!("its manifest has no lifecycle.{key}");
        self.signal(target).is_none().then(why)
    }

    fn signal(self, target: &Target) -> Option<Signal> {
        let of = |name: Option<SignalName>| name.map(|name| name.0);
        match self {
            Self::Kill => Some(Signal::SIGKILL),
            Self::Stop => Some(Signal::SIGSTOP),
            Self::Reload => of(target.manifest.lifecycle.reload),
            Self::Upgrade => of(target.manifest.lifecycle.upgrade),
        }
    }
}

/// Who does it, from time to time.
pub(super) struct Disturber<'a> {
    check: &'a Check,
    server: &'a Server,
    kind: Disturbance,
    signal: Signal,
    /// When it is done, from the beginning.
    times: Vec<Duration>,
    /// How often it has been done.
    pub(super) done: usize,
    under_way: Option<UnderWay>,
    last_look: Duration,
    /// How long it took in each case, in s, until there were as many other workers.
    pub(super) recovered: Vec<f64>,
}

/// Done, and not yet over.
struct UnderWay {
    since: Instant,
    /// Workers that are to go.
    old: BTreeSet<i32>,
    /// How many others are to come.
    count: usize,
    /// The signal that ends the old daemon when there is another one.
    finish: Option<Signal>,
}

/// How often the workers are looked at while something is under way.
const LOOK: Duration = Duration::from_millis(10);

impl<'a> Disturber<'a> {
    /// Does it `count` times within `time`.
    pub(super) fn new(
        check: &'a Check,
        server: &'a Server,
        kind: Disturbance,
        count: usize,
        time: Duration,
    ) -> Step<Self> {
        let target = check.target();
        let signal = kind.signal(target).ok_or_else(|| {
            Stop::Unsupported(kind.missing(target).unwrap_or_else(|| "it cannot be told".into()))
        })?;
        let times = (0..count).map(|at| time.mul_f64((at as f64 + 0.5) / count as f64)).collect();
        Ok(Self {
            check,
            server,
            kind,
            signal,
            times,
            done: 0,
            under_way: None,
            last_look: Duration::ZERO,
            recovered: Vec::new(),
        })
    }

    /// When it wants to be asked again, from the beginning; never, if there is nothing to do any more.
    pub(super) fn next(&self) -> Option<Duration> {
        match self.under_way {
            Some(_) => Some(self.last_look + LOOK),
            None => self.times.get(self.done).copied(),
        }
    }

    /// Does what is due `elapsed` after the beginning.
    pub(super) fn go_on(&mut self, elapsed: Duration) -> Step<()> {
        if self.under_way.is_some() {
            if elapsed >= self.last_look + LOOK {
                self.last_look = elapsed;
                self.look()?;
            }
            return Ok(());
        }
        if self.times.get(self.done).is_some_and(|&due| elapsed >= due) {
            self.last_look = elapsed;
            self.disturb()?;
        }
        Ok(())
    }

    /// Waits until what was done last is over, for at most `patience`.
    pub(super) fn see_through(&mut self, patience: Duration) -> Step<()> {
        let begin = Instant::now();
        while self.under_way.is_some() && begin.elapsed() < patience {
            std::thread::sleep(LOOK);
            self.look()?;
        }
        Ok(())
    }

    fn disturb(&mut self) -> Step<()> {
        let workers = self.server.workers()?;
        let daemon = self.server.daemon();
        let one = workers.get(self.done % workers.len().max(1)).copied();
        let (victim, old, count) = match (self.kind, one) {
            (Disturbance::Kill | Disturbance::Stop, None) => {
                return Err(Stop::Error("the server has no worker left".into()));
            }
            (Disturbance::Kill | Disturbance::Stop, Some(pid)) => (pid, [pid].into(), 1),
            _ => (daemon, workers.iter().copied().collect(), workers.len()),
        };
        let others = workers.len() - old_among(&workers, &old);
        let life = &self.check.target().manifest.lifecycle;
        let finish = match self.kind {
            Disturbance::Upgrade => life.finish.map(|name| name.0),
            _ => None,
        };
        self.server.signal(victim, self.signal)?;
        self.done += 1;
        self.under_way =
            Some(UnderWay { since: Instant::now(), old, count: others + count, finish });
        Ok(())
    }

    fn look(&mut self) -> Step<()> {
        let Some(under_way) = &mut self.under_way else { return Ok(()) };
        if let Some(finish) = under_way.finish {
            if !self.server.has_successor(under_way.count)? {
                return Ok(());
            }
            self.server.hand_over(finish)?;
            under_way.finish = None;
        }
        let now: BTreeSet<i32> = self.server.workers()?.into_iter().collect();
        let are_there = now.difference(&under_way.old).count() >= under_way.count;
        if are_there && now.is_disjoint(&under_way.old) {
            self.recovered.push(under_way.since.elapsed().as_secs_f64());
            self.under_way = None;
        }
        Ok(())
    }
}

fn old_among(workers: &[i32], old: &BTreeSet<i32>) -> usize {
    workers.iter().filter(|pid| old.contains(pid)).count()
}
