//! What was entered before, brought back: step by step, or by a part of it (Ctrl-R).

use tui_input::Input;

/// Entered lines that can be brought back.
const HISTORY: usize = 1000;

/// The lines that were entered.
#[derive(Default)]
pub(super) struct History {
    lines: Vec<String>,
    /// How many steps back the user is; 0 is the line being written.
    back: usize,
    /// The line being written, while older ones are looked at.
    draft: String,
}

impl History {
    pub(super) fn add(&mut self, line: String) {
        self.back = 0;
        if self.lines.last() != Some(&line) {
            self.lines.push(line);
        }
        let excess = self.lines.len().saturating_sub(HISTORY);
        self.lines.drain(..excess);
    }

    pub(super) fn older(&mut self, input: &mut Input) {
        if self.back == self.lines.len() {
            return;
        }
        if self.back == 0 {
            input.value().clone_into(&mut self.draft);
        }
        self.back += 1;
        self.show(input);
    }

    pub(super) fn newer(&mut self, input: &mut Input) {
        if self.back > 0 {
            self.back -= 1;
            self.show(input);
        }
    }

    fn show(&self, input: &mut Input) {
        let line = match self.back {
            0 => &self.draft,
            back => &self.lines[self.lines.len() - back],
        };
        *input = Input::new(line.clone());
    }

    /// The newest line with `text` in it, of those older than the `skipped` newest such lines; and, if
    /// there is none so old, the oldest.
    pub(super) fn find(&self, text: &str, skipped: usize) -> Option<&str> {
        let mut found =
            self.lines.iter().rev().filter(|line| line.contains(text)).take(skipped + 1);
        let first = found.next()?;
        Some(found.last().unwrap_or(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_goes_back_and_returns_to_the_draft() {
        let mut history = History::default();
        for line in ["one", "two", "two"] {
            history.add(line.to_owned());
        }
        let mut input = Input::new("draft".to_owned());
        let mut seen = Vec::new();
        for older in [true, true, true, false, false, false] {
            if older {
                history.older(&mut input)
            } else {
                history.newer(&mut input)
            }
            seen.push(input.value().to_owned());
        }
        assert_eq!(seen, ["two", "one", "one", "two", "draft", "draft"]);
    }

    #[test]
    fn what_was_said_is_found_by_a_part_of_it() {
        let mut history = History::default();
        for line in ["tea is ready", "coffee", "no tea left"] {
            history.add(line.to_owned());
        }
        assert_eq!(history.find("tea", 0), Some("no tea left"));
        assert_eq!(history.find("tea", 1), Some("tea is ready"));
        assert_eq!(history.find("tea", 9), Some("tea is ready"));
        assert_eq!(history.find("cocoa", 0), None);
    }
}
