//! What a failure is shown with, so that nobody needs strace.

use serde::{Deserialize, Serialize};

/// Everything that is known about a failed check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What happened when, oldest first.
    pub timeline: Vec<String>,
    /// The server's processes, with their signal states.
    pub processes: Vec<String>,
    /// Locks on the chat log, held and awaited.
    pub locks: Vec<String>,
    /// The end of the server's own output.
    pub output: Vec<String>,
}

impl Evidence {
    /// Each part that has lines, with its heading: the same at a terminal and on a page.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        [
            ("Timeline", self.timeline.as_slice()),
            ("Processes", self.processes.as_slice()),
            ("Locks on the chat log", self.locks.as_slice()),
            ("The server's output", self.output.as_slice()),
        ]
        .into_iter()
        .filter(|(_, lines)| !lines.is_empty())
    }
}
