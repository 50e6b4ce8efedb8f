//! Whether the server took what was sent.

use std::collections::VecDeque;

use memchr::memmem;

use super::failure::{Exit, Failure};

/// The lines that were sent and have not come back yet.
///
/// The server sends every byte of the log to everybody, the sender included, so a line that comes
/// back was appended. Lines are compared whole and in order; other people's may stand between
/// them. One weakness cannot be mended from this side: an equal line among the last lines that
/// the server replays is taken for the one just sent. That is why a sender also waits for the
/// server to close in good order.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    pending: VecDeque<Vec<u8>>,
    /// The end of what arrived, as far as a line may have begun in it.
    tail: Vec<u8>,
    returned: u64,
}

impl Delivery {
    /// Notes bytes given to the connection: a whole line, or the last one, which has no end.
    pub(super) fn sent(&mut self, line: Vec<u8>) {
        self.pending.push_back(line);
    }

    /// Notes bytes that arrived; returns whether they brought a line back.
    pub(super) fn heard(&mut self, bytes: &[u8]) -> bool {
        let before = self.returned;
        self.tail.extend_from_slice(bytes);
        let mut searched = 0;
        while let Some(line) = self.pending.front() {
            match memmem::find(&self.tail[searched..], line) {
                Some(at) => {
                    searched += at + line.len();
                    self.pending.pop_front();
                    self.returned += 1;
                }
                None => break,
            }
        }
        let kept = self.pending.front().map_or(0, |line| line.len() - 1);
        let searched = searched.max(self.tail.len().saturating_sub(kept));
        self.tail.drain(..searched);
        self.returned > before
    }

    /// How many lines have not come back.
    pub(super) fn missing(&self) -> usize {
        self.pending.len()
    }

    /// Adds to a loss what became of the lines. `unsent`: how many bytes of them the connection
    /// never took. Only of lines that it took, and that did not come back, is it unknown whether
    /// they are stored.
    pub(super) fn explain(&self, mut failure: Failure, mut unsent: usize) -> Failure {
        let (Some(message), Exit::Lost, 1..) = (&mut failure.message, failure.exit, self.missing())
        else {
            return failure;
        };
        let never_sent = self.pending.iter().rev().take_while(|line| {
            let whole = line.len() <= unsent;
            unsent = unsent.saturating_sub(line.len());
            whole
        });
        let never_sent = never_sent.count();
        let count = |count: usize| format!("{count} line{}", if count == 1 { "" } else { "s" });
        match self.missing() - never_sent {
            0 => {}
            unknown => message.push_str(&format!(
                "; {} did not come back: stored or not, unknown",
                count(unknown)
            )),
        }
        if never_sent > 0 {
            message.push_str(&format!("; {} never sent", count(never_sent)));
        }
        message.push_str(&format!("; {} came back", self.returned));
        failure
    }

    /// How many lines came back.
    pub(super) fn returned(&self) -> u64 {
        self.returned
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::all(&["a: 1\n", "a: 2\n"], "a: 1\na: 2\n", 0)]
    #[case::others_between(&["a: 1\n", "a: 2\n"], "b: x\na: 1\nb: y\na: 2\nb: z\n", 0)]
    #[case::last_missing(&["a: 1\n", "a: 2\n"], "a: 1\n", 1)]
    #[case::first_missing(&["a: 1\n", "a: 2\n"], "a: 2\n", 2)]
    #[case::wrong_order(&["a: 1\n", "a: 2\n"], "a: 2\na: 1\n", 1)]
    #[case::equal_lines_once(&["a: 1\n", "a: 1\n"], "a: 1\n", 1)]
    #[case::torn(&["a: 1\n"], "a: b: x\n1\n", 1)]
    #[case::without_its_end(&["a: 1\n"], "a: 1", 1)]
    #[case::raw_without_end(&["raw"], "something raw", 0)]
    #[case::nothing_sent(&[], "b: x\n", 0)]
    fn what_came_back(#[case] sent: &[&str], #[case] heard: &str, #[case] missing: usize) {
        for size in 1..=heard.len() {
            let mut delivery = Delivery::default();
            for line in sent {
                delivery.sent(line.as_bytes().to_vec());
            }
            for piece in heard.as_bytes().chunks(size) {
                delivery.heard(piece);
            }
            assert_eq!(delivery.missing(), missing, "in pieces of {size}");
            assert_eq!(delivery.returned(), (sent.len() - missing) as u64);
        }
    }

    #[rstest]
    #[case::sent(0, "lost; 2 lines did not come back: stored or not, unknown; 1 came back")]
    #[case::half_sent(3, "lost; 2 lines did not come back: stored or not, unknown; 1 came back")]
    #[case::one_sent(
        5,
        "lost; 1 line did not come back: stored or not, unknown; 1 line never sent; 1 came back"
    )]
    #[case::none_sent(10, "lost; 2 lines never sent; 1 came back")]
    fn what_is_known(#[case] unsent: usize, #[case] message: &str) {
        let mut delivery = Delivery::default();
        for line in ["a: 1\n", "a: 2\n", "a: 3\n"] {
            delivery.sent(line.as_bytes().to_vec());
        }
        delivery.heard(b"a: 1\n");
        let failure = delivery.explain(Failure::new(Exit::Lost, "lost"), unsent);
        assert_eq!(failure.message.as_deref(), Some(message));
        let refused = delivery.explain(Failure::new(Exit::Refused, "refused"), 0);
        assert_eq!(refused.message.as_deref(), Some("refused"));
    }

    #[test]
    fn what_arrived_is_not_hoarded() {
        let mut delivery = Delivery::default();
        delivery.heard(&[b'x'; 1000]);
        assert_eq!(delivery.tail.len(), 0);
        delivery.sent(b"a: 1\n".to_vec());
        delivery.heard(&[b'x'; 1000]);
        assert_eq!(delivery.tail.len(), 4);
    }
}
