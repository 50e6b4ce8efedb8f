//! One process, one thread, poll(2).

use std::convert::Infallible;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use nix::errno::Errno;

use crate::copy;

/// Waits for all clients at once.
pub(crate) fn serve(listener: TcpListener, _clients: usize) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let mut clients: Vec<TcpStream> = Vec::new();
    // The listener is the first, and the clients follow in the order of theirs.
    let mut waited_for = vec![readable(listener.as_raw_fd())];
    let mut buffer = [0; copy::BUFFER];
    loop {
        wait(&mut waited_for)?;
        // From the end, since a client that has ended is replaced by the last one.
        for at in (0..clients.len()).rev() {
            if waited_for[at + 1].revents == 0 {
                continue;
            }
            let ended = match clients[at].read(&mut buffer) {
                Ok(0) => true,
                Ok(length) => copy::to_output(&buffer[..length]).map(|()| false)?,
                Err(error) => !is_for_later(&error),
            };
            if ended {
                clients.swap_remove(at);
                waited_for.swap_remove(at + 1);
            }
        }
        if waited_for[0].revents == 0 {
            continue;
        }
        loop {
            match listener.accept() {
                Ok((client, _)) => {
                    client.set_nonblocking(true)?;
                    waited_for.push(readable(client.as_raw_fd()));
                    clients.push(client);
                }
                Err(error) if is_for_later(&error) => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn readable(descriptor: i32) -> libc::pollfd {
    libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 }
}

fn wait(waited_for: &mut [libc::pollfd]) -> io::Result<()> {
    // nix's array would borrow the clients, which come and go.
    // SAFETY: the array has that length, and its descriptors are open.
    let ready =
        unsafe { libc::poll(waited_for.as_mut_ptr(), waited_for.len() as libc::nfds_t, -1) };
    match Errno::result(ready) {
        Ok(_) => Ok(()),
        Err(Errno::EINTR) => {
            waited_for.iter_mut().for_each(|one| one.revents = 0);
            Ok(())
        }
        Err(errno) => Err(errno.into()),
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
