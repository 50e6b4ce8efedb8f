//! What a failure is shown with, so that nobody needs strace: the bytes in and out with their
//! times, the processes with their signal states, the locks, the server's own words.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use forkproof_report::Evidence;

use super::record::Scene;
use super::seen::{numbers, tells_of_an_end};
use super::world::World;
use crate::platform::{self, State, signal_names};

/// How much of a server's output is kept, in bytes from its end.
const OUTPUT: u64 = 4096;
/// Of how many processes that have gone is told at most, those first of which the server says how.
const MOST_GONE: usize = 8;

/// What is there right now.
pub(super) fn scene(world: &World) -> Scene {
    let mut scene = Scene::default();
    if let Ok(table) = platform::process_table() {
        let mut processes = platform::descendants(&table, std::process::id() as i32);
        world.look_at(&processes);
        // Those of a kind together.
        let seen = world.seen.borrow();
        processes.sort_by_key(|process| seen.get(process.pid).map(|seen| seen.role));
        drop(seen);
        for process in processes {
            let name = world.name(process.pid);
            if process.state == State::Zombie {
                scene.zombies.push(process.pid);
                continue;
            }
            scene.there.push(process.pid);
            if process.state == State::Stopped {
                scene.stopped.push(format!("{name} is stopped"));
            }
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
                "{name} (parent {}, group {}, session {}) {} {}: {signals}",
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
                "{} {} {}: {}",
                if lock.pid == std::process::id() as i32 { "the check," } else { "process" },
                lock.pid,
                if lock.waiting { "waits for" } else { "holds" },
                lock.words()
            ));
        }
    }
    scene
}

/// All there is to show: what happened, and the scene of the last failure, if there was one.
pub(super) fn gather(world: &World) -> Evidence {
    let Scene { mut processes, locks, there, zombies, .. } =
        world.scene.borrow_mut().take().unwrap_or_else(|| scene(world));
    let ended = world.ended.borrow();
    for (pid, ending, at) in ended.iter() {
        let at = at.as_secs_f64() * 1e3;
        processes.push(format!("{} {ending} at {at:.0} ms", world.name(*pid)));
    }
    let reaped = |pid: i32| ended.iter().any(|(ended, ..)| *ended == pid);
    let seen = world.seen.borrow();
    let gone: Vec<_> =
        seen.iter().filter(|(pid, _)| !there.contains(pid) && !reaped(*pid)).collect();
    let words = LastWords::now(world);
    let (told, quiet): (Vec<_>, Vec<_>) = gone
        .into_iter()
        .map(|(pid, known)| (pid, known, words.about(pid, known.parent)))
        .partition(|(_, _, words)| words.is_some());
    let shown = told.into_iter().chain(quiet);
    let total = seen.len();
    for (at, (pid, known, words)) in shown.enumerate() {
        if at == MOST_GONE {
            processes.push(format!("others that have gone too; {total} in all were seen"));
            break;
        }
        let last = known.last.as_secs_f64() * 1e3;
        let how = match words {
            Some(words) => format!("the server says: {words}"),
            None if zombies.contains(&pid) => "its parent had not waited for it yet".to_owned(),
            None => "its parent knows how".to_owned(),
        };
        processes.push(format!("{} {pid} has gone, last seen at {last:.0} ms; {how}", known.role));
    }
    let mut output = Vec::new();
    for server in world.servers.borrow().iter() {
        output.extend(server.output_tail(OUTPUT).lines().map(str::to_owned));
    }
    Evidence { timeline: world.timeline.borrow().lines(), processes, locks, output }
}

/// Waits a moment for what a server says of processes of its own that have gone: they end before it can
/// tell so.
pub(super) fn await_last_words(world: &World) {
    const A_MOMENT: Duration = Duration::from_millis(250);
    const AT_LEAST: Duration = Duration::from_secs(1);
    let Some(there) = world.scene.borrow().as_ref().map(|scene| scene.there.clone()) else {
        return;
    };
    let unexplained = || {
        let (words, seen) = (LastWords::now(world), world.seen.borrow());
        let mut gone = seen.iter().filter(|(pid, known)| {
            known.role != "process" && !there.contains(pid) && world.ending_of(*pid).is_none()
        });
        gone.any(|(pid, known)| words.about(pid, known.parent).is_none())
    };
    // What does not come is told as unknown.
    let _ = world.wait(world.scaled(A_MOMENT).max(AT_LEAST), || Ok((!unexplained()).then_some(())));
}

/// What the servers say of processes that have ended.
struct LastWords {
    /// By server: each line, with the processes that it names.
    lines: Vec<Vec<(String, Vec<i32>)>>,
}

impl LastWords {
    fn now(world: &World) -> Self {
        let seen = world.seen.borrow();
        let of_one = |line: &str| {
            let named = numbers(line).filter(|&number| seen.get(number).is_some()).collect();
            (line.trim().to_owned(), named)
        };
        let servers = world.servers.borrow();
        let lines = servers.iter().map(|server| {
            let output = server.output_tail(OUTPUT);
            output.lines().filter(|line| tells_of_an_end(line)).map(of_one).collect()
        });
        Self { lines: lines.collect() }
    }

    /// Of the end of `pid`, in a line that names it; or that is by its parent and names nobody else.
    fn about(&self, pid: i32, parent: i32) -> Option<&str> {
        self.lines.iter().find_map(|lines| {
            let names_it = |named: &[i32]| named.contains(&pid);
            let by_parent = |named: &[i32]| {
                named.contains(&parent) && named.iter().all(|one| [pid, parent].contains(one))
            };
            let (line, _) = lines
                .iter()
                .find(|(_, named)| names_it(named))
                .or_else(|| lines.iter().find(|(_, named)| by_parent(named)))?;
            Some(line.as_str())
        })
    }
}
