//! A server's end, and what takes its place: a stop that takes its time, and a second daemon.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::processes::descends;
use super::server::Server;
use super::world::Ending;
use crate::platform::{self, State};
use crate::stop::{Outcome, Step, Stop, fail};

/// What ends a program that has gone wrong.
const CRASHES: [Signal; 5] =
    [Signal::SIGSEGV, Signal::SIGABRT, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE];

impl Server {
    /// The check has told it to end, or is about to: that it ends is no news.
    pub fn expect_end(&self) {
        self.dismiss_witness();
        self.running.over.set(true);
    }

    /// Waits until the daemon has ended and no process of it is left; fails when that takes more than
    /// `extra`, however slow the machine is, beside the manifest's limit. `since` says what it is
    /// counted from.
    pub fn ends_within(&self, extra: Duration, since: &str) -> Outcome {
        let limit = self.world.end_limit() + extra;
        let mut left = Vec::new();
        let gone = self.world.wait(limit, || {
            left = descends()?;
            Ok(left.is_empty().then_some(()))
        })?;
        if gone.is_some() {
            return match self.world.ending_of(self.daemon()) {
                Some(ending @ Ending::Signal(signal)) if CRASHES.contains(&signal) => fail(
                    format!("the server ends in order after {since}"),
                    format!("the daemon {ending}"),
                ),
                _ => Ok(()),
            };
        }
        let daemon = match self.world.ending_of(self.daemon()) {
            Some(ending) => format!("the daemon {ending}"),
            None => "its daemon is still there".into(),
        };
        let names: Vec<String> = left.iter().map(ToString::to_string).collect();
        fail(
            format!("the server ends within {:.1} s after {since}", limit.as_secs_f64()),
            format!("{daemon}; left are: {}", names.join(", ")),
        )
    }

    /// A second daemon that has `count` workers, each with the listening socket open, if there is one.
    fn successor(&self, count: usize) -> Step<Option<i32>> {
        let (all, port) = (descends()?, self.address().port());
        let listening = |pid: i32| {
            let own = all.iter().filter(|process| process.parent == pid);
            own.filter(|process| process.state != State::Zombie)
                .filter(|process| platform::listens(process.pid, port).unwrap_or(false))
                .count()
        };
        let others = all.iter().map(|process| process.pid).filter(|&pid| pid != self.daemon());
        Ok(others.into_iter().find(|&pid| listening(pid) >= count))
    }

    /// Whether there is a second daemon with `count` workers.
    pub fn has_successor(&self, count: usize) -> Step<bool> {
        Ok(self.successor(count)?.is_some())
    }

    /// Whether a process of the server has ended and is reaped, by this process if nobody else is its
    /// parent.
    pub fn is_gone(&self, pid: i32) -> Step<bool> {
        self.world.reap();
        Ok(self.process(pid)?.is_none())
    }

    /// Ends the daemon with `signal`: its successor is the daemon from now on. Returns the old one.
    pub fn hand_over(&self, signal: Signal) -> Step<i32> {
        let old = self.daemon();
        let Some(next) = self.successor(1)? else {
            return Err(Stop::Error("a daemon without a successor is not ended".into()));
        };
        self.signal(old, signal)?;
        self.world.note("check", format!("process {next} takes the place of daemon {old}"));
        self.running.daemon.set(next);
        Ok(old)
    }
}
