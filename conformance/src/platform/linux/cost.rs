//! What processes cost: cgroups(7), the processes' own clocks, proc(5).

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::unistd::SysconfVar;

use crate::platform::model::{Ticks, Used};

/// How the processor time of a tree of processes is told here without a group for them.
pub const PROCESS_CLOCKS: &str = "the clocks of all processes, with the threads that have ended and \
     the children that were waited for (those to 10 ms)";
/// How it is told with one.
pub const GROUP_CLOCK: &str = "cgroup v2, cpu.stat";

/// What a process has used so far, with its ended threads and the children that it has waited for.
/// Switches are those of threads that live.
pub fn used_by(pid: i32) -> Result<Used, String> {
    let gone = |what: &str| format!("needs {what} of process {pid}");
    // The scheduler's own count of the whole process (clock_getcpuclockid(3)).
    let clock = nix::time::clock_getcpuclockid(nix::unistd::Pid::from_raw(pid))
        .and_then(nix::time::clock_gettime)
        .map_err(|_| gone("the clock"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|_| gone("/proc/stat"))?;
    let ticks = children_ticks(&stat).ok_or_else(|| gone("cutime and cstime"))?;
    let mut used = Used {
        processor: Duration::from(clock) + of_ticks(ticks)?,
        voluntary: Some(0),
        involuntary: Some(0),
    };
    let threads =
        fs::read_dir(format!("/proc/{pid}/task")).map_err(|_| gone("/proc/task"))?.flatten();
    for thread in threads {
        // A thread may end meanwhile.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        let count = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|text| text.trim().parse::<u64>().ok())
        };
        let sum = |so_far: Option<u64>, name| so_far.zip(count(name)).map(|(a, b)| a + b);
        used.voluntary = sum(used.voluntary, "voluntary_ctxt_switches");
        used.involuntary = sum(used.involuntary, "nonvoluntary_ctxt_switches");
    }
    Ok(used)
}

/// `cutime` and `cstime` together (proc_pid_stat(5)).
fn children_ticks(stat: &str) -> Option<u64> {
    // The name stands in parentheses and may hold any of them. What follows begins with field 3.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(number(16)? + number(17)?)
}

fn of_ticks(ticks: u64) -> Result<Duration, String> {
    let per_second = nix::unistd::sysconf(SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .and_then(|ticks| u64::try_from(ticks).ok())
        .filter(|&ticks| ticks > 0)
        .ok_or("the length of a clock tick is unknown")?;
    Ok(Duration::from_nanos(ticks * (1_000_000_000 / per_second)))
}

/// Makes a group of processes, below the one that this process is in, and called `name`: what it uses
/// is told as a whole. To be removed with [`remove_group`].
pub fn make_group(name: &str) -> Result<PathBuf, String> {
    let group = own_group().ok_or("there is no cgroup v2 here")?;
    tidy(&group);
    let dir = group.join(name);
    fs::create_dir(&dir)
        .map_err(|error| format!("{}: {}", dir.display(), settings::reason(&error)))?;
    // A kernel before 4.15 has none.
    group_time(&dir).inspect_err(|_| remove_group(&dir))?;
    Ok(dir)
}

/// What the name of a group begins with; the id of the process that makes it follows.
pub const GROUP_PREFIX: &str = "forkproof-bench.";

/// The directory of this process's cgroup.
fn own_group() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    // proc_pid_mountinfo(5): ID, parent, device, root, mount point, …, `-`, type.
    let (root, mount) = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let place = (fields.next()?, fields.next()?);
        after.starts_with("cgroup2 ").then_some(place)
    })?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let below = Path::new(own).strip_prefix(root).ok()?;
    Some(Path::new(mount).join(below))
}

/// Removes the groups of runs that were killed: those in which nobody is.
fn tidy(group: &Path) {
    let Ok(entries) = fs::read_dir(group) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(GROUP_PREFIX)?.parse().ok());
        let lives =
            |pid: i32| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok();
        if maker.is_some_and(|pid: i32| !lives(pid)) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Removes a group in which no process is any more.
pub fn remove_group(group: &Path) {
    let _ = fs::remove_dir(group);
}

/// The processor time of all that is or was in a group.
pub fn group_time(group: &Path) -> Result<Duration, String> {
    let path = group.join("cpu.stat");
    fs::read_to_string(&path)
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
            line.parse().map(Duration::from_micros).ok()
        })
        .ok_or_else(|| format!("needs {}", path.display()))
}

/// Has `command` begin in the group.
pub fn start_in_group(command: &mut Command, group: &Path) -> Result<(), String> {
    let path = group.join("cgroup.procs");
    let members = File::options()
        .write(true)
        .open(&path)
        .map_err(|error| format!("{}: {}", path.display(), settings::reason(&error)))?;
    // SAFETY: between fork and exec it makes one system call, with what was there before.
    unsafe {
        command.pre_exec(move || {
            // 0 stands for the process that writes.
            nix::unistd::write(&members, b"0").map(drop).map_err(io::Error::from)
        })
    };
    Ok(())
}

/// How busy the whole machine has been since it was started.
pub fn machine_ticks() -> Result<Ticks, String> {
    const PATH: &str = "/proc/stat";
    let text = fs::read_to_string(PATH).map_err(|error| format!("needs {PATH}: {error}"))?;
    // proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; what guests used is a part
    // of the first two.
    let counts: Vec<u64> = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("cpu "))
        .map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect())
        .unwrap_or_default();
    match counts[..] {
        [user, nice, system, idle, waiting, irq, softirq, steal, ..] => {
            let busy = user + nice + system + irq + softirq + steal;
            Ok(Ticks { busy, all: busy + idle + waiting })
        }
        _ => Err(format!("{PATH} is not as it is known")),
    }
}

/// The processor's name; none where that is not told.
pub fn processor_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Who chooses the processor's frequency; none where that is not told, as in most virtual machines.
pub fn governor() -> Option<String> {
    let text = fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_fields_16_and_17() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 11 12 13 14 20 0 1 0 5 6 7";
        assert_eq!(children_ticks(stat), Some(27));
        assert_eq!(children_ticks("7 (a) S 1"), None);
    }
}
