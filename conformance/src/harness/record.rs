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
    first: Vec<Run>,
    last: VecDeque<Run>,
    dropped: usize,
}

/// Events of one kind, with no other between: a client that says a hundred lines, for example.
#[derive(Debug)]
struct Run {
    /// Who does what, where that is done again and again with other words.
    kind: Option<String>,
    first: String,
    /// How many there are between the first and the last.
    between: usize,
    last: Option<String>,
}

impl Run {
    fn new(who: &str, what: &str, line: String) -> Self {
        let kind = what.split_once('"').map(|(verb, _)| format!("{who}: {verb}"));
        Self { kind, first: line, between: 0, last: None }
    }

    /// Takes in what follows it if that is of its kind; else gives it back.
    fn join(&mut self, next: Self) -> Option<Self> {
        if next.kind.is_none() || next.kind != self.kind {
            return Some(next);
        }
        if self.last.replace(next.first).is_some() {
            self.between += 1;
        }
        None
    }

    fn length(&self) -> usize {
        1 + self.between + usize::from(self.last.is_some())
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let between = match self.between {
            0 => None,
            count => Some(format!("             … {count} more of that kind …")),
        };
        [Some(self.first.clone()), between, self.last.clone()].into_iter().flatten()
    }
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
        let line = format!("{:>9.3} ms  {who}: {what}", self.start.elapsed().as_secs_f64() * 1e3);
        self.add(Run::new(who, &what, line));
    }

    fn add(&mut self, next: Run) {
        let latest = self.last.back_mut().or(self.first.last_mut());
        let next = match latest {
            Some(latest) => latest.join(next),
            None => Some(next),
        };
        let Some(next) = next else { return };
        if self.last.is_empty() && self.first.len() < FIRST_EVENTS {
            self.first.push(next);
            return;
        }
        if self.last.len() == LAST_EVENTS {
            self.dropped += self.last.pop_front().map_or(0, |run| run.length());
        }
        self.last.push_back(next);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.first.iter().flat_map(Run::lines).collect();
        if self.dropped > 0 {
            lines.push(format!("             … {} events left out …", self.dropped));
        }
        lines.extend(self.last.iter().flat_map(Run::lines));
        lines
    }
}

/// As many bytes of a piece are shown.
pub(super) const SHOWN: usize = 60;

/// `bytes` for a person: printable, with escapes, cut after 60 bytes, with the length.
pub fn excerpt(bytes: &[u8]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_again_and_again_is_told_once() {
        let mut timeline = Timeline::new();
        let mut add = |who: &str, what: &str| {
            timeline.add(Run::new(who, what, format!("{who}: {what}")));
        };
        add("alice", "connects");
        add("alice", "connects");
        for number in 1..=100 {
            add("alice", &format!("sends \"{number}\""));
        }
        add("bob", "hears \"1\"");
        add("alice", "sends \"101\"");
        add("alice", "sends \"102\"");
        assert_eq!(
            timeline.lines(),
            [
                "alice: connects",
                "alice: connects",
                "alice: sends \"1\"",
                "             … 98 more of that kind …",
                "alice: sends \"100\"",
                "bob: hears \"1\"",
                "alice: sends \"101\"",
                "alice: sends \"102\"",
            ]
        );
        for number in 0..1000 {
            timeline.add(Run::new("bob", "waits", format!("bob: waits {number}")));
        }
        let lines = timeline.lines();
        // Five runs came first.
        assert_eq!(lines.len(), 8 + FIRST_EVENTS - 5 + 1 + LAST_EVENTS);
        let left_out = 1000 - (FIRST_EVENTS - 5) - LAST_EVENTS;
        assert!(
            lines.contains(&format!("             … {left_out} events left out …")),
            "{lines:?}"
        );
    }
}
