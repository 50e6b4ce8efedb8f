//! interfaces/ : which calls there are beyond the oldest ones.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::signal::{raise, sigaction, sigprocmask};

use super::experiment::{Doing, either};
use super::model::{Documented, Measure, Probe, fixed, open};
use super::system;

const THERE: &str = "available";
const ABSENT: &str = "absent";

/// A system call that one of the two has, or both, and POSIX hasn't.
const fn interface(
    id: &'static str,
    title: &'static str,
    linux: Documented,
    freebsd: Documented,
    measure: fn(&std::path::Path) -> Measure,
) -> Probe {
    Probe { id, title, posix: "not in POSIX", linux, freebsd, measure }
}

pub(super) const PROBES: &[Probe] = &[
    Probe {
        id: "interfaces/ppoll",
        title: "ppoll() with a mask that lets a pending signal in",
        posix: "ppoll(), new in 2024: atomically, EINTR",
        linux: fixed("EINTR", "ppoll(2), since Linux 2.6.16"),
        freebsd: fixed("EINTR", "poll(2): ppoll atomically sets the signal mask"),
        measure: |_| {
            with_pending_signal(|mask| {
                // SAFETY: no descriptors and no timeout; the mask is read.
                unsafe { libc::ppoll(std::ptr::null_mut(), 0, std::ptr::null(), mask) }
            })
        },
    },
    Probe {
        id: "interfaces/pselect",
        title: "pselect() with a mask that lets a pending signal in",
        posix: "pselect(): atomically, EINTR",
        linux: fixed("EINTR", "select(2), pselect"),
        freebsd: fixed("EINTR", "pselect(2), ERRORS"),
        measure: |_| {
            with_pending_signal(|mask| {
                let none = std::ptr::null_mut();
                // SAFETY: no descriptors and no timeout; the mask is read.
                unsafe { libc::pselect(0, none, none, none, std::ptr::null(), mask) }
            })
        },
    },
    Probe {
        id: "interfaces/accept4",
        title: "accept4() with SOCK_NONBLOCK | SOCK_CLOEXEC",
        posix: "accept4(), new in 2024",
        linux: fixed(THERE, "accept(2): accept4, since Linux 2.6.28"),
        freebsd: fixed(THERE, "accept(2): accept4, since FreeBSD 10"),
        measure: |_| {
            use std::net::{TcpListener, TcpStream};
            let listener = TcpListener::bind("127.0.0.1:0").doing("listen")?;
            let _client =
                TcpStream::connect(listener.local_addr().doing("address")?).doing("connect")?;
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            let null = std::ptr::null_mut();
            // SAFETY: no address is asked for.
            let raw = unsafe { libc::accept4(listener.as_raw_fd(), null, null.cast(), flags) };
            either(Errno::result(raw) != Err(Errno::ENOSYS), THERE, ABSENT)
        },
    },
    interface(
        "interfaces/signalfd",
        "Whether there is signalfd()",
        fixed(THERE, "signalfd(2), since Linux 2.6.22"),
        fixed(ABSENT, "kqueue(2) has EVFILT_SIGNAL instead"),
        |_| available("signalfd"),
    ),
    interface(
        "interfaces/eventfd",
        "Whether there is eventfd()",
        fixed(THERE, "eventfd(2), since Linux 2.6.22"),
        fixed(THERE, "eventfd(2), since FreeBSD 13"),
        |_| available("eventfd"),
    ),
    interface(
        "interfaces/timerfd",
        "Whether there is timerfd_create()",
        fixed(THERE, "timerfd_create(2), since Linux 2.6.25"),
        open("timerfd(2), since FreeBSD 14"),
        |_| available("timerfd_create"),
    ),
    interface(
        "interfaces/epoll",
        "Whether there is epoll_create1()",
        fixed(THERE, "epoll(7), since Linux 2.5.44"),
        fixed(ABSENT, "kqueue(2) instead"),
        |_| available("epoll_create1"),
    ),
    interface(
        "interfaces/kqueue",
        "Whether there is kqueue()",
        fixed(ABSENT, "epoll(7) instead"),
        fixed(THERE, "kqueue(2)"),
        |_| available("kqueue"),
    ),
    interface(
        "interfaces/inotify",
        "Whether there is inotify_init1()",
        fixed(THERE, "inotify(7), since Linux 2.6.13"),
        open("inotify(2), since FreeBSD 15; EVFILT_VNODE of kqueue(2) before"),
        |_| available("inotify_init1"),
    ),
    interface(
        "interfaces/process-descriptor",
        "pidfd_open() or pdfork(): a descriptor that stands for a process",
        open("pidfd_open(2), since Linux 5.3"),
        fixed("pdfork", "pdfork(2), since FreeBSD 9"),
        |_| {
            for name in ["pidfd_open", "pdfork"] {
                if system::has_call(name)? {
                    return Ok(name.into());
                }
            }
            Ok(ABSENT.into())
        },
    ),
    interface(
        "interfaces/close-range",
        "Whether there is close_range()",
        open("close_range(2), since Linux 5.9"),
        fixed(THERE, "close_range(2), since FreeBSD 12.2"),
        |_| available("close_range"),
    ),
    interface(
        "interfaces/memfd",
        "Whether there is memfd_create()",
        fixed(THERE, "memfd_create(2), since Linux 3.17"),
        fixed(THERE, "memfd_create(3), since FreeBSD 13"),
        |_| available("memfd_create"),
    ),
];

fn available(name: &str) -> Measure {
    either(system::has_call(name)?, THERE, ABSENT)
}

extern "C" fn do_nothing(_: libc::c_int) {}

/// Waits with a call that unblocks a signal which is pending.
fn with_pending_signal(wait: impl FnOnce(*const libc::sigset_t) -> libc::c_int) -> Measure {
    let action = SigAction::new(SigHandler::Handler(do_nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.map(drop).doing("sigaction")?;
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGUSR1);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).doing("sigprocmask")?;
    raise(Signal::SIGUSR1).doing("raise")?;
    let open = SigSet::empty();
    Ok(match Errno::result(wait(open.as_ref())) {
        Ok(_) => "returns without an error".into(),
        Err(errno) => format!("{errno:?}").into(),
    })
}
