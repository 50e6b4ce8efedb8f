//! A thread per client.

use std::convert::Infallible;
use std::io;
use std::net::{TcpListener, TcpStream};

use crate::copy;

/// Room for the buffer, and little else.
const STACK: usize = 128 * 1024;

/// Copies.
pub(crate) fn copy_each(listener: TcpListener, _clients: usize) -> io::Result<Infallible> {
    each(&listener, |mut client| copy::to_the_end(&mut client))
}

/// Discards: a wake-up and a read, without which no sink gets anything.
pub(crate) fn discard(listener: TcpListener, _clients: usize) -> io::Result<Infallible> {
    each(&listener, |mut client| discard_to_the_end(&mut client))
}

fn each(
    listener: &TcpListener,
    serve: impl Fn(TcpStream) -> io::Result<()> + Copy + Send + 'static,
) -> io::Result<Infallible> {
    loop {
        let (client, _) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        // A connection's errors are the client's.
        std::thread::Builder::new().stack_size(STACK).spawn(move || drop(serve(client)))?;
    }
}

/// tcp(7): with `MSG_TRUNC` the kernel discards what has come instead of copying it.
#[cfg(target_os = "linux")]
fn discard_to_the_end(client: &mut TcpStream) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use nix::errno::Errno;
    let mut unused = [0_u8; copy::BUFFER];
    loop {
        // SAFETY: the buffer has that length, whether the kernel writes to it or not.
        let length = unsafe {
            libc::recv(
                client.as_raw_fd(),
                unused.as_mut_ptr().cast(),
                unused.len(),
                libc::MSG_TRUNC,
            )
        };
        match Errno::result(length) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn discard_to_the_end(client: &mut TcpStream) -> io::Result<()> {
    io::copy(client, &mut io::sink()).map(drop)
}
