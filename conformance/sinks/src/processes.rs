//! A process per client.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use crate::copy;

/// Forks for each client when it comes.
pub(crate) fn fork_each(listener: TcpListener, _clients: usize) -> io::Result<Infallible> {
    interrupted_by_children()?;
    listener.set_nonblocking(true)?;
    loop {
        reap();
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // A child that ends between `reap` and here is reaped when the next one comes or ends.
                let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
                match poll(&mut ready, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => continue,
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(error) if is_the_clients(&error) => continue,
            Err(error) => return Err(error),
        };
        // SAFETY: this process has one thread.
        if let ForkResult::Child = unsafe { fork() }? {
            drop(listener);
            // Some systems pass the listener's mode on to what it accepts.
            client.set_nonblocking(false)?;
            copy_and_exit(client);
        }
    }
}

/// Forks `clients` processes, each of which accepts one client after the other.
pub(crate) fn fork_before(listener: TcpListener, clients: usize) -> io::Result<Infallible> {
    for _ in 0..clients.max(1) {
        // SAFETY: this process has one thread.
        if let ForkResult::Child = unsafe { fork() }? {
            loop {
                match listener.accept() {
                    // The connection's errors are the client's.
                    Ok((mut client, _)) => drop(copy::to_the_end(&mut client)),
                    Err(error) if is_the_clients(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    loop {
        match waitpid(None, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn copy_and_exit(mut client: std::net::TcpStream) -> ! {
    let copied = copy::to_the_end(&mut client);
    // SAFETY: ends the process without running what its parent registered.
    unsafe { libc::_exit(i32::from(copied.is_err())) }
}

/// Has `SIGCHLD` interrupt what waits.
fn interrupted_by_children() -> nix::Result<()> {
    extern "C" fn interrupt(_signal: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(interrupt), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGCHLD, &action) }.map(drop)
}

fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

/// Whether accept(2) tells of a client that went away, or of a signal.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted};
    matches!(error.kind(), ConnectionAborted | Interrupted)
}
