//! How long a sender lets lines gather where many are said.
//!
//! A wake costs the same for one new line as for a hundred: a signal, a lock, a read, a send. So a
//! sender that has just looked at the log waits before the next look, and `SIGUSR1` stays pending
//! meanwhile. The time between two looks grows, up to [`LONGEST`], until a look is worth its cost, and
//! as long as the talk does not become slower by that: where each waits for what the other says,
//! nothing is gained by waiting. When nobody has said anything meanwhile all this is forgotten, so a
//! line after silence is never held back.

use std::time::{Duration, Instant};

/// How long a line waits at most for others. (A person sees no delay below 50 ms or so.)
const LONGEST: Duration = Duration::from_millis(16);
/// A shorter wait is not worth a timer.
const SHORTEST: Duration = Duration::from_micros(250);
/// So many bytes at a look are worth its cost.
const ENOUGH: usize = 1024;
/// So many times the time between two wakes is tried first.
const SEVERAL: u32 = 4;
/// After so many looks the time between them is thought over.
const LOOKS: u32 = 32;
/// A longer time is undone when the talk is slower then than that share of what it was at most. (Where
/// it waits for this sender, twice the time makes it almost half as fast.)
const SLOWER: f64 = 0.7;
/// So often it is not tried then; twice as often when that is in vain again, up to
const RESPITE: u32 = 4;
const LONGEST_RESPITE: u32 = 256;

/// When to look at the log.
#[derive(Debug)]
pub(super) struct Gathering {
    /// How far apart two looks are to be.
    interval: Duration,
    /// The looks since that was last thought over: how many, the bytes that they found, and since when.
    looks: (u32, usize, Instant),
    /// What the interval was before it grew, as long as that is being tried.
    before: Option<Duration>,
    /// The most bytes that came in a second.
    best: f64,
    /// How often it is not to grow yet, and how often the next time when growing is in vain.
    respite: (u32, u32),
}

impl Gathering {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            interval: Duration::ZERO,
            looks: (0, 0, now),
            before: None,
            best: 0.0,
            respite: (0, RESPITE),
        }
    }

    /// The log has been read to its end, and held `count` new bytes. Returns how long to wait before
    /// the next look.
    pub(super) fn read(&mut self, count: usize, now: Instant) -> Option<Duration> {
        let (looks, bytes, since) = &mut self.looks;
        *looks += 1;
        *bytes += count;
        if *looks == LOOKS {
            let (bytes, time) = (*bytes, now.saturating_duration_since(*since));
            self.looks = (0, 0, now);
            self.think(bytes, time);
        }
        (!self.interval.is_zero()).then_some(self.interval)
    }

    /// The last looks have found so many bytes, and took so long.
    fn think(&mut self, bytes: usize, time: Duration) {
        let rate = bytes as f64 / time.as_secs_f64().max(1e-9);
        let (respite, after) = &mut self.respite;
        match self.before.take() {
            Some(interval) if rate < self.best * SLOWER => {
                (*respite, *after) = (*after, (*after * 2).min(LONGEST_RESPITE));
                self.interval = interval;
                return;
            }
            Some(_) => *after = RESPITE,
            None => *respite = respite.saturating_sub(1),
        }
        self.best = self.best.max(rate);
        let each = bytes / LOOKS as usize;
        // A pause is a further wake: it pays where it brings several lines.
        let longer = match self.interval.is_zero() {
            true => (time / LOOKS * SEVERAL).max(SHORTEST),
            false => self.interval * 2,
        };
        if each > 4 * ENOUGH {
            self.interval /= 2;
        } else if each < ENOUGH && longer <= LONGEST && *respite == 0 {
            self.before = Some(self.interval);
            self.interval = longer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: usize = 64;

    /// A sender in a talk of a second.
    #[derive(Default)]
    struct Talk {
        lines: usize,
        /// How many times it looked at the log.
        looks: usize,
        /// How long a line waited at most.
        longest: Duration,
    }

    /// A line comes each `apart`, whether or not those before it were sent.
    fn steady(apart: Duration) -> Talk {
        let begin = Instant::now();
        let (mut gathering, mut talk) = (Gathering::new(begin), Talk::default());
        let (mut next, mut rested) = (begin + apart, begin);
        while next < begin + Duration::from_secs(1) {
            let first = next;
            let now = first.max(rested);
            let mut count = 0;
            while next <= now {
                count += 1;
                next += apart;
            }
            talk.lines += count;
            talk.looks += 1;
            talk.longest = talk.longest.max(now - first);
            if let Some(pause) = gathering.read(count * LINE, now) {
                rested = now + pause;
                if next > rested {
                    gathering = Gathering::new(rested);
                }
            }
        }
        talk
    }

    /// `lines` come each time, `apart` after the last ones were sent.
    fn answered(lines: usize, apart: Duration) -> Talk {
        let begin = Instant::now();
        let (mut gathering, mut talk) = (Gathering::new(begin), Talk::default());
        let mut now = begin;
        while now < begin + Duration::from_secs(1) {
            let pause = gathering.read(lines * LINE, now).unwrap_or_default();
            if pause < apart && !pause.is_zero() {
                gathering = Gathering::new(now + pause);
            }
            talk.lines += lines;
            talk.looks += 1;
            talk.longest = talk.longest.max(pause.saturating_sub(apart));
            now += pause.max(apart);
        }
        talk
    }

    #[test]
    fn many_lines_are_sent_together() {
        let talk = steady(Duration::from_micros(100));
        assert!(talk.lines >= 9999, "{}", talk.lines);
        assert!((250..1200).contains(&talk.looks), "{} looks", talk.looks);
        assert!(talk.longest <= LONGEST, "{:?}", talk.longest);
    }

    #[test]
    fn where_waiting_brings_little_nobody_waits() {
        let talk = steady(LONGEST / 3);
        assert_eq!(talk.longest, Duration::ZERO);
    }

    #[test]
    fn what_is_enough_is_not_waited_for() {
        let talk = steady(Duration::from_micros(5));
        assert!(talk.looks > 1000, "{} looks", talk.looks);
        assert!(talk.longest < Duration::from_millis(1), "{:?}", talk.longest);
    }

    #[test]
    fn a_line_after_silence_is_not_held_back() {
        let talk = steady(LONGEST + SHORTEST);
        assert_eq!(talk.longest, Duration::ZERO);
        assert_eq!(talk.looks, talk.lines);
    }

    #[test]
    fn who_waits_for_an_answer_waits_little() {
        for lines in [1, 8] {
            let talk = answered(lines, Duration::from_micros(100));
            assert!(talk.looks > 9000, "{} of 10,000 looks", talk.looks);
            assert!(talk.longest <= 2 * SHORTEST, "{:?}", talk.longest);
        }
    }
}
