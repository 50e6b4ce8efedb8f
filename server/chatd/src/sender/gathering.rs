//! How long a sender lets lines gather where many are said.
//!
//! A wake costs the same for one new line as for a hundred: a signal, a lock, a read, a send. So a
//! sender that was woken again soon after its last look waits before the next one, and `SIGUSR1`
//! stays pending meanwhile. The time between two looks grows as long as that brings more, up to
//! [`LONGEST`], and shrinks when it does not: a line after silence is never held back, and a talk in
//! which each waits for the other hardly.

use std::time::{Duration, Instant};

/// How long a line waits at most for others.
const LONGEST: Duration = Duration::from_millis(4);
/// The first step of the way there.
const SHORTEST: Duration = Duration::from_micros(250);
/// So many bytes at a look are worth its cost.
const ENOUGH: usize = 1024;

/// When to look at the log.
#[derive(Debug)]
pub(super) struct Gathering {
    /// When the log was last read to its end.
    looked: Instant,
    /// How far apart two looks are to be.
    interval: Duration,
    /// Whether the last pause brought more; none without a pause.
    brought: Option<bool>,
}

impl Gathering {
    pub(super) fn new(now: Instant) -> Self {
        Self { looked: now, interval: Duration::ZERO, brought: None }
    }

    /// How long to wait after a wake before the log is read.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.looked);
        if since >= LONGEST {
            self.interval = Duration::ZERO;
        }
        self.interval.checked_sub(since).filter(|pause| !pause.is_zero())
    }

    /// The pause is over; whether anyone has spoken meanwhile.
    pub(super) fn paused(&mut self, brought: bool) {
        self.brought = Some(brought);
    }

    /// The log has been read to its end, and held `count` new bytes.
    pub(super) fn read(&mut self, count: usize, now: Instant) {
        let is_close = now.saturating_duration_since(self.looked) < LONGEST;
        let in_vain = self.brought.take() == Some(false);
        if in_vain || count > 4 * ENOUGH {
            self.interval /= 2;
            if self.interval < SHORTEST {
                self.interval = Duration::ZERO;
            }
        } else if is_close && count < ENOUGH {
            self.interval = (self.interval * 2).clamp(SHORTEST, LONGEST);
        }
        self.looked = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: usize = 64;

    /// A sender in a talk of a second with a line each `apart`: how many times it looked at the log,
    /// and how long a line waited at most. `answered`: the next line comes `apart` after the last
    /// one was sent.
    fn talk(apart: Duration, answered: bool) -> (usize, Duration) {
        let begin = Instant::now();
        let end = begin + Duration::from_secs(1);
        let mut gathering = Gathering::new(begin);
        let (mut looks, mut longest) = (0, Duration::ZERO);
        let mut next = begin + apart;
        while next < end {
            let first = next;
            let mut now = first;
            next += apart;
            let mut count = LINE;
            if let Some(pause) = gathering.pause(now) {
                now += pause;
                let waiting = count;
                while !answered && next <= now {
                    count += LINE;
                    next += apart;
                }
                gathering.paused(count > waiting);
            }
            gathering.read(count, now);
            if answered {
                next = now + apart;
            }
            looks += 1;
            longest = longest.max(now - first);
        }
        (looks, longest)
    }

    #[test]
    fn many_lines_are_sent_together() {
        let (looks, longest) = talk(Duration::from_micros(100), false);
        assert!((250..1000).contains(&looks), "{looks} looks for 10,000 lines");
        assert!(longest <= LONGEST, "{longest:?}");
    }

    #[test]
    fn a_line_after_silence_is_not_held_back() {
        assert_eq!(talk(Duration::from_millis(5), false), (199, Duration::ZERO));
    }

    #[test]
    fn who_waits_for_an_answer_waits_little() {
        let (looks, longest) = talk(Duration::from_micros(100), true);
        assert!(looks > 4000, "{looks} lines where each follows 100 µs after the last");
        assert!(longest <= SHORTEST, "{longest:?}");
    }

    #[test]
    fn what_is_enough_is_not_waited_for() {
        let now = Instant::now();
        let mut gathering = Gathering::new(now);
        gathering.read(LINE, now);
        assert_eq!(gathering.pause(now), Some(SHORTEST));
        gathering.paused(true);
        gathering.read(8 * ENOUGH, now);
        assert_eq!(gathering.pause(now), None);
    }
}
