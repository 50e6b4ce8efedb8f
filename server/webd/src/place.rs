//! Waiting for a connection together with the other workers: who of them is woken.
//!
//! On Linux each waits in an epoll of its own, with `EPOLLEXCLUSIVE` (epoll_ctl(2)): the system wakes
//! the first in the socket's queue that waits just then, and one that has been woken keeps its place.
//! So a worker that is quick has the next connection too, while what it needs is still in the
//! processor's caches. One that has had [`RUN`] of them goes to the end of the queue: none has everything,
//! and connections that stay are spread evenly.
//!
//! FreeBSD's accept(2) wakes one too, but it may be a stopped process, which still sleeps there
//! (`wakeup_one` of sleepqueue(9)): a connection would wait until the stopped worker goes on. Seen on
//! 13.2 with `workers/stopped-worker-blocks-nobody`. There, and wherever nothing is known of it, all
//! wait in `poll` and are woken, and one is the first.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
#[cfg(target_os = "linux")]
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::sockets::Listener;

/// Connections that one worker takes before others have their turn.
#[cfg(target_os = "linux")]
const RUN: u32 = 8;

/// A place in the queue of those that wait for the connections of one socket.
pub(crate) struct Place {
    #[cfg(target_os = "linux")]
    queue: Option<Epoll>,
    #[cfg(target_os = "linux")]
    taken: u32,
}

#[cfg(target_os = "linux")]
impl Place {
    /// At the end of the queue.
    pub(crate) fn join(listener: &Listener) -> Self {
        // A kernel without it (before 4.5) says EINVAL: poll serves as well, and wakes more.
        let queue = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).ok();
        Self { queue: queue.filter(|queue| enqueue(queue, listener).is_ok()), taken: 0 }
    }

    /// Waits until a connection may be there, or a signal comes.
    pub(crate) fn wait(&self, listener: &Listener) {
        match &self.queue {
            Some(queue) => {
                let _ = queue.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE);
            }
            None => poll_for(listener),
        }
    }

    /// One has been taken.
    pub(crate) fn took(&mut self, listener: &Listener) {
        self.taken += 1;
        if self.taken >= RUN {
            self.taken = 0;
            self.queue = self.queue.take().filter(|queue| {
                queue.delete(&listener.socket).is_ok() && enqueue(queue, listener).is_ok()
            });
        }
    }
}

#[cfg(target_os = "linux")]
fn enqueue(queue: &Epoll, listener: &Listener) -> nix::Result<()> {
    let alone = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
    queue.add(&listener.socket, EpollEvent::new(alone, 0))
}

#[cfg(not(target_os = "linux"))]
impl Place {
    /// There is no order.
    pub(crate) fn join(_listener: &Listener) -> Self {
        Self {}
    }

    /// Waits until a connection may be there, or a signal comes.
    pub(crate) fn wait(&self, listener: &Listener) {
        poll_for(listener);
    }

    /// One has been taken.
    pub(crate) fn took(&mut self, _listener: &Listener) {}
}

fn poll_for(listener: &Listener) {
    let mut ready = [PollFd::new(listener.socket.as_fd(), PollFlags::POLLIN)];
    let _ = poll(&mut ready, PollTimeout::NONE);
}
