//! Use in pipes: one loop over standard input, the connection and standard output.

use std::io::{self, Read, Write, stdin};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connection::{Connection, End};
use super::delivery::Delivery;
use super::display::Output;
use super::{Exit, Failure};
use crate::settings::reason;

/// Standard input waits while so many bytes have not been taken by the connection.
const UNSENT_LIMIT: usize = 64 * 1024;

/// What one round of waiting found.
struct Ready {
    /// The connection has bytes, or an end.
    arrived: bool,
    /// The connection takes bytes.
    writable: bool,
    /// Standard input has bytes, or an end.
    input: bool,
    /// Whoever read standard output has gone.
    reader_gone: bool,
}

/// Prints what arrives until the server closes, which is a loss, or nobody reads it any more.
pub(super) fn listen(connection: &Connection, mut output: Output) -> Result<(), Failure> {
    let mut heard = false;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let ready = wait(connection, false, false, Some(&output), None)?;
        if ready.reader_gone {
            return Ok(());
        }
        if !ready.arrived {
            continue;
        }
        let end = match connection.stream().read(&mut buffer) {
            Ok(0) => End::Closed,
            Ok(count) => {
                heard = true;
                if !print(&mut output, &buffer[..count])? {
                    return Ok(());
                }
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => End::Broken(error),
        };
        finish(&mut output)?;
        return Err(connection.lost(&end, heard));
    }
}

/// Sends standard input and has it confirmed.
pub(super) struct Sender {
    /// What goes before each line; `None` sends the input as it is.
    pub(super) prefix: Option<String>,
    /// How long the server may make no progress with what it was sent.
    pub(super) timeout: Duration,
}

impl Sender {
    pub(super) fn run(
        &self,
        connection: &Connection,
        mut output: Option<Output>,
    ) -> Result<(), Failure> {
        let local = |error: io::Error| {
            Failure::new(
                Exit::LocalIo,
                format!("cannot use the connection: {}", reason(&error)),
            )
        };
        connection.stream().set_nonblocking(true).map_err(local)?;

        let mut input = Some(Input::new(self.prefix.as_deref()));
        let mut delivery = Delivery::default();
        let mut unsent: Vec<u8> = Vec::new();
        let mut heard = false;
        let mut half_closed = false;
        let mut broken = false;
        let mut progress = Instant::now();
        let mut buffer = vec![0; 64 * 1024];

        loop {
            if input.is_none() && unsent.is_empty() && !half_closed {
                // A failure means that the connection has ended; the next read tells how.
                let _ = connection.stream().shutdown(Shutdown::Write);
                half_closed = true;
                progress = Instant::now();
            }
            let waits_for_server = half_closed || !unsent.is_empty();
            let deadline = waits_for_server.then(|| progress + self.timeout);
            let wants_input = input.is_some() && unsent.len() < UNSENT_LIMIT;
            let ready = wait(
                connection,
                wants_input,
                !unsent.is_empty() && !broken,
                output.as_ref(),
                deadline,
            )?;

            if ready.reader_gone {
                // Printing was a courtesy; the lines are still to be delivered.
                output = None;
            }
            if ready.arrived {
                let end = match connection.stream().read(&mut buffer) {
                    Ok(0) => Some(End::Closed),
                    Ok(count) => {
                        heard = true;
                        if delivery.heard(&buffer[..count]) {
                            progress = Instant::now();
                        }
                        if let Some(printer) = &mut output {
                            if !print(printer, &buffer[..count])? {
                                output = None;
                            }
                        }
                        None
                    }
                    Err(error) if passing(&error) => None,
                    Err(error) => Some(End::Broken(error)),
                };
                if let Some(end) = end {
                    if let Some(printer) = &mut output {
                        finish(printer)?;
                    }
                    let all_back = half_closed && heard && delivery.missing() == 0;
                    return match all_back {
                        true => Ok(()),
                        false => Err(delivery.explain(connection.lost(&end, heard))),
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
                if let Some(source) = &mut input {
                    if unsent.is_empty() {
                        progress = Instant::now();
                    }
                    let open = source.read(&mut buffer, |line| {
                        unsent.extend_from_slice(&line);
                        delivery.sent(line);
                    })?;
                    if !open {
                        input = None;
                    }
                }
            }
            if waits_for_server && progress + self.timeout <= Instant::now() {
                // A server that keeps the connection has still taken what it sent back.
                if half_closed && delivery.missing() == 0 && delivery.returned() > 0 {
                    return Ok(());
                }
                let failure = Failure::new(
                    Exit::Lost,
                    format!(
                        "{} made no progress for {} s",
                        connection.server(),
                        self.timeout.as_secs_f64()
                    ),
                );
                return Err(delivery.explain(failure));
            }
        }
    }
}

/// Standard input, cut into what is sent.
struct Input<'a> {
    prefix: Option<&'a str>,
    /// A line whose end has not been read yet.
    partial: Vec<u8>,
}

impl<'a> Input<'a> {
    fn new(prefix: Option<&'a str>) -> Self {
        Self {
            prefix,
            partial: Vec::new(),
        }
    }

    /// Reads once and gives the lines to `send`; returns whether there may be more.
    fn read(&mut self, buffer: &mut [u8], mut send: impl FnMut(Vec<u8>)) -> Result<bool, Failure> {
        // Not through std's buffer: bytes in it would not wake the poll.
        let bytes = match nix::unistd::read(stdin(), buffer) {
            Ok(count) => &buffer[..count],
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(true),
            Err(error) => {
                return Err(Failure::new(
                    Exit::LocalIo,
                    format!("cannot read standard input: {}", error.desc()),
                ));
            }
        };
        if bytes.is_empty() {
            let rest = std::mem::take(&mut self.partial);
            match self.prefix {
                Some(_) if !rest.is_empty() => self.send_line(&rest, &mut send),
                _ => {}
            }
            return Ok(false);
        }
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            match (self.prefix, piece) {
                (None, _) => send(piece.to_vec()),
                (Some(_), [text @ .., b'\n']) => {
                    let mut line = std::mem::take(&mut self.partial);
                    line.extend_from_slice(text);
                    self.send_line(&line, &mut send);
                }
                (Some(_), _) => self.partial.extend_from_slice(piece),
            }
        }
        Ok(true)
    }

    /// An empty line says nothing, and is not sent.
    fn send_line(&self, text: &[u8], send: &mut impl FnMut(Vec<u8>)) {
        if text.is_empty() || text == b"\r" {
            return;
        }
        let prefix = self.prefix.unwrap_or_default().as_bytes();
        send([prefix, text, b"\n"].concat());
    }
}

/// Waits for something to do, until the deadline if there is one.
fn wait(
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
    let found = |index: usize| {
        fds.get(index)
            .and_then(PollFd::revents)
            .unwrap_or(PollFlags::empty())
    };
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
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// Prints; returns whether there is still a reader.
fn print(output: &mut Output, bytes: &[u8]) -> Result<bool, Failure> {
    still_read(output.write(bytes))
}

/// Prints what is held back; a reader that has gone is no concern any more.
fn finish(output: &mut Output) -> Result<(), Failure> {
    still_read(output.finish()).map(|_| ())
}

fn still_read(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(
            Exit::LocalIo,
            format!("cannot write to standard output: {}", reason(&error)),
        )),
    }
}
