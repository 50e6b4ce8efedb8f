//! What a failure is shown with, so that nobody needs strace: the bytes in and out with their
//! times, the processes with their signal states, the locks, the server's own words.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::World;
use crate::platform::{self, signal_names};

/// How many events are kept: the first ones and the last ones tell the story.
const FIRST_EVENTS: usize = 20;
const LAST_EVENTS: usize = 60;
/// How much of a server's output is kept, in bytes from its end.
const OUTPUT: u64 = 4096;

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

    fn lines(&self) -> Vec<String> {
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
pub(crate) struct Scene {
    processes: Vec<String>,
    locks: Vec<String>,
}

/// What is there right now.
pub(super) fn scene(world: &World) -> Scene {
    let mut scene = Scene::default();
    if let Ok(table) = platform::process_table() {
        for process in platform::descendants(&table, std::process::id() as i32) {
            let signals = match platform::signal_state(process.pid) {
                Ok(state) => format!(
                    "ignored {} · caught {} · blocked {} · pending {}",
                    signal_names(state.ignored),
                    signal_names(state.caught),
                    signal_names(state.blocked),
                    signal_names(state.pending)
                ),
                Err(reason) => reason,
            };
            scene.processes.push(format!(
                "{} (parent {}, group {}, session {}) {} {}: {signals}",
                process.pid,
                process.parent,
                process.group,
                process.session,
                process.name,
                process.state.word()
            ));
        }
    }
    let locks = platform::lock_table().unwrap_or_default();
    let mut seen_logs = Vec::new();
    for server in world.servers.borrow().iter() {
        if seen_logs.contains(&server.log) {
            continue;
        }
        seen_logs.push(server.log.clone());
        let Ok(metadata) = std::fs::metadata(&server.log) else { continue };
        for lock in locks.iter().filter(|lock| lock.inode == metadata.ino()) {
            scene.locks.push(format!(
                "{} {} {}: {} {}",
                if lock.pid == std::process::id() as i32 { "the check," } else { "process" },
                lock.pid,
                if lock.waiting { "waits for" } else { "holds" },
                lock.kind,
                if lock.exclusive { "exclusive" } else { "shared" }
            ));
        }
    }
    scene
}

/// All there is to show: what happened, and the scene of the last failure, if there was one.
pub(super) fn gather(world: &World) -> Evidence {
    let Scene { mut processes, locks } =
        world.scene.borrow_mut().take().unwrap_or_else(|| scene(world));
    for (pid, status) in world.ended.borrow().iter() {
        processes.push(format!("{pid} has ended: {}", super::processes::status_words(status)));
    }
    let mut output = Vec::new();
    for server in world.servers.borrow().iter() {
        output.extend(server.output_tail(OUTPUT).lines().map(str::to_owned));
    }
    Evidence { timeline: world.timeline.borrow().lines(), processes, locks, output }
}
