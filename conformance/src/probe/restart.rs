//! restart/ : which blocked calls go on after a handler with SA_RESTART, and which end with EINTR.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::{pipe2, read};

use super::experiment::{Doing, Settled, Subject, file};
use super::locks;
use super::model::{Measure, Probe, Value, fixed, open};

const SIGACTION: &str =
    "sigaction(), SA_RESTART: interruptible functions restart unless their page says otherwise";
const LINUX_RESTARTS: &str = "signal(7), Interruption of system calls: restarted with SA_RESTART";
const LINUX_NEVER: &str = "signal(7), Interruption of system calls: never restarted";
const FREEBSD_RESTARTS: &str = "sigaction(2): among the affected calls";
const FREEBSD_SILENT: &str = "sigaction(2) does not name it among the calls that restart";

pub(super) const PROBES: &[Probe] = &[
    Probe {
        id: "restart/signal-and-read",
        title: "read() on an empty pipe, interrupted by a handler that signal() installed",
        posix: "signal(): unspecified whether calls restart",
        linux: fixed("restarted", "signal(2), Portability: BSD semantics from glibc 2 on"),
        freebsd: fixed("restarted", "siginterrupt(3): restart is the default of signal(3)"),
        measure: |_| {
            let (end, _kept) = pipe2(OFlag::O_CLOEXEC).doing("pipe")?;
            interrupted_by(Installed::BySignal, "read", || read(&end, &mut [0]).map(drop))
        },
    },
    Probe {
        id: "restart/none-and-read",
        title: "read() on an empty pipe, interrupted by a handler without SA_RESTART",
        posix: "read(): EINTR when interrupted before anything was read",
        linux: fixed("EINTR", "signal(7), Interruption of system calls: otherwise the call fails"),
        freebsd: fixed("EINTR", "sigaction(2): restart is requested by SA_RESTART; read(2), EINTR"),
        measure: |_| {
            let (end, _kept) = pipe2(OFlag::O_CLOEXEC).doing("pipe")?;
            interrupted_by(Installed::With(SaFlags::empty()), "read", || {
                read(&end, &mut [0]).map(drop)
            })
        },
    },
    Probe {
        id: "restart/read",
        title: "read() on an empty pipe",
        posix: SIGACTION,
        linux: fixed("restarted", LINUX_RESTARTS),
        freebsd: fixed("restarted", FREEBSD_RESTARTS),
        measure: |_| {
            let (end, _kept) = pipe2(OFlag::O_CLOEXEC).doing("pipe")?;
            interrupted("read", || read(&end, &mut [0]).map(drop))
        },
    },
    Probe {
        id: "restart/write",
        title: "write() to a full pipe",
        posix: SIGACTION,
        linux: fixed("restarted", LINUX_RESTARTS),
        freebsd: fixed("restarted", FREEBSD_RESTARTS),
        measure: write,
    },
    Probe {
        id: "restart/open-fifo",
        title: "open() of a FIFO that nobody writes to",
        posix: SIGACTION,
        linux: fixed("restarted", LINUX_RESTARTS),
        freebsd: fixed("restarted", FREEBSD_RESTARTS),
        measure: open_fifo,
    },
    Probe {
        id: "restart/receive-with-timeout",
        title: "recv() on a socket that has SO_RCVTIMEO",
        posix: SIGACTION,
        linux: fixed("EINTR", "signal(7), Interruption of system calls: never with SO_RCVTIMEO"),
        freebsd: open(
            "sigaction(2) names recvfrom(2); neither it nor getsockopt(2) speaks of SO_RCVTIMEO here",
        ),
        measure: |_| {
            let (end, _kept) = std::os::unix::net::UnixStream::pair().doing("socketpair")?;
            end.set_read_timeout(Some(Duration::from_secs(3600))).doing("SO_RCVTIMEO")?;
            interrupted("recv", || read(&end, &mut [0]).map(drop))
        },
    },
    Probe {
        id: "restart/accept",
        title: "accept() with nobody connecting",
        posix: SIGACTION,
        linux: fixed("restarted", LINUX_RESTARTS),
        freebsd: open("accept(2): EINTR, interrupted; sigaction(2) does not name it"),
        measure: |_| {
            let listener = TcpListener::bind("127.0.0.1:0").doing("listen")?;
            interrupted("accept", || nix::sys::socket::accept(listener.as_raw_fd()).map(drop))
        },
    },
    Probe {
        id: "restart/connect",
        title: "connect() to a listener whose queue is full",
        posix: "connect(): EINTR, and the connection is established asynchronously",
        linux: fixed("restarted", LINUX_RESTARTS),
        freebsd: open(
            "connect(2), which sigaction(2) does not name; its kernel makes EINTR of a restart",
        ),
        measure: connect,
    },
    Probe {
        id: "restart/waitpid",
        title: "waitpid() for a child that lives",
        posix: SIGACTION,
        linux: fixed("restarted", LINUX_RESTARTS),
        freebsd: fixed("restarted", FREEBSD_RESTARTS),
        measure: |_| interrupted("waitpid", wait_for_a_child_that_lives),
    },
    Probe {
        id: "restart/flock",
        title: "flock() for a lock that another process holds",
        posix: "not in POSIX",
        linux: fixed("restarted", LINUX_RESTARTS),
        freebsd: open("flock(2): processes blocked awaiting a lock may be awakened by signals"),
        measure: |dir| {
            let (held, wanted) = (file(dir, "lock")?, file(dir, "lock")?);
            locks::flock(&held, libc::LOCK_EX).doing("flock")?;
            interrupted("flock", || locks::flock(&wanted, libc::LOCK_EX))
        },
    },
    Probe {
        id: "restart/fcntl-lock",
        title: "fcntl(F_SETLKW) for a lock that another process holds",
        posix: "fcntl(): EINTR when a signal is caught while waiting; SA_RESTART applies",
        linux: fixed("restarted", LINUX_RESTARTS),
        freebsd: fixed(
            "restarted",
            "fcntl(2): interrupted if the handler has not specified SA_RESTART",
        ),
        measure: |dir| {
            let (held, wanted) = (file(dir, "lock")?, file(dir, "lock")?);
            locks::record_lock(&held, libc::F_SETLK, libc::F_WRLCK).doing("fcntl")?;
            interrupted("fcntl", || locks::record_lock(&wanted, libc::F_SETLKW, libc::F_WRLCK))
        },
    },
    Probe {
        id: "restart/poll",
        title: "poll() without a timeout",
        posix: "poll(): EINTR; SA_RESTART is implementation-defined for select() and silent for poll()",
        linux: fixed("EINTR", LINUX_NEVER),
        freebsd: open(FREEBSD_SILENT),
        measure: |_| {
            interrupted("poll", || {
                let nothing: &mut [nix::poll::PollFd<'_>] = &mut [];
                nix::poll::poll(nothing, nix::poll::PollTimeout::NONE).map(drop)
            })
        },
    },
    Probe {
        id: "restart/select",
        title: "select() without a timeout",
        posix: "select(): implementation-defined whether it restarts with SA_RESTART",
        linux: fixed("EINTR", LINUX_NEVER),
        freebsd: open(FREEBSD_SILENT),
        measure: |_| {
            interrupted("select", || {
                let none = std::ptr::null_mut();
                // SAFETY: no descriptor sets and no timeout.
                Errno::result(unsafe { libc::select(0, none, none, none, std::ptr::null_mut()) })
                    .map(drop)
            })
        },
    },
    Probe {
        id: "restart/nanosleep",
        title: "nanosleep() for an hour",
        posix: "nanosleep(): EINTR, with the time left",
        linux: fixed(
            "EINTR",
            "signal(7), Interruption of system calls: sleep interfaces never restart",
        ),
        freebsd: fixed(
            "EINTR",
            "nanosleep(2): a signal ends the sleep early, regardless of SA_RESTART",
        ),
        measure: |_| {
            interrupted("nanosleep", || {
                let hour = libc::timespec { tv_sec: 3600, tv_nsec: 0 };
                // SAFETY: reads `hour` only.
                Errno::result(unsafe { libc::nanosleep(&raw const hour, std::ptr::null_mut()) })
                    .map(drop)
            })
        },
    },
];

/// How the handler gets there.
#[derive(Clone, Copy)]
enum Installed {
    BySignal,
    With(SaFlags),
}

/// Where the handler tells that it ran.
static HANDLED: AtomicI32 = AtomicI32::new(-1);

extern "C" fn tell(_: libc::c_int) {
    // SAFETY: write is async-signal-safe; the descriptor is open while the handler is installed.
    unsafe { libc::write(HANDLED.load(Ordering::Relaxed), c".".as_ptr().cast(), 1) };
}

fn interrupted(name: &str, call: impl FnOnce() -> Result<(), Errno>) -> Measure {
    interrupted_by(Installed::With(SaFlags::SA_RESTART), name, call)
}

/// Has a process block in `call`, sends it a signal, and says how the call went on once the
/// handler has run.
fn interrupted_by(how: Installed, name: &str, call: impl FnOnce() -> Result<(), Errno>) -> Measure {
    let (handled, childs_handled) = pipe2(OFlag::O_CLOEXEC).doing("pipe")?;
    let mut subject = Subject::start(|line| {
        HANDLED.store(childs_handled.as_raw_fd(), Ordering::Relaxed);
        let handler = SigHandler::Handler(tell);
        match how {
            // SAFETY: the handler only writes to a pipe.
            Installed::BySignal => unsafe { nix::sys::signal::signal(Signal::SIGUSR1, handler) }
                .map(drop)
                .doing("signal")?,
            Installed::With(flags) => {
                let action = SigAction::new(handler, flags, SigSet::empty());
                // SAFETY: as above.
                unsafe { sigaction(Signal::SIGUSR1, &action) }.map(drop).doing("sigaction")?;
            }
        }
        line.say()?;
        Ok(match call() {
            Ok(()) => "returned without an error".to_owned(),
            Err(errno) => format!("{errno:?}"),
        })
    })?;
    drop(childs_handled);
    subject.hear()?;
    subject.must_block(name)?;
    kill(subject.pid(), Signal::SIGUSR1).doing("kill")?;
    // The kernel decides before the handler runs; when it has, the call goes on or has ended.
    if read(&handled, &mut [0]).doing("handler")? != 1 {
        return Err("the subject died before its handler ran".into());
    }
    Ok(match subject.settle()? {
        Settled::Blocked => "restarted".into(),
        Settled::Told(text) => Value::from(text),
    })
}

fn set_blocking(descriptor: BorrowedFd<'_>, blocking: bool) -> Result<(), String> {
    use nix::fcntl::{FcntlArg, fcntl};
    let flags = if blocking { OFlag::empty() } else { OFlag::O_NONBLOCK };
    fcntl(descriptor, FcntlArg::F_SETFL(flags)).map(drop).doing("F_SETFL")
}

fn write(_: &Path) -> Measure {
    use std::os::fd::AsFd;
    let (_kept, end) = pipe2(OFlag::O_CLOEXEC).doing("pipe")?;
    set_blocking(end.as_fd(), false)?;
    for size in [4096, 1] {
        while nix::unistd::write(&end, &[0; 4096][..size]).is_ok() {}
    }
    set_blocking(end.as_fd(), true)?;
    interrupted("write", || nix::unistd::write(&end, &[0]).map(drop))
}

/// The child lives as long as its parent: until nobody holds the other end of its pipe.
fn wait_for_a_child_that_lives() -> Result<(), Errno> {
    let (life, held) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => nix::sys::wait::waitpid(child, None).map(drop),
        nix::unistd::ForkResult::Child => {
            drop(held);
            let _ = read(&life, &mut [0]);
            // SAFETY: ends the process without running what its parent registered.
            unsafe { libc::_exit(0) }
        }
    }
}

fn open_fifo(dir: &Path) -> Measure {
    let path = dir.join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).doing("mkfifo")?;
    interrupted("open", || {
        // Not std's open, which tries again by itself.
        nix::fcntl::open(&path, OFlag::O_RDONLY, nix::sys::stat::Mode::empty()).map(drop)
    })
}

fn connect(_: &Path) -> Measure {
    use nix::sys::socket as net;
    let tcp = |flags| {
        net::socket(net::AddressFamily::Inet, net::SockType::Stream, flags, None).doing("socket")
    };
    let listener = tcp(net::SockFlag::empty())?;
    net::bind(listener.as_raw_fd(), &net::SockaddrIn::new(127, 0, 0, 1, 0)).doing("bind")?;
    net::listen(&listener, net::Backlog::new(0).doing("backlog")?).doing("listen")?;
    let address: net::SockaddrIn = net::getsockname(listener.as_raw_fd()).doing("getsockname")?;
    // Connections are made until one does not come to be. Should the machine only have been slow
    // to make it, the last one connects too, and must_block says so.
    let mut waiting = Vec::new();
    loop {
        let next = tcp(net::SockFlag::SOCK_NONBLOCK)?;
        let _ = net::connect(next.as_raw_fd(), &address);
        let mut ready = [nix::poll::PollFd::new(
            std::os::fd::AsFd::as_fd(&next),
            nix::poll::PollFlags::POLLOUT,
        )];
        let made = nix::poll::poll(&mut ready, 200_u16).doing("poll")? > 0;
        waiting.push(next);
        if !made {
            break;
        }
        if waiting.len() > 512 {
            return Err("a listener with a backlog of 0 took 512 connections".into());
        }
    }
    let last = tcp(net::SockFlag::empty())?;
    interrupted("connect", || net::connect(last.as_raw_fd(), &address))
}
