//! What the sink uses: all of its processes, those that have ended too.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::platform::{self, Used};

/// How the processor time is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounting {
    /// By a group where one can be made, else by the processes.
    Either,
    /// By a group, a cgroup of Linux.
    Group,
    /// By the processes themselves.
    Processes,
}

/// A group of processes, or none; removed when this is dropped, when nobody is in it any more.
#[derive(Debug)]
pub struct Group {
    dir: Option<PathBuf>,
    /// How the processor time is told, in words.
    pub words: String,
}

impl Group {
    /// As `accounting` says.
    ///
    /// # Errors
    /// Why there can be no group, when nothing else will do.
    pub fn new(accounting: Accounting) -> Result<Self, String> {
        let name = format!("{}{}", platform::GROUP_PREFIX, std::process::id());
        let without = |why: Option<String>| Self {
            dir: None,
            words: match why {
                Some(why) => format!("{} (no group: {why})", platform::PROCESS_CLOCKS),
                None => platform::PROCESS_CLOCKS.to_owned(),
            },
        };
        if accounting == Accounting::Processes {
            return Ok(without(None));
        }
        let made = platform::make_group(&name).and_then(|dir| {
            let group = Self { dir: Some(dir), words: platform::GROUP_CLOCK.to_owned() };
            group.works().map(|()| group)
        });
        match made {
            Ok(group) => Ok(group),
            Err(why) if accounting == Accounting::Group => Err(why),
            Err(why) => Ok(without(Some(why))),
        }
    }

    /// Whether a process may begin in it, and is counted.
    fn works(&self) -> Result<(), String> {
        let dir = self.path().ok_or("there is no group")?;
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut nothing = Command::new(own);
        nothing.arg("__nothing").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        platform::start_in_group(&mut nothing, dir)?;
        let status = nothing.status().map_err(|error| {
            format!("no process can begin in {}: {}", dir.display(), settings::reason(&error))
        })?;
        match platform::group_time(dir)? {
            used if status.success() && !used.is_zero() => Ok(()),
            _ => Err(format!("{} does not count what is in it", dir.display())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> Option<&Path> {
        self.dir.as_deref()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(dir) = &self.dir {
            platform::remove_group(dir);
        }
    }
}

/// The processor time that the sink has used so far.
pub(super) fn processor_time(group: Option<&Path>) -> Result<Duration, String> {
    match group {
        Some(group) => platform::group_time(group),
        None => Ok(tree()?.processor),
    }
}

/// What all processes below this one have used so far.
pub(super) fn tree() -> Result<Used, String> {
    /// A tree in which processes come and go is looked at again, since one that ends between two looks
    /// would be missed, or counted twice.
    const LOOKS: usize = 20;
    let mut sum = Used::none();
    for _ in 0..LOOKS {
        let before = ids()?;
        sum = Used::none();
        for &pid in &before {
            // One that has gone shows in the next table.
            if let Ok(used) = platform::used_by(pid) {
                sum = sum + used;
            }
        }
        if ids()? == before {
            break;
        }
    }
    Ok(sum)
}

/// Those that have ended and that nobody has waited for are among them: they count.
fn ids() -> Result<Vec<i32>, String> {
    let table = platform::process_table()?;
    let below = platform::descendants(&table, std::process::id() as i32);
    Ok(below.iter().map(|process| process.pid).collect())
}

/// Memory of all processes in bytes, what they share counted once.
pub(super) fn memory() -> Result<u64, String> {
    super::sink::below()?.iter().map(|process| platform::private_memory(process.pid)).sum()
}
