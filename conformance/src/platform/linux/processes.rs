//! What proc(5) tells of processes, and prctl(2), prlimit(2).

use std::fs;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::Resource;

use crate::offspring::Offspring;
use crate::platform::model::{Process, SignalState, State};

/// The limit of a process's address space (getrlimit(2)).
pub const LIMIT_ADDRESS_SPACE: nix::sys::resource::Resource =
    nix::sys::resource::Resource::RLIMIT_AS;

/// Makes orphaned descendants this process's children (prctl(2), `PR_SET_CHILD_SUBREAPER`).
pub fn become_reaper() -> Result<(), String> {
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })
        .map(drop)
        .map_err(|errno| format!("PR_SET_CHILD_SUBREAPER: {}", errno.desc()))
}

/// Every process that this one may see.
pub fn process_table() -> Result<Vec<Process>, String> {
    let entries = fs::read_dir("/proc").map_err(|error| format!("needs /proc: {error}"))?;
    let processes: Vec<Process> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(process)
        .collect();
    if processes.iter().any(|process| process.pid == std::process::id() as i32) {
        Ok(processes)
    } else {
        Err("needs /proc mounted and showing this process".into())
    }
}

/// Of proc_pid_stat(5), the first one behind the name.
const FIRST_FIELD: usize = 3;

/// One process; none when it has gone.
fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold any of them (proc_pid_stat(5)).
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    let threads = rest.split(' ').nth(20 - FIRST_FIELD).and_then(|text| text.parse().ok());
    let mut fields = rest.split(' ');
    let state = match state(fields.next()?) {
        // This is the first thread. Another that waited in accept(2) may take a connection yet, before
        // it comes to its stop or its end.
        State::Stopped | State::Zombie if !all_threads_stand_still(pid) => State::Active,
        State::Sleeping if threads > Some(1) && a_thread_is_active(pid) => State::Active,
        state => state,
    };
    let mut number = || fields.next()?.parse().ok();
    Some(Process {
        pid,
        parent: number()?,
        group: number()?,
        session: number()?,
        has_terminal: number()? != 0,
        state,
        name: name.to_owned(),
    })
}

fn state(letter: &str) -> State {
    match letter {
        "S" => State::Sleeping,
        "T" | "t" => State::Stopped,
        "Z" | "X" => State::Zombie,
        _ => State::Active,
    }
}

fn all_threads_stand_still(pid: i32) -> bool {
    thread_states(pid).all(|state| matches!(state, State::Stopped | State::Zombie))
}

fn a_thread_is_active(pid: i32) -> bool {
    thread_states(pid).any(|state| state == State::Active)
}

/// The states of the threads that have not ended meanwhile.
fn thread_states(pid: i32) -> impl Iterator<Item = State> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
        let letter = stat.rsplit_once(") ")?.1.split(' ').next()?;
        Some(state(letter))
    })
}

/// A process's signal dispositions and masks (proc_pid_status(5), `SigIgn` and so on).
pub fn signal_state(pid: i32) -> Result<SignalState, String> {
    let status = status(pid)?;
    let set = |name: &str| -> Result<u64, String> {
        field(&status, name)
            .and_then(|text| u64::from_str_radix(text, 16).ok())
            .ok_or_else(|| format!("/proc/{pid}/status has no {name}"))
    };
    Ok(SignalState {
        ignored: set("SigIgn")?,
        caught: set("SigCgt")?,
        blocked: set("SigBlk")?,
        pending: set("SigPnd")? | set("ShdPnd")?,
    })
}

/// A process's real, effective and saved user ids, and its supplementary groups.
pub fn credentials(pid: i32) -> Result<([u32; 3], Vec<u32>), String> {
    let status = status(pid)?;
    let numbers = |name: &str| -> Vec<u32> {
        field(&status, name)
            .map(|text| text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
            .unwrap_or_default()
    };
    match numbers("Uid")[..] {
        [real, effective, saved, ..] => {
            let groups = [numbers("Groups"), numbers("Gid")].concat();
            Ok(([real, effective, saved], groups))
        }
        _ => Err(format!("/proc/{pid}/status has no Uid")),
    }
}

fn status(pid: i32) -> Result<String, String> {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(|error| format!("/proc/{pid}: {error}"))
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// A process's working directory.
pub fn working_directory(pid: i32) -> Result<std::path::PathBuf, String> {
    fs::read_link(format!("/proc/{pid}/cwd")).map_err(|error| format!("/proc/{pid}/cwd: {error}"))
}

/// What a process's standard descriptors are: a path, or `socket:[…]`, `pipe:[…]`.
pub fn standard_descriptors(pid: i32) -> Result<[Option<String>; 3], String> {
    let name = |number: i32| {
        fs::read_link(format!("/proc/{pid}/fd/{number}"))
            .ok()
            .map(|target| target.to_string_lossy().into_owned())
    };
    Ok([name(0), name(1), name(2)])
}

/// How many descriptors a process has open.
pub fn descriptor_count(pid: i32) -> Result<usize, String> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .map(Iterator::count)
        .map_err(|error| format!("/proc/{pid}/fd: {error}"))
}

/// The lowest number that no descriptor of a process has: the one that its next descriptor would get.
pub fn next_descriptor(pid: i32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&path).map_err(|error| format!("{path}: {error}"))?;
    let used: Vec<u64> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    Ok((0..).find(|number| !used.contains(number)).unwrap_or(0))
}

/// Processor time of a process in nanoseconds, all its threads together (clock_getcpuclockid(3)): the
/// scheduler's own count, in which short wake-ups don't vanish between clock ticks.
pub fn processor_time(pid: i32) -> Result<u64, String> {
    nix::time::clock_getcpuclockid(nix::unistd::Pid::from_raw(pid))
        .and_then(nix::time::clock_gettime)
        .map(|time| Duration::from(time).as_nanos() as u64)
        .map_err(|errno| format!("needs the clock of process {pid}: {}", errno.desc()))
}

/// Private memory of a process in bytes: its proportional share (`smaps_rollup`, `Pss`).
pub fn private_memory(pid: i32) -> Result<u64, String> {
    memory(pid, "Pss")
}

/// Memory of a process in bytes that is its own and no file's (`smaps_rollup`, `Anonymous`).
pub fn anonymous_memory(pid: i32) -> Result<u64, String> {
    memory(pid, "Anonymous")
}

fn memory(pid: i32, name: &str) -> Result<u64, String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("needs {path}: {error}"))?;
    field(&text, name)
        .and_then(|size| size.strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| format!("{path} has no {name}"))
}

/// How many processes and threads the user of this process has, as `RLIMIT_NPROC` counts them.
pub fn processes_of_user() -> Result<u64, String> {
    use std::os::unix::fs::MetadataExt;
    let user = nix::unistd::getuid().as_raw();
    let mut count = 0;
    let entries = fs::read_dir("/proc").map_err(|error| format!("needs /proc: {error}"))?;
    for entry in entries.filter_map(Result::ok) {
        let is_process = entry.file_name().to_str().is_some_and(|name| name.parse::<i32>().is_ok());
        if is_process && entry.metadata().is_ok_and(|metadata| metadata.uid() == user) {
            count += fs::read_dir(entry.path().join("task")).map_or(1, Iterator::count) as u64;
        }
    }
    Ok(count)
}

/// The most descriptors that root may allow a process (proc_sys_fs(5), `nr_open`).
pub fn most_descriptors() -> Result<u64, String> {
    const PATH: &str = "/proc/sys/fs/nr_open";
    fs::read_to_string(PATH)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| format!("needs {PATH}"))
}

/// Sets how many descriptors another process may have (prlimit(2)); returns what the limit was.
///
/// A process of another user takes CAP_SYS_RESOURCE, which root has in few containers; but root may
/// become that user, in a process of its own.
pub fn limit_descriptors_of(pid: i32, limit: u64) -> Result<u64, String> {
    limit_of(pid, Resource::RLIMIT_NOFILE, limit)
}

/// The same for any resource.
pub fn limit_of(pid: i32, resource: Resource, limit: u64) -> Result<u64, String> {
    let own = nix::unistd::geteuid();
    let (ids, _) = credentials(pid)?;
    if !own.is_root() || ids == [0; 3] {
        return set_limit(pid, resource, limit);
    }
    let group = std::fs::metadata(format!("/proc/{pid}"))
        .map(|found| std::os::unix::fs::MetadataExt::gid(&found))
        .map_err(|error| format!("/proc/{pid}: {error}"))?;
    let child = Offspring::fork(|| -> Result<u64, String> {
        let (user, group) = (nix::unistd::Uid::from_raw(ids[0]), nix::unistd::Gid::from_raw(group));
        nix::unistd::setresgid(group, group, group)
            .and_then(|()| nix::unistd::setresuid(user, user, user))
            .map_err(|errno| format!("becoming user {user}: {}", errno.desc()))?;
        set_limit(pid, resource, limit)
    });
    child?.wait::<Result<u64, String>>()?
}

fn set_limit(pid: i32, resource: Resource, limit: u64) -> Result<u64, String> {
    let before = present_limit(pid, resource)?;
    let after = libc::rlimit64 { rlim_cur: limit, rlim_max: before.rlim_max };
    // SAFETY: the kernel reads `after`; nothing is written.
    Errno::result(unsafe {
        libc::prlimit64(pid, resource as _, &raw const after, std::ptr::null_mut())
    })
    .map_err(|errno| format!("prlimit: {}", errno.desc()))?;
    Ok(before.rlim_cur)
}

/// How many descriptors another process of this user may have.
pub fn descriptor_limit_of(pid: i32) -> Result<libc::rlimit64, String> {
    present_limit(pid, Resource::RLIMIT_NOFILE)
}

fn present_limit(pid: i32, resource: Resource) -> Result<libc::rlimit64, String> {
    // SAFETY: all-zero bytes are a valid rlimit64.
    let mut limit: libc::rlimit64 = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to `limit`, which is of that type.
    Errno::result(unsafe { libc::prlimit64(pid, resource as _, std::ptr::null(), &raw mut limit) })
        .map(|_| limit)
        .map_err(|errno| format!("prlimit: {}", errno.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_all_threads() {
        use nix::time::{ClockId, clock_gettime};
        const BURNT: Duration = Duration::from_millis(30);
        let own = std::process::id() as i32;
        let before = processor_time(own).unwrap();
        let burning = std::thread::spawn(|| {
            let used = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
            while used() < BURNT {}
        });
        burning.join().unwrap();
        let used = processor_time(own).unwrap() - before;
        assert!(u128::from(used) >= BURNT.as_nanos(), "{used} ns");
    }

    #[test]
    fn a_process_is_active_when_any_of_its_threads_is() {
        use std::io::Read;
        // Its first thread waits for the other one.
        const TWO: &str = "import threading\ndef spin():\n print(flush=True)\n while True: pass\n\
                           one = threading.Thread(target=spin)\none.start()\none.join()";
        let mut child = match std::process::Command::new("python3")
            .args(["-c", TWO])
            .stdout(std::process::Stdio::piped())
            .spawn()
        {
            Ok(child) => child,
            Err(error) => {
                eprintln!("skipped: needs python3: {error}");
                return;
            }
        };
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let pid = child.id() as i32;
        let first = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        let mut seen = false;
        while !seen && std::time::Instant::now() < deadline {
            let is_asleep = || first().contains(") S ");
            let state = is_asleep().then(|| process(pid).unwrap().state);
            seen = state == Some(State::Active) && is_asleep();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen, "a process of which one thread spins was never told to be active");
    }

    #[test]
    fn this_process_is_in_the_table() {
        let table = process_table().unwrap();
        let own = table.iter().find(|p| p.pid == std::process::id() as i32).unwrap();
        assert_eq!(own.parent, nix::unistd::getppid().as_raw());
        assert_eq!(own.group, nix::unistd::getpgrp().as_raw());
    }

    #[test]
    fn a_process_is_stopped_when_all_its_threads_are() {
        let dir = tempfile::TempDir::new().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // A thread that spawns waits for its child as no signal interrupts it, here for an open(2) that
        // waits for a writer.
        let script = "import os, sys, threading, time\n\
            opens = [(os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)]\n\
            spawn = lambda: os.posix_spawn('/bin/true', ['true'], {}, file_actions=opens)\n\
            threading.Thread(target=spawn).start()\n\
            time.sleep(600)\n";
        /// Ends the child that waits for a writer, and then its parent.
        struct Ended<'a>(std::process::Child, &'a std::path::Path);
        impl Drop for Ended<'_> {
            fn drop(&mut self) {
                let _ = self.0.kill();
                let _ = fs::OpenOptions::new().read(true).write(true).open(self.1);
                let _ = self.0.wait();
            }
        }
        let python = std::process::Command::new("python3")
            .args(["-c", script])
            .arg(&fifo)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("this test takes python3");
        let pid = python.id() as i32;
        let _python = Ended(python, &fifo);
        let reaches = |wanted: State| {
            let begin = std::time::Instant::now();
            while process(pid).unwrap().state != wanted {
                assert!(begin.elapsed().as_secs() < 30, "{:?}", process(pid).unwrap().state);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        };
        let threads = format!("/proc/{pid}/task");
        let begin = std::time::Instant::now();
        let spawns = || {
            fs::read_dir(&threads).unwrap().flatten().any(|thread| {
                let read = |name| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
                // A wait for a disk looks alike, but has no child.
                let is_first = thread.file_name() == *pid.to_string();
                !is_first && read("stat").contains(") D ") && !read("children").is_empty()
            })
        };
        while !spawns() {
            assert!(begin.elapsed().as_secs() < 30, "no thread waits for its child");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let leader = format!("/proc/{pid}/stat");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGSTOP).unwrap();
        while !fs::read_to_string(&leader).unwrap().contains(") T ") {
            assert!(begin.elapsed().as_secs() < 30, "the first thread does not stop");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(process(pid).unwrap().state, State::Active);
        // The child goes on, and the thread comes to its stop.
        let writer = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
        reaches(State::Stopped);
        drop(writer);
    }
}
