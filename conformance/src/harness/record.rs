//! What happens in a check, as it is told afterwards: its events, with their times, and what was
//! there at the moment of a failure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many events are kept: the first ones and the last ones tell the story.
const FIRST_EVENTS: usize = 20;
const LAST_EVENTS: usize = 60;

/// The events of a check.
#[derive(Debug)]
pub struct Timeline {
    start: Instant,
    first: Vec<String>,
    last: VecDeque<String>,
    dropped: usize,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), first: Vec::new(), last: VecDeque::new(), dropped: 0 }
    }

    /// How long it has been since the check began.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn note(&mut self, who: &str, what: String) {
        let event = format!("{:>9.3} ms  {who}: {what}", self.start.elapsed().as_secs_f64() * 1e3);
        if self.first.len() < FIRST_EVENTS {
            self.first.push(event);
            return;
        }
        if self.last.len() == LAST_EVENTS {
            self.last.pop_front();
            self.dropped += 1;
        }
        self.last.push_back(event);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = self.first.clone();
        if self.dropped > 0 {
            lines.push(format!("             … {} events left out …", self.dropped));
        }
        lines.extend(self.last.iter().cloned());
        lines
    }
}

/// `bytes` for a person: printable, with escapes, cut after 60 bytes, with the length.
pub fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 60;
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    if bytes.len() <= SHOWN {
        format!("\"{shown}\"")
    } else {
        format!("\"{shown}…\" ({} bytes)", bytes.len())
    }
}

/// What was there at one moment.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    pub(super) processes: Vec<String>,
    /// The ids of those processes; what has ended and is not reaped is not among them.
    pub(super) there: Vec<i32>,
    /// Those that have ended and are not reaped.
    pub(super) zombies: Vec<i32>,
    /// Those that stand still, in words.
    pub(super) stopped: Vec<String>,
    pub(super) locks: Vec<String>,
}
