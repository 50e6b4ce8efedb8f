//! The clients of a measurement: they say numbered messages and hear everything, each in its order.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

/// What the clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The key, and then lines; whether a speaker hears itself.
    Lines {
        /// It does.
        comes_back: bool,
    },
    /// IRC: everyone is in one channel (RFC 2812). A speaker does not hear itself.
    Irc,
}

impl Dialect {
    fn comes_back(self) -> bool {
        self == Self::Lines { comes_back: true }
    }
}

/// Bytes of a message, its newline included.
pub const MESSAGE: usize = 64;
/// What every message of a measurement begins with.
const MARK: &[u8] = b"~fp ";
/// Latencies are kept up to a minute, with three digits.
const LONGEST_US: u64 = 60_000_000;

/// All clients, and what they have heard.
pub(super) struct Talkers {
    dialect: Dialect,
    key: Vec<u8>,
    clients: Vec<Talker>,
    begin: Instant,
    /// What was heard since [`begin`](Self::begin).
    pub(super) heard: Heard,
}

/// What was heard.
pub(super) struct Heard {
    /// Messages, counted for each who heard them.
    pub(super) deliveries: u64,
    /// Those that came in the wrong order or twice.
    pub(super) disordered: u64,
    /// From the intended time of a message to its being heard, in µs.
    pub(super) latency: Histogram<u64>,
    /// When the last one came, counted from the beginning.
    pub(super) last: Duration,
}

impl Heard {
    fn nothing() -> Result<Self, String> {
        let latency =
            Histogram::new_with_bounds(1, LONGEST_US, 3).map_err(|error| error.to_string())?;
        Ok(Self { deliveries: 0, disordered: 0, latency, last: Duration::ZERO })
    }
}

struct Talker {
    stream: TcpStream,
    outbox: Vec<u8>,
    inbox: Vec<u8>,
    /// The number of the next message of each speaker.
    next: Vec<u64>,
    said: u64,
    ended: bool,
}

impl Talkers {
    pub(super) fn new(dialect: Dialect, key: &[u8]) -> Result<Self, String> {
        let heard = Heard::nothing()?;
        Ok(Self { dialect, key: key.to_vec(), clients: Vec::new(), begin: Instant::now(), heard })
    }

    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// One client more, which has been let in when this returns.
    pub(super) fn enter(&mut self, at: SocketAddr, patience: Duration) -> Result<(), String> {
        let number = self.clients.len();
        let enter = || -> std::io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&at, patience)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream = enter().map_err(|error| {
            format!("client {number} cannot connect: {}", settings::reason(&error))
        })?;
        let hello = format!("hello of {number}");
        let (words, answer) = match self.dialect {
            Dialect::Lines { .. } => ([&self.key, hello.as_bytes(), b"\n"].concat(), hello),
            Dialect::Irc => {
                let words = format!("NICK fp{number}\r\nUSER fp{number} 0 * :fp\r\nJOIN #fp\r\n");
                // RPL_ENDOFNAMES: it is in the channel.
                (words.into_bytes(), " 366 ".to_owned())
            }
        };
        self.clients.push(Talker {
            stream,
            outbox: words,
            inbox: Vec::new(),
            next: Vec::new(),
            said: 0,
            ended: false,
        });
        let is_answered = |clients: &[Talker]| clients[number].has_heard(answer.as_bytes());
        match self.dialect {
            Dialect::Lines { comes_back: false } => self.move_bytes(Some(Duration::ZERO)),
            _ => self.wait(patience, &format!("let client {number} in"), is_answered),
        }
    }

    /// Lets go of what was said so far, when all have heard a last word. What comes from here on counts.
    pub(super) fn begin(&mut self, patience: Duration) -> Result<(), String> {
        let speaker = self.clients.len() - 1;
        self.clients[speaker].says(self.dialect, b"now");
        let comes_back = self.dialect.comes_back();
        self.wait(patience, "let all hear a first message", |clients| {
            clients
                .iter()
                .enumerate()
                .all(|(at, client)| at == speaker && !comes_back || client.has_heard(b"now"))
        })?;
        let count = self.clients.len();
        for client in &mut self.clients {
            client.inbox.clear();
            client.next = vec![0; count];
        }
        self.begin = Instant::now();
        self.heard = Heard::nothing()?;
        Ok(())
    }

    /// Has `speaker` say a message that was to be said so long after [`begin`](Self::begin).
    pub(super) fn say(&mut self, speaker: usize, due: Duration) {
        let client = &mut self.clients[speaker];
        let mut message = MARK.to_vec();
        message.extend(format!("{speaker} {} {} ", client.said, due.as_nanos()).bytes());
        message.resize(MESSAGE - 1, b'x');
        client.said += 1;
        client.says(self.dialect, &message);
    }

    /// How many deliveries are due when everything said is heard by all who are to hear it.
    pub(super) fn due(&self) -> u64 {
        let said: u64 = self.clients.iter().map(|client| client.said).sum();
        said * self.hearers()
    }

    /// How many hear a message.
    pub(super) fn hearers(&self) -> u64 {
        (self.clients.len() - usize::from(!self.dialect.comes_back())) as u64
    }

    /// How long ago [`begin`](Self::begin) was.
    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Sends and hears what can be, and waits for at most `limit` until something can be.
    pub(super) fn exchange(&mut self, limit: Duration) -> Result<(), String> {
        self.move_bytes(Some(limit))?;
        let now = self.elapsed();
        for client in &mut self.clients {
            client.count(now, &mut self.heard);
        }
        Ok(())
    }

    fn wait(
        &mut self,
        patience: Duration,
        what: &str,
        condition: impl Fn(&[Talker]) -> bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        while !condition(&self.clients) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("the server does not {what} within {patience:.0?}"));
            }
            self.move_bytes(Some(left))?;
        }
        Ok(())
    }

    /// Waits until bytes can be moved, and moves them.
    fn move_bytes(&mut self, limit: Option<Duration>) -> Result<(), String> {
        for client in &mut self.clients {
            client.write();
        }
        let mut ready: Vec<PollFd> = self
            .clients
            .iter()
            .map(|client| {
                let writes =
                    if client.outbox.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
                PollFd::new(client.stream.as_fd(), PollFlags::POLLIN | writes)
            })
            .collect();
        match ppoll(&mut ready, limit.map(TimeSpec::from), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(format!("ppoll: {}", errno.desc())),
        }
        let readable: Vec<bool> = ready
            .iter()
            .map(|one| one.revents().is_some_and(|events| !events.is_empty()))
            .collect();
        for (number, (client, readable)) in self.clients.iter_mut().zip(readable).enumerate() {
            if readable {
                client.write();
                client.read();
            }
            if client.ended {
                return Err(format!("the server closed the connection of client {number}"));
            }
        }
        Ok(())
    }
}

impl Talker {
    fn says(&mut self, dialect: Dialect, message: &[u8]) {
        match dialect {
            Dialect::Lines { .. } => self.outbox.extend(message.iter().chain(b"\n")),
            Dialect::Irc => {
                self.outbox.extend(b"PRIVMSG #fp :".iter().chain(message).chain(b"\r\n"));
            }
        }
        self.write();
    }

    fn has_heard(&self, word: &[u8]) -> bool {
        self.inbox.windows(word.len()).any(|part| part == word)
    }

    fn write(&mut self) {
        let mut sent = 0;
        while sent < self.outbox.len() {
            match self.stream.write(&self.outbox[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Reading tells of an end.
                Err(_) => break,
            }
        }
        self.outbox.drain(..sent);
    }

    fn read(&mut self) {
        let mut buffer = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(count) if count > 0 => self.inbox.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.ended = true;
                    return;
                }
            }
        }
    }

    /// Looks at the whole lines of what has come, and keeps the rest.
    fn count(&mut self, now: Duration, heard: &mut Heard) {
        let Some(end) = self.inbox.iter().rposition(|&byte| byte == b'\n') else { return };
        for line in self.inbox[..end].split(|&byte| byte == b'\n') {
            // What else a server says, a ping or somebody's coming, is no message.
            let Some([speaker, number, due]) = numbers(line) else { continue };
            let next = usize::try_from(speaker).ok().and_then(|at| self.next.get_mut(at));
            match next {
                Some(next) if *next == number => *next += 1,
                Some(next) => {
                    heard.disordered += 1;
                    *next = number + 1;
                }
                None => heard.disordered += 1,
            }
            heard.deliveries += 1;
            heard.last = now;
            let latency = now.saturating_sub(Duration::from_nanos(due));
            heard.latency.saturating_record(latency.as_micros().max(1) as u64);
        }
        self.inbox.drain(..=end);
    }
}

/// Speaker, number and intended time of a message.
fn numbers(line: &[u8]) -> Option<[u64; 3]> {
    let at = line.windows(MARK.len()).position(|part| part == MARK)?;
    let mut words = std::str::from_utf8(&line[at + MARK.len()..]).ok()?.split(' ');
    let mut number = || words.next()?.parse().ok();
    Some([number()?, number()?, number()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_in_a_line_of_either_dialect() {
        assert_eq!(numbers(b"~fp 3 17 250000 xxxx"), Some([3, 17, 250_000]));
        assert_eq!(
            numbers(b":fp3!~fp3@host PRIVMSG #fp :~fp 3 17 250000 xx\r"),
            Some([3, 17, 250_000])
        );
        assert_eq!(numbers(b"PING :irc.example.net\r"), None);
        assert_eq!(numbers(b"~fp 3 x"), None);
    }
}
