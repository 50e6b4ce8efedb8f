//! connections/ : how a TCP connection ends, and what its two sides see of that.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::socket::{MsgFlags, SockaddrStorage, getpeername, recv, send};

use super::experiment::{Doing, Subject};
use super::model::{Measure, Probe, Value, fixed, open};
use super::sockets::{V4_LOOPBACK, listener, pair, reset};

pub(super) const PROBES: &[Probe] = &[
    Probe {
        id: "connections/close-with-unread-data",
        title: "What the peer reads after close() of a socket with unread data",
        posix: "close() leaves it open; RFC 1122, 4.2.2.13: SHOULD reset; RFC 2525, 2.17",
        linux: open("tcp(7) and close(2) do not say"),
        freebsd: open("tcp(4) and close(2) do not say"),
        measure: |_| {
            let (mut client, accepted) = pair(&listener(V4_LOOPBACK)?)?;
            client.write_all(b"unread").doing("write")?;
            wait(&accepted, PollFlags::POLLIN)?;
            drop(accepted);
            Ok(ending(recv(client.as_raw_fd(), &mut [0; 8], MsgFlags::empty())))
        },
    },
    Probe {
        id: "connections/close-of-listener",
        title: "What a queued client reads after close() of the listener",
        posix: "close() leaves it open",
        linux: open("listen(2) and tcp(7) do not say"),
        freebsd: open("listen(2) and tcp(4) do not say"),
        measure: |_| {
            let listening = listener(V4_LOOPBACK)?;
            let (_first, _accepted) = pair(&listening)?;
            let address = _first.peer_addr().doing("getpeername")?;
            let queued = std::net::TcpStream::connect(address).doing("connect")?;
            wait(&listening, PollFlags::POLLIN)?;
            drop(listening);
            Ok(ending(recv(queued.as_raw_fd(), &mut [0; 8], MsgFlags::empty())))
        },
    },
    Probe {
        id: "connections/data-before-reset",
        title: "What recv() returns for data that came before a reset",
        posix: "recv() leaves it open: ECONNRESET, forcibly closed by a peer",
        linux: open("tcp(7) and recv(2) do not say"),
        freebsd: open("tcp(4) and recv(2) do not say"),
        measure: |_| {
            let (mut client, accepted) = pair(&listener(V4_LOOPBACK)?)?;
            client.write_all(b"last words").doing("write")?;
            reset(client)?;
            wait_for_end(&accepted)?;
            let mut said = Vec::new();
            for _ in 0..3 {
                said.push(match recv(accepted.as_raw_fd(), &mut [0; 32], MsgFlags::empty()) {
                    Ok(0) => "end".to_owned(),
                    Ok(_) => "data".to_owned(),
                    Err(errno) => format!("{errno:?}"),
                });
            }
            Ok(Value::List(said))
        },
    },
    Probe {
        id: "connections/send-after-reset",
        title: "What two send() return after the peer's reset",
        posix: "send(): ECONNRESET, forcibly closed by a peer; EPIPE, no longer connected",
        linux: open(
            "send(2) lists both; tcp(7), Error handling: EPIPE where the other end closed unexpectedly",
        ),
        freebsd: open("send(2) lists both"),
        measure: |_| {
            let (client, accepted) = pair(&listener(V4_LOOPBACK)?)?;
            reset(client)?;
            wait_for_end(&accepted)?;
            Ok(Value::List((0..2).map(|_| sent(&accepted)).collect()))
        },
    },
    Probe {
        id: "connections/send-after-end",
        title: "What two send() return after the peer's close(), the second once the first was answered",
        posix: "send(): EPIPE, no longer connected; SIGPIPE unless MSG_NOSIGNAL",
        linux: fixed(
            "sent, EPIPE",
            "tcp(7), Error handling: EPIPE, the other end closed the socket unexpectedly",
        ),
        freebsd: open("send(2), EPIPE: unable to send anymore, or no longer connected"),
        measure: |_| {
            let (client, accepted) = pair(&listener(V4_LOOPBACK)?)?;
            drop(client);
            wait(&accepted, PollFlags::POLLIN)?;
            let first = sent(&accepted);
            wait_for_end(&accepted)?;
            Ok(Value::List(vec![first, sent(&accepted)]))
        },
    },
    Probe {
        id: "connections/sigpipe",
        title: "What send() without flags does to its process when nobody can read any more",
        posix: "send(): EPIPE and, on a stream socket, SIGPIPE, which ends the process",
        linux: fixed("SIGPIPE", "send(2), MSG_NOSIGNAL and EPIPE; pipe(7)"),
        freebsd: fixed("SIGPIPE", "send(2); getsockopt(2), SO_NOSIGPIPE: SIGPIPE is normally sent"),
        measure: |_| nobody_reads(MsgFlags::empty()),
    },
    Probe {
        id: "connections/no-signal-flag",
        title: "The same with MSG_NOSIGNAL",
        posix: "send(), MSG_NOSIGNAL: no SIGPIPE, still EPIPE",
        linux: fixed("EPIPE", "send(2), MSG_NOSIGNAL"),
        freebsd: fixed("EPIPE", "send(2), MSG_NOSIGNAL: do not send SIGPIPE"),
        measure: |_| nobody_reads(MsgFlags::MSG_NOSIGNAL),
    },
];

/// Waits until a socket is connected no longer.
///
/// Linux's poll() tells that unasked. FreeBSD 13.2's is not woken by it when `events` is 0 (seen), so
/// it is asked for again: getpeername() knows (POSIX: `ENOTCONN`).
fn wait_for_end(socket: &OwnedFd) -> Result<(), String> {
    let soon = PollTimeout::from(1u8);
    loop {
        let mut ends = [PollFd::new(socket.as_fd(), PollFlags::empty())];
        let told = poll(&mut ends, soon).doing("poll")? > 0;
        match getpeername::<SockaddrStorage>(socket.as_raw_fd()) {
            Ok(_) if !told => {}
            Ok(_) | Err(Errno::ENOTCONN | Errno::EINVAL) => return Ok(()),
            Err(errno) => return Err(errno).doing("getpeername"),
        }
    }
}

/// Waits for `events`.
fn wait(socket: &OwnedFd, events: PollFlags) -> Result<(), String> {
    poll(&mut [PollFd::new(socket.as_fd(), events)], PollTimeout::NONE).map(drop).doing("poll")
}

fn ending(received: Result<usize, Errno>) -> Value {
    match received {
        Ok(0) => "end (FIN)".into(),
        Ok(_) => "data".into(),
        Err(Errno::ECONNRESET) => "ECONNRESET (RST)".into(),
        Err(errno) => format!("{errno:?}").into(),
    }
}

fn sent(socket: &OwnedFd) -> String {
    match send(socket.as_raw_fd(), b".", MsgFlags::MSG_NOSIGNAL) {
        Ok(_) => "sent".into(),
        Err(errno) => format!("{errno:?}"),
    }
}

/// Sends into a socket pair whose other end is closed.
fn nobody_reads(flags: MsgFlags) -> Measure {
    let subject = Subject::start(|_| {
        // A handler in place of the default action, so that the process can tell of it.
        // SAFETY: the handler only touches an atomic.
        unsafe { signal(Signal::SIGPIPE, SigHandler::Handler(note_sigpipe)) }.doing("signal")?;
        let (end, other) = std::os::unix::net::UnixStream::pair().doing("socketpair")?;
        drop(other);
        let result = send(end.as_raw_fd(), b".", flags);
        if SIGNALLED.load(std::sync::atomic::Ordering::SeqCst) {
            return Ok("SIGPIPE".into());
        }
        Ok(match result {
            Ok(_) => "sent".into(),
            Err(errno) => format!("{errno:?}"),
        })
    })?;
    Ok(subject.outcome()?.into())
}

static SIGNALLED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

extern "C" fn note_sigpipe(_: libc::c_int) {
    SIGNALLED.store(true, std::sync::atomic::Ordering::SeqCst);
}
