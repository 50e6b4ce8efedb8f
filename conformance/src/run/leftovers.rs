//! Shared memory, semaphores and queues that a server leaves: no end of a process removes them, so the
//! warden does.
//!
//! Others on the machine make such objects, too. One is the check's own if a process of the check has
//! made or used it, which is looked at as long as that process is there.

use crate::platform::{self, Shared};

/// What has turned up since a check began.
#[derive(Debug)]
pub(super) struct Leftovers {
    /// What was there before, and what has turned out to be somebody else's.
    others: Vec<Shared>,
    own: Vec<Shared>,
}

impl Leftovers {
    /// From here on.
    pub(super) fn new() -> Self {
        Self { others: platform::shared_objects(), own: Vec::new() }
    }

    /// Looks whether processes below this one have made any.
    pub(super) fn look(&mut self) {
        let mut new = platform::shared_objects();
        new.retain(|object| !is_among(&self.own, object) && !is_among(&self.others, object));
        if new.is_empty() {
            return;
        }
        let table = platform::process_table().unwrap_or_default();
        let below = platform::descendants(&table, std::process::id() as i32);
        for object in new {
            // Who merely uses what is another user's must not make this process remove it.
            let is_own = below.iter().any(|process| {
                (object.users.contains(&process.pid) || platform::maps(process.pid, &object))
                    && platform::credentials(process.pid)
                        .is_ok_and(|(ids, _)| ids.contains(&object.owner))
            });
            if is_own {
                self.own.push(object);
            } else if !object.users.iter().all(|&pid| pid == 0) {
                // One of which nobody is known yet is looked at again.
                self.others.push(object);
            }
        }
    }

    /// Removes what is left, now that no process is. Returns that in words.
    pub(super) fn remove(self) -> Option<String> {
        let there = platform::shared_objects();
        let mut words: Vec<String> = Vec::new();
        for object in self.own.iter().filter(|object| is_among(&there, object)) {
            words.push(match platform::remove_shared(object) {
                Ok(()) => object.to_string(),
                Err(why) => format!("{object} (not removed: {why})"),
            });
        }
        (!words.is_empty())
            .then(|| format!("the server left this, and it was removed: {}", words.join(", ")))
    }
}

/// Whoever has used it last.
fn is_among(list: &[Shared], object: &Shared) -> bool {
    list.iter().any(|other| (other.kind, &other.id) == (object.kind, &object.id))
}
