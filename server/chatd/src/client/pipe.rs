//! Use in pipes: bytes in, bytes out.

use std::io::{self, Read, stdin};

use nix::errno::Errno;

use super::connection::{Connection, End};
use super::conversation::{User, wait};
use super::display::Output;
use super::failure::{Exit, Failure};
use settings::reason;

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

/// A user whose standard input is sent.
pub(super) struct Pipe {
    /// What goes before each line; `None` sends the input as it is.
    prefix: Option<String>,
    output: Option<Output>,
    /// A line whose end has not been read yet.
    partial: Vec<u8>,
    buffer: Vec<u8>,
}

impl Pipe {
    pub(super) fn new(prefix: Option<String>, output: Option<Output>) -> Self {
        Self { prefix, output, partial: Vec::new(), buffer: vec![0; 64 * 1024] }
    }
}

impl User for Pipe {
    fn read(&mut self, send: &mut dyn FnMut(Vec<u8>)) -> Result<bool, Failure> {
        // Not through std's buffer: bytes in it would not wake the poll.
        let bytes = match nix::unistd::read(stdin(), &mut self.buffer) {
            Ok(count) => &self.buffer[..count],
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(true),
            Err(error) => {
                return Err(Failure::new(
                    Exit::LocalIo,
                    format!("cannot read standard input: {}", error.desc()),
                ));
            }
        };
        let Some(prefix) = &self.prefix else {
            bytes.split_inclusive(|&byte| byte == b'\n').for_each(|piece| send(piece.to_vec()));
            return Ok(!bytes.is_empty());
        };
        let mut send_line = |text: &[u8]| {
            // An empty line says nothing.
            if !text.is_empty() && text != b"\r" {
                send([prefix.as_bytes(), text, b"\n"].concat());
            }
        };
        if bytes.is_empty() {
            send_line(&std::mem::take(&mut self.partial));
            return Ok(false);
        }
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if let Some(text) = self.partial.strip_suffix(b"\n") {
                send_line(text);
                self.partial.clear();
            }
        }
        Ok(true)
    }

    fn show(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(output) = &mut self.output {
            if !print(output, bytes)? {
                self.reader_gone();
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.output.as_mut().map_or(Ok(()), finish)
    }

    fn output(&self) -> Option<&Output> {
        self.output.as_ref()
    }

    /// Printing was a courtesy; the lines are still to be delivered.
    fn reader_gone(&mut self) {
        self.output = None;
    }

    fn saw_the_chat(&self) -> bool {
        false
    }
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
