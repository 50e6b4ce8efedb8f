//! The load: many clients that write at a steady rate, whether the sink keeps up or not.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How much each client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Bits in a second.
    pub bits_per_second: u64,
    /// Bytes in a write.
    pub message_bytes: usize,
}

impl Rate {
    /// The time between two writes of one client.
    pub fn interval(self) -> Duration {
        let bits = self.message_bytes as f64 * 8.0;
        Duration::from_secs_f64(bits / self.bits_per_second.max(1) as f64)
    }
}

/// What was sent in a window of time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    /// Writes that were due.
    pub(super) messages: u64,
    /// Bytes that were due.
    pub(super) due: u64,
    /// Bytes of them that the load came to, in time.
    pub(super) made: u64,
    /// Bytes of them that the system took.
    pub(super) written: u64,
    /// The 99th percentile of how late a write was.
    pub(super) late: Duration,
}

/// The clients.
pub(super) struct Clients {
    rate: Rate,
    message: Vec<u8>,
    clients: Vec<Client>,
}

struct Client {
    stream: TcpStream,
    /// Bytes that were due and that the system did not take.
    owed: usize,
}

impl Clients {
    pub(super) fn new(rate: Rate) -> Self {
        let mut message = vec![b'x'; rate.message_bytes];
        if let Some(last) = message.last_mut() {
            *last = b'\n';
        }
        Self { rate, message, clients: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// One client more, which sends a first message.
    pub(super) fn enter(&mut self, at: SocketAddr, patience: Duration) -> Result<(), String> {
        let number = self.clients.len() + 1;
        let enter = || -> std::io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&at, patience)?;
            // Each write is a segment, when it is made.
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream = enter()
            .map_err(|error| format!("client {number} cannot connect: {}", reason(&error)))?;
        let mut client = Client { stream, owed: 0 };
        client.send(&self.message).map_err(|error| self::closed(number, &error))?;
        self.clients.push(client);
        Ok(())
    }

    /// Reads whatever the sink has said so far; whether it has said anything.
    pub(super) fn hear(&mut self) -> Result<bool, String> {
        let mut has_spoken = false;
        let mut buffer = [0; 4096];
        for (at, client) in self.clients.iter_mut().enumerate() {
            loop {
                match client.stream.read(&mut buffer) {
                    Ok(0) => {
                        return Err(format!("it has closed the connection of client {}", at + 1));
                    }
                    Ok(_) => has_spoken = true,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(self::closed(at + 1, &error)),
                }
            }
        }
        Ok(has_spoken)
    }

    /// Sends for so long, each client in its turn: the intended times are evenly spread, and do not
    /// move when a write is late.
    pub(super) fn send(&mut self, begin: Instant, time: Duration) -> Result<Sent, String> {
        let count = self.clients.len();
        let step = self.rate.interval().as_secs_f64() / count as f64;
        let messages = (time.as_secs_f64() / step) as u64;
        let mut late = Vec::with_capacity(usize::try_from(messages).unwrap_or(0));
        let mut written = 0;
        let mut made = 0;
        for number in 0..messages {
            let due = begin + Duration::from_secs_f64(step * number as f64);
            let now = Instant::now();
            match due.checked_duration_since(now) {
                Some(left) => {
                    std::thread::sleep(left);
                    late.push(due.elapsed());
                }
                None => late.push(now.duration_since(due)),
            }
            // A load that cannot be made ends in its time, too.
            if begin.elapsed() > time {
                break;
            }
            let at = (number % count as u64) as usize;
            made += self.message.len() as u64;
            written += self.clients[at]
                .send(&self.message)
                .map_err(|error| self::closed(at + 1, &error))?;
        }
        std::thread::sleep((begin + time).saturating_duration_since(Instant::now()));
        for (at, client) in self.clients.iter_mut().enumerate() {
            written += client.send(&[]).map_err(|error| self::closed(at + 1, &error))?;
        }
        late.sort_unstable();
        let late = late.get(late.len() * 99 / 100).copied().unwrap_or_default();
        Ok(Sent { messages, due: messages * self.message.len() as u64, made, written, late })
    }
}

impl Client {
    /// Sends `message` and what is owed, as far as the system takes it at once.
    fn send(&mut self, message: &[u8]) -> std::io::Result<u64> {
        self.owed += message.len();
        let mut written = 0;
        while self.owed > 0 {
            // All messages consist of the same bytes but for their last; what is owed may be more than
            // one.
            const PIECE: &[u8] = &[b'x'; 4096];
            let piece = match self.owed == message.len() {
                true => message,
                false => &PIECE[..self.owed.min(PIECE.len())],
            };
            match self.stream.write(piece) {
                Ok(length) => {
                    self.owed -= length;
                    written += length as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

fn closed(number: usize, error: &std::io::Error) -> String {
    format!("it does not read to the end; client {number} got: {}", reason(error))
}

fn reason(error: &std::io::Error) -> String {
    settings::reason(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_megabit_in_4096_bytes_is_a_write_each_33_ms() {
        let rate = Rate { bits_per_second: 1_000_000, message_bytes: 4096 };
        assert_eq!(rate.interval(), Duration::from_micros(32_768));
    }
}
