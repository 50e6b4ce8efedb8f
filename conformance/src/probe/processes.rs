//! processes/ : children, reapers, and the limits of both.

use libc::rlim_t;
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::signal::kill;
use nix::unistd::getppid;

use super::experiment::{Doing, Subject, word_or_errno};
use super::model::{Measure, Probe, fixed, open};
use super::system;
use crate::platform::{self, State};

pub(super) const PROBES: &[Probe] = &[
    Probe {
        id: "processes/reaper",
        title: "How a process becomes the parent of its orphaned descendants",
        posix: "_exit(): orphans get an implementation-defined system process as parent",
        linux: fixed("PR_SET_CHILD_SUBREAPER", "prctl(2), PR_SET_CHILD_SUBREAPER, since Linux 3.4"),
        freebsd: fixed("PROC_REAP_ACQUIRE", "procctl(2), PROC_REAP_ACQUIRE"),
        measure: |_| reaper(),
    },
    Probe {
        id: "processes/kill-of-zombie",
        title: "kill(pid, 0) of a child that has ended and was not waited for",
        posix: "kill(): succeeds, a zombie is an existing process",
        linux: fixed("succeeds", "kill(2), Notes: an existing process might be a zombie"),
        freebsd: open("kill(2), ESRCH: no process can be found; zombies are not spoken of"),
        measure: |_| {
            let mut child = Subject::start(|_| Ok(String::new()))?;
            child.settle()?;
            await_zombie(child.pid().as_raw())?;
            Ok(word_or_errno("succeeds", kill(child.pid(), None)))
        },
    },
    Probe {
        id: "processes/group-of-leader",
        title: "setsid() of a process group leader",
        posix: "setsid(): EPERM",
        linux: fixed("EPERM", "setsid(2), EPERM"),
        freebsd: fixed("EPERM", "setsid(2), EPERM"),
        measure: |_| {
            let child = Subject::start(|_| {
                let zero = nix::unistd::Pid::from_raw(0);
                nix::unistd::setpgid(zero, zero).doing("setpgid")?;
                Ok(word_or_errno("succeeds", nix::unistd::setsid()).to_string())
            })?;
            Ok(child.outcome()?.into())
        },
    },
    Probe {
        id: "processes/pid-max",
        title: "The limit of process ids",
        posix: "leaves it to pid_t",
        linux: open(
            "proc_sys_kernel(5), pid_max: 32768, up to 4194304 on 64-bit systems; ids stay below it",
        ),
        freebsd: open("kern.pid_max, sys/proc.h PID_MAX: 99999"),
        measure: |_| system::pid_max(),
    },
    Probe {
        id: "processes/descriptors-soft",
        title: "How many descriptors a process may have, unless it asks for more (RLIMIT_NOFILE)",
        posix: "getrlimit(), RLIMIT_NOFILE; at least _POSIX_OPEN_MAX, 20",
        linux: open("getrlimit(2), systemd: 1024, kept low for select(2)"),
        freebsd: open("getrlimit(2), login.conf(5), kern.maxfilesperproc"),
        measure: |_| limit(|(soft, _)| soft),
    },
    Probe {
        id: "processes/descriptors-hard",
        title: "How many descriptors a process may ask for",
        posix: "getrlimit(), RLIMIT_NOFILE",
        linux: open("getrlimit(2); proc_sys_fs(5), nr_open: 1048576"),
        freebsd: open("getrlimit(2), login.conf(5), kern.maxfilesperproc"),
        measure: |_| limit(|(_, hard)| hard),
    },
    Probe {
        id: "processes/descriptors-ceiling",
        title: "How many descriptors root may allow a process",
        posix: "not in POSIX",
        linux: open("proc_sys_fs(5), nr_open: 1048576"),
        freebsd: open("tuning(7), kern.maxfilesperproc: by the size of memory"),
        measure: |_| system::descriptor_ceiling(),
    },
    Probe {
        id: "processes/select-size",
        title: "FD_SETSIZE: select() cannot watch descriptors from this one on",
        posix: "sys/select.h, FD_SETSIZE: a constant of the implementation",
        linux: fixed("1024", "select(2): only descriptors less than FD_SETSIZE, 1024"),
        freebsd: fixed("1024", "select(2), Bugs: FD_SETSIZE is 1024 unless defined otherwise"),
        measure: |_| Ok((libc::FD_SETSIZE as i64).into()),
    },
];

fn limit(which: fn((rlim_t, rlim_t)) -> rlim_t) -> Measure {
    let limit = which(getrlimit(Resource::RLIMIT_NOFILE).doing("getrlimit")?);
    if limit == RLIM_INFINITY {
        return Ok("unlimited".into());
    }
    #[allow(clippy::unnecessary_fallible_conversions, clippy::useless_conversion)]
    // rlim_t is signed on some systems, and has 32 bits on others.
    let number = i64::try_from(limit).map_err(|error| format!("RLIMIT_NOFILE: {error}"))?;
    Ok(number.into())
}

fn await_zombie(pid: i32) -> Result<(), String> {
    loop {
        let table = platform::process_table()?;
        match table.iter().find(|process| process.pid == pid).map(|process| process.state) {
            Some(State::Zombie) => return Ok(()),
            Some(_) => std::thread::sleep(std::time::Duration::from_micros(200)),
            None => return Err("the child has vanished".into()),
        }
    }
}

/// Whether the grandchild of a reaper becomes its child when the child ends.
fn reaper() -> Measure {
    platform::become_reaper()?;
    let own = nix::unistd::getpid();
    let middle = Subject::start(|_| {
        let parent = nix::unistd::getpid();
        // SAFETY: this process has one thread.
        match unsafe { nix::unistd::fork() }.doing("fork")? {
            nix::unistd::ForkResult::Parent { .. } => {
                // Ends at once and leaves the result to its child.
                // SAFETY: ends the process without running what its parent registered.
                unsafe { libc::_exit(0) }
            }
            nix::unistd::ForkResult::Child => {
                while getppid() == parent {
                    std::thread::yield_now();
                }
                Ok(if getppid() == own { "ours" } else { "another's" }.to_owned())
            }
        }
    })?;
    match middle.outcome()?.as_str() {
        "ours" => {
            while nix::sys::wait::wait() == Err(Errno::EINTR) {}
            Ok(system::REAPER.into())
        }
        _ => Ok("none".into()),
    }
}
