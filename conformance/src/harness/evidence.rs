//! What a failure is shown with, so that nobody needs strace: the bytes in and out with their
//! times, the processes with their signal states, the locks, the server's own words.

use std::os::unix::fs::MetadataExt;

use forkproof_report::Evidence;

use super::record::Scene;
use super::world::World;
use crate::platform::{self, signal_names};

/// How much of a server's output is kept, in bytes from its end.
const OUTPUT: u64 = 4096;

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
        processes.push(format!("{pid} has ended: {}", status));
    }
    let mut output = Vec::new();
    for server in world.servers.borrow().iter() {
        output.extend(server.output_tail(OUTPUT).lines().map(str::to_owned));
    }
    Evidence { timeline: world.timeline.borrow().lines(), processes, locks, output }
}
