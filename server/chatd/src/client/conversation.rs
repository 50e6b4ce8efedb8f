//! The one loop of a conversation: the user's side, the connection, the deadline.

use std::io::{self, Read, Write, stdin};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connection::{Connection, End};
use super::delivery::Delivery;
use super::display::Output;
use super::failure::{Exit, Failure};
use settings::reason;

/// Standard input waits while so many bytes have not been taken by the connection.
const UNSENT_LIMIT: usize = 64 * 1024;

/// The user's side of a conversation.
pub(super) trait User {
    /// Reads standard input once, gives what is to be sent to `send`, piece by piece as it is to
    /// come back, and returns whether there may be more.
    fn read(&mut self, send: &mut dyn FnMut(Vec<u8>)) -> Result<bool, Failure>;

    /// Shows bytes that arrived.
    fn show(&mut self, bytes: &[u8]) -> Result<(), Failure>;

    /// Shows what was held back: nothing more will arrive.
    fn finish(&mut self) -> Result<(), Failure>;

    /// Where it is shown, if it must be noticed that nobody looks any more.
    fn output(&self) -> Option<&Output>;

    /// Nobody looks any more.
    fn reader_gone(&mut self);

    /// Whether the user had seen the chat, and left it by saying so, so that silence on the
    /// server's side needs no explanation.
    fn saw_the_chat(&self) -> bool;
}

/// What one round of waiting found.
pub(super) struct Ready {
    /// The connection has bytes, or an end.
    pub(super) arrived: bool,
    /// The connection takes bytes.
    writable: bool,
    /// Standard input has bytes, or an end.
    input: bool,
    /// Whoever read standard output has gone.
    pub(super) reader_gone: bool,
}

/// Sends what the user says, shows what arrives, and has the lines confirmed in the end.
/// `timeout`: how long the server may make no progress with what it was sent. `held`: what the user has
/// said before.
pub(super) fn converse(
    connection: &Connection,
    user: &mut impl User,
    timeout: Duration,
    held: Vec<Vec<u8>>,
) -> Result<(), Failure> {
    let local = |error: io::Error| {
        Failure::new(Exit::LocalIo, format!("cannot use the connection: {}", reason(&error)))
    };
    connection.stream().set_nonblocking(true).map_err(local)?;

    let mut input_open = true;
    let mut delivery = Delivery::default();
    let mut unsent: Vec<u8> = Vec::new();
    let mut heard = false;
    let mut half_closed = false;
    let mut broken = false;
    let mut progress = Instant::now();
    let mut buffer = vec![0; 64 * 1024];
    for line in held {
        unsent.extend_from_slice(&line);
        delivery.sent(line);
    }

    loop {
        if !input_open && unsent.is_empty() && !half_closed {
            // A failure means that the connection has ended; the next read tells how.
            let _ = connection.stream().shutdown(Shutdown::Write);
            half_closed = true;
            progress = Instant::now();
        }
        let waits_for_server = half_closed || !unsent.is_empty();
        let deadline = waits_for_server.then(|| progress + timeout);
        let wants_input = input_open && unsent.len() < UNSENT_LIMIT;
        let ready =
            wait(connection, wants_input, !unsent.is_empty() && !broken, user.output(), deadline)?;

        if ready.reader_gone {
            user.reader_gone();
        }
        if ready.arrived {
            let end = match connection.stream().read(&mut buffer) {
                Ok(0) => Some(End::Closed),
                Ok(count) => {
                    heard = true;
                    if delivery.heard(&buffer[..count]) {
                        progress = Instant::now();
                    }
                    user.show(&buffer[..count])?;
                    None
                }
                Err(error) if passing(&error) => None,
                Err(error) => Some(End::Broken(error)),
            };
            if let Some(end) = end {
                user.finish()?;
                let known = heard || user.saw_the_chat();
                let all_back = half_closed && known && delivery.missing() == 0;
                return if all_back {
                    Ok(())
                } else {
                    Err(delivery.explain(connection.lost(&end, heard), unsent.len()))
                };
            }
        }
        if ready.writable {
            match connection.stream().write(&unsent) {
                Ok(count) => {
                    unsent.drain(..count);
                    progress = Instant::now();
                }
                Err(error) if passing(&error) => {}
                // What the server sent before it ended is still to be read, then its end.
                Err(_) => broken = true,
            }
        }
        if ready.input {
            if unsent.is_empty() {
                progress = Instant::now();
            }
            input_open = user.read(&mut |line| {
                unsent.extend_from_slice(&line);
                delivery.sent(line);
            })?;
        }
        if waits_for_server && progress + timeout <= Instant::now() {
            // A server that keeps the connection has still taken what it sent back.
            let known = delivery.returned() > 0 || user.saw_the_chat();
            if half_closed && known && delivery.missing() == 0 {
                return Ok(());
            }
            user.finish()?;
            let failure = Failure::new(
                Exit::Lost,
                format!("{} made no progress for {} s", connection.server(), timeout.as_secs_f64()),
            );
            return Err(delivery.explain(failure, unsent.len()));
        }
    }
}

/// Waits for something to do, until the deadline if there is one.
pub(super) fn wait(
    connection: &Connection,
    wants_input: bool,
    wants_to_write: bool,
    output: Option<&Output>,
    deadline: Option<Instant>,
) -> Result<Ready, Failure> {
    let timeout = match deadline {
        // Rounded up, or the last fraction of a millisecond would be spent turning in circles.
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        }
        None => PollTimeout::NONE,
    };
    let mut for_connection = PollFlags::POLLIN;
    for_connection.set(PollFlags::POLLOUT, wants_to_write);

    let stdin = stdin();
    let mut fds = vec![PollFd::new(connection.stream().as_fd(), for_connection)];
    if wants_input {
        fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
    }
    if let Some(output) = output {
        // Asked for nothing, poll still tells POLLERR (Linux) or POLLHUP (FreeBSD, poll(2)) when
        // the reader of a pipe has gone.
        fds.push(PollFd::new(output.descriptor().as_fd(), PollFlags::empty()));
    }
    match poll(&mut fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => {
            return Err(Failure::new(
                Exit::LocalIo,
                format!("cannot wait for input: {}", error.desc()),
            ));
        }
    }
    let found =
        |index: usize| fds.get(index).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
    let input = wants_input && !found(1).is_empty();
    let reader = if wants_input { found(2) } else { found(1) };
    Ok(Ready {
        // An end shows as any of the flags but POLLOUT.
        arrived: !found(0).difference(PollFlags::POLLOUT).is_empty(),
        writable: found(0).contains(PollFlags::POLLOUT),
        input,
        reader_gone: output.is_some() && !reader.is_empty(),
    })
}

/// Whether an operation has only to be tried again.
fn passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}
