//! Taking connections from the sockets that all workers share.
//!
//! Each socket has a thread here that does nothing but `accept`, one connection at a time, and as
//! many as the worker's loop allows: [`AHEAD`] more than it has begun with, and only as long as the
//! worker has room. So a worker that hangs takes few, and what waits in the system's queue goes to
//! any worker that is free.
//!
//! Why a thread: which of the workers is woken depends on how it waits, see [`Place`], and the
//! worker's loop waits for everything else. `SO_REUSEPORT` would give each worker a queue whose
//! connections are lost when it ends.

use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::pthread::Pthread;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use tokio::sync::mpsc;

use crate::place::Place;
use crate::sockets::{Listener, to_std};
use crate::{diagnostics, signals};

/// Pause of accepting when the system has no descriptor or memory to spare.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections of one socket that may be accepted before the worker's loop begins with them. With
/// one, each costs two changes of threads, which a busy machine makes long; with many, a worker
/// takes what others could serve.
pub(crate) const AHEAD: usize = 4;
/// How often a thread that is to end is interrupted.
const REPEAT: Duration = Duration::from_millis(2);
/// Stack of a thread; it calls nothing deep.
const STACK: usize = 128 * 1024;

/// A connection, the number of the socket that it came on, and who it is.
pub(crate) type Arrival = (usize, TcpStream, SocketAddr);

/// The accepting threads.
pub(crate) struct Acceptors {
    threads: Vec<(std::sync::mpsc::Sender<()>, JoinHandle<()>)>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    stopping: Arc<AtomicBool>,
    /// Connections that may be taken from the queues when that is to stop.
    room: Arc<AtomicUsize>,
}

impl Acceptors {
    /// Gets ready to accept what [`Acceptors::allow`] allows.
    pub(crate) fn start(listeners: Vec<Listener>) -> std::io::Result<Self> {
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let room = Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            listener.set_nonblocking()?;
            let (allow, allowed) = std::sync::mpsc::channel();
            let (arrived, stopping, room) =
                (arrived.clone(), Arc::clone(&stopping), Arc::clone(&room));
            let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
                let mut place = Place::join(&listener);
                while allowed.recv().is_ok() {
                    let Some((stream, peer)) = accept(&listener, &place, &stopping) else { break };
                    place.took(&listener);
                    if arrived.send((index, stream, peer)).is_err() {
                        return;
                    }
                }
                // The system resets whoever still waits when the last worker closes the socket.
                while let Some((stream, peer)) = accept_waiting(&listener, &room) {
                    let _ = arrived.send((index, stream, peer));
                }
            })?;
            threads.push((allow, thread));
        }
        Ok(Self { threads, arrivals, stopping, room })
    }

    /// The next connection. After [`Acceptors::stop`], `None` when there is none left.
    pub(crate) async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// Lets the socket of this number accept one more.
    pub(crate) fn allow(&self, index: usize) {
        if let Some((allow, _)) = self.threads.get(index) {
            let _ = allow.send(());
        }
    }

    /// Takes what waits in the sockets' queues, up to `room` connections in all, ends accepting, and
    /// closes the sockets. What has been accepted still comes from `next`.
    pub(crate) async fn stop(&mut self, room: usize) {
        self.room.store(room, Ordering::Relaxed);
        self.stopping.store(true, Ordering::Relaxed);
        for (allow, thread) in self.threads.drain(..) {
            drop(allow);
            while !thread.is_finished() {
                // With musl std has an integer where libc has a pointer.
                #[allow(clippy::unnecessary_cast)]
                let number = thread.as_pthread_t() as Pthread;
                signals::interrupt_thread(number);
                tokio::time::sleep(REPEAT).await;
            }
            let _ = thread.join();
        }
    }
}

/// Accepts a connection that waits, if one does and there is room.
fn accept_waiting(listener: &Listener, room: &AtomicUsize) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let mut ready = [PollFd::new(listener.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::ZERO) {
            Ok(0) => return None,
            Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(_) => return None,
        }
        let less = |room: usize| room.checked_sub(1);
        room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        match accept_once(listener) {
            Ok(arrived) => return Some(arrived),
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => return None,
            // Another worker was quicker, or the connection has gone: nothing was taken.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => {
                room.fetch_add(1, Ordering::Relaxed);
            }
            // What may come again and again uses the room up.
            Err(_) => {}
        }
    }
}

/// Accepts a connection, whatever it takes; `None` when that is to stop.
fn accept(
    listener: &Listener,
    place: &Place,
    stopping: &AtomicBool,
) -> Option<(TcpStream, SocketAddr)> {
    let mut told = false;
    loop {
        if stopping.load(Ordering::Relaxed) {
            return None;
        }
        match accept_once(listener) {
            Ok(arrived) => return Some(arrived),
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                if !told {
                    diagnostics::say("out of descriptors or memory: connections have to wait");
                    told = true;
                }
                std::thread::sleep(PAUSE);
            }
            // There is none, or another worker was quicker.
            Err(Errno::EAGAIN) => place.wait(listener),
            // EINTR; the connection was gone before it was accepted (ECONNABORTED), or brings its
            // network's error with it (Linux accept(2), "Error handling").
            Err(_) => {}
        }
    }
}

fn accept_once(listener: &Listener) -> nix::Result<(TcpStream, SocketAddr)> {
    // The standard library's `accept` goes on after EINTR: the thread could not be stopped. nix's does
    // not tell the peer, who would have to be asked for by one more call.
    let mut address = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: a descriptor that is open, and room of that length for any address.
    let accepted = Errno::result(unsafe {
        libc::accept4(
            listener.socket.as_raw_fd(),
            address.as_mut_ptr().cast(),
            &raw mut length,
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        )
    })?;
    // SAFETY: accept4 has just returned this descriptor to us alone.
    let stream = unsafe { TcpStream::from_raw_fd(accepted) };
    // SAFETY: accept4 has written an address of that length into zeros.
    let peer = unsafe { SockaddrStorage::from_raw(address.as_ptr().cast(), Some(length)) };
    // FreeBSD has none of a peer who has gone already (accept(2)).
    let peer = peer.as_ref().and_then(to_std).ok_or(Errno::ECONNABORTED)?;
    Ok((stream, peer))
}
