//! A client of the server under test. It compares what it hears line by line, and it waits for
//! what it expects, never for time to pass.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::record::excerpt;
use super::world::World;
use crate::stop::{OrError, Outcome, Step, Stop, fail};
use crate::subject::Ending;

/// What a barrier line begins with. Barriers are part of the chat like any other line; readers of
/// lines pass over them.
const BARRIER: &[u8] = b"=barrier ";

/// Whether a line is part of a barrier, which may come at any time where speakers do not hear
/// themselves.
pub(super) fn is_barrier(line: &[u8]) -> bool {
    line.starts_with(BARRIER)
}

/// A line as the server carries it: with its newline.
pub fn line_of(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

/// A client that says nothing and hears what others say, where speakers do not hear themselves. It
/// joins when it is needed first.
#[derive(Debug)]
pub(super) struct Witness {
    key: Vec<u8>,
    address: SocketAddr,
    client: RefCell<Option<Client>>,
}

impl Witness {
    /// For a server with that key at that address.
    pub(super) fn new(key: Vec<u8>, address: SocketAddr) -> Self {
        Self { key, address, client: RefCell::default() }
    }

    pub(super) fn is_there(&self) -> bool {
        self.client.borrow().is_some()
    }

    /// Lets it go.
    pub(super) fn dismiss(&self) {
        drop(self.client.take());
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// Its name in the timeline.
    pub name: String,
    pub(super) world: Rc<World>,
    stream: TcpStream,
    /// All that was received since `forget`.
    inbox: Vec<u8>,
    forgotten: usize,
    /// How much of it has been looked at.
    cursor: usize,
    /// What is to be sent, and how much of it has been.
    outbox: Vec<u8>,
    sent: usize,
    /// How the connection ended, if it has.
    ended: Option<&'static str>,
    /// Its server, where speakers do not hear themselves: see [`Client::witnessed`].
    deaf_to_itself: Option<Rc<Witness>>,
    /// What it has said that nobody was yet asked about; empty where speakers hear themselves.
    said: Vec<u8>,
}

impl Client {
    pub(super) fn connect(
        world: &Rc<World>,
        name: &str,
        address: SocketAddr,
        server: Option<&Rc<Witness>>,
    ) -> Step<Self> {
        let stream = match TcpStream::connect_timeout(&address, world.patience()) {
            Ok(stream) => stream,
            Err(error) => {
                world.note(name, format!("cannot connect to {address}: {error}"));
                return fail(
                    format!("a client can connect to {address}"),
                    format!("{name} cannot: {error}"),
                );
            }
        };
        world.note(name, format!("connects to {address}"));
        let echo = world.orders.target.manifest.wire.echo;
        Self::over(world, name, stream, server.filter(|_| !echo).cloned())
    }

    fn over(
        world: &Rc<World>,
        name: &str,
        stream: TcpStream,
        deaf_to_itself: Option<Rc<Witness>>,
    ) -> Step<Self> {
        stream.set_nonblocking(true).or_error("O_NONBLOCK")?;
        // Messages leave when they are said, not when an earlier one is acknowledged.
        stream.set_nodelay(true).or_error("TCP_NODELAY")?;
        Ok(Self {
            name: name.to_owned(),
            world: world.clone(),
            stream,
            inbox: Vec::new(),
            forgotten: 0,
            cursor: 0,
            outbox: Vec::new(),
            sent: 0,
            ended: None,
            deaf_to_itself,
            said: Vec::new(),
        })
    }

    /// The socket itself, for what the harness has no word for.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Puts `bytes` on their way; they leave whenever the client is waited for.
    pub fn queue(&mut self, bytes: &[u8]) {
        self.world.note(&self.name, format!("sends {}", self.world.without_key(bytes)));
        if self.all_sent() {
            self.outbox.clear();
            self.sent = 0;
        }
        let begin = self.outbox.len();
        self.outbox.extend_from_slice(bytes);
        if let Some(server) = &self.deaf_to_itself {
            self.said.extend_from_slice(bytes.strip_prefix(server.key.as_slice()).unwrap_or(bytes));
        }
        if self.world.orders.target.manifest.wire.ending_in == Ending::Nul {
            exchange(&mut self.outbox[begin..], b'\n', 0);
        }
        self.pump();
    }

    /// Whether this client has just said `bytes` and will not hear them itself: then the witness,
    /// a client that says nothing, has to hear them, and they are done with.
    ///
    /// Where speakers hear themselves, no. None of the requirements need know the difference.
    fn witnessed(&mut self, bytes: &[u8]) -> Step<bool> {
        let Some(server) = self.deaf_to_itself.clone() else { return Ok(false) };
        let Some(at) = position(&self.said, bytes) else { return Ok(false) };
        self.said.drain(at..at + bytes.len());
        let patience = self.world.patience();
        let mut witness = server.client.borrow_mut();
        let Some(witness) = witness.as_mut() else { return Ok(false) };
        wait_for(&mut [self, witness], patience, |clients| {
            position(clients[1].unread(), bytes).is_some() || clients[1].ended.is_some()
        })?;
        match position(witness.unread(), bytes) {
            Some(at) => {
                let begin = witness.cursor + at;
                witness.inbox.drain(begin..begin + bytes.len());
                witness.forgotten += bytes.len();
                Ok(true)
            }
            None => fail(
                format!("another client hears {} of {}", excerpt(bytes), self.name),
                match witness.ended {
                    Some(how) => how.to_owned(),
                    None => format!("it does not within {patience:.1?}"),
                },
            ),
        }
    }

    /// How many whole lines of its own this client will not hear; they are done with.
    pub(super) fn own_lines(&mut self) -> Vec<Vec<u8>> {
        let end = self.said.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.said.drain(..end).collect();
        lines
            .split_inclusive(|&byte| byte == b'\n')
            .filter(|line| !is_barrier(line))
            .map(<[u8]>::to_vec)
            .collect()
    }

    /// Waits until the witness hears this client and this client hears the witness, which is let in
    /// first if need be.
    fn meet_witness(&mut self, server: &Rc<Witness>, token: &[u8]) -> Step<bool> {
        /// How long after an unheard word it is said again: whoever joins may miss the first.
        const AGAIN: Duration = Duration::from_millis(10);
        if let Some(at) = position(&self.said, token) {
            self.said.drain(at..at + token.len());
        }
        let patience = self.world.patience();
        let deadline = Instant::now() + patience;
        let mut slot = server.client.borrow_mut();
        if slot.is_none() {
            let mut fresh = Self::connect(&self.world, "witness", server.address, None)?;
            if !server.key.is_empty() {
                fresh.send(&server.key)?;
            }
            *slot = Some(fresh);
        }
        let Some(witness) = slot.as_mut() else { return Ok(false) };
        let from_witness = witness.start_barrier();
        loop {
            let met = |clients: &[&mut Self]| {
                clients[0].find(&from_witness).is_some() && clients[1].find(token).is_some()
            };
            let over = |clients: &[&mut Self]| clients.iter().any(|client| client.ended.is_some());
            let done =
                wait_for(&mut [self, witness], AGAIN, |clients| met(clients) || over(clients))?;
            if let (Some(end), Some(_)) = (self.find(&from_witness), witness.find(token)) {
                self.cursor = end;
                return Ok(true);
            }
            if done || Instant::now() >= deadline {
                return Ok(false);
            }
            if self.find(&from_witness).is_none() {
                witness.queue(&from_witness);
            }
            if witness.find(token).is_none() {
                self.queue(token);
                self.said.truncate(self.said.len() - token.len());
            }
        }
    }

    /// Sends `bytes`, all of them, and returns when the system has taken them.
    pub fn send(&mut self, bytes: &[u8]) -> Outcome {
        self.queue(bytes);
        let patience = self.world.patience();
        let sent = wait_for(&mut [self], patience, |clients| clients[0].all_sent())?;
        match (sent, self.ended) {
            (true, _) => Ok(()),
            (false, Some(how)) => fail(
                format!("the server takes what {} says", self.name),
                format!("{how} with {} bytes unsent", self.outbox.len() - self.sent),
            ),
            (false, None) => fail(
                format!("the server takes what {} says", self.name),
                format!(
                    "{} bytes are still unsent after {patience:.0?}",
                    self.outbox.len() - self.sent
                ),
            ),
        }
    }

    /// Says a line.
    pub fn say(&mut self, text: &str) -> Outcome {
        self.send(&line_of(text))
    }

    /// Closes the sending half.
    pub fn finish_sending(&mut self) -> Outcome {
        self.world.note(&self.name, "closes its sending half");
        self.stream.shutdown(Shutdown::Write).or_error("shutdown")
    }

    /// Closes the connection with a reset instead of an orderly end (`SO_LINGER` of zero).
    pub fn reset(self) -> Outcome {
        self.world.note(&self.name, "resets the connection");
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(&self.stream, nix::sys::socket::sockopt::Linger, &linger)
            .or_error("SO_LINGER")
    }

    /// Says a line that nobody has said before, and waits until it comes back: whatever the server
    /// did for this client before is now done. What was heard meanwhile is passed over.
    pub fn barrier(&mut self) -> Outcome {
        let token = self.start_barrier();
        self.await_barrier(&token)
    }

    /// The first half of a [`barrier`](Self::barrier); returns what to wait for.
    pub fn start_barrier(&mut self) -> Vec<u8> {
        let mut token = BARRIER.to_vec();
        token.extend_from_slice(format!("{} of {}=\n", self.world.serial(), self.name).as_bytes());
        self.queue(&token);
        token
    }

    /// The second half.
    pub(super) fn await_barrier(&mut self, token: &[u8]) -> Outcome {
        let patience = self.world.patience();
        if let Some(server) = self.deaf_to_itself.clone() {
            return match self.meet_witness(&server, token)? {
                true => Ok(()),
                false => fail(
                    format!("{} is let in, hears others and is heard", self.name),
                    match self.ended {
                        Some(how) => how.to_owned(),
                        None => format!("not both within {patience:.1?}"),
                    },
                ),
            };
        }
        wait_for(&mut [self], patience, |clients| {
            clients[0].find(token).is_some() || clients[0].ended.is_some()
        })?;
        match self.find(token) {
            Some(end) => {
                self.cursor = end;
                Ok(())
            }
            None => fail(
                format!("{} is let in and hears what it says", self.name),
                match self.ended {
                    Some(how) => format!("{how} (after {} bytes)", self.inbox.len()),
                    None => format!(
                        "it does not hear it within {patience:.1?}; so far it heard {}",
                        excerpt(&self.inbox[self.cursor..])
                    ),
                },
            ),
        }
    }

    /// As [`barrier`](Self::barrier), but returns the whole lines that were heard meanwhile.
    pub fn lines_until_barrier(&mut self) -> Step<Vec<Vec<u8>>> {
        let begin = self.cursor;
        self.barrier()?;
        let lines = self.inbox[begin..self.cursor].split_inclusive(|&byte| byte == b'\n');
        Ok(lines.filter(|line| !is_barrier(line)).map(<[u8]>::to_vec).collect())
    }

    /// Whether this client is let in: it hears the barrier that it started, or is closed.
    pub fn is_let_in(&mut self, token: &[u8]) -> Step<bool> {
        let patience = self.world.patience();
        if let Some(server) = self.deaf_to_itself.clone() {
            return self.meet_witness(&server, token);
        }
        wait_for(&mut [self], patience, |clients| {
            clients[0].find(token).is_some() || clients[0].ended.is_some()
        })?;
        if self.find(token).is_none() && self.ended.is_none() {
            return fail(
                format!("{} is let in or closed", self.name),
                format!("neither within {patience:.1?}: it is left connected to nobody"),
            );
        }
        Ok(self.find(token).is_some())
    }

    /// Where `token` ends in what has not been looked at yet.
    pub(super) fn find(&self, token: &[u8]) -> Option<usize> {
        let unread = &self.inbox[self.cursor..];
        let first = token.first()?;
        let mut from = 0;
        while let Some(at) = unread[from..].iter().position(|byte| byte == first) {
            if unread[from + at..].starts_with(token) {
                return Some(self.cursor + from + at + token.len());
            }
            from += at + 1;
        }
        None
    }

    pub(super) fn pass_to(&mut self, position: usize) {
        self.cursor = position;
    }

    /// Expects `text` as the next line.
    pub fn hears(&mut self, text: &str) -> Outcome {
        self.hears_all(&[text])
    }

    /// Expects these lines, in this order, with none between them.
    pub fn hears_all(&mut self, lines: &[impl AsRef<str>]) -> Outcome {
        for (index, expected) in lines.iter().enumerate() {
            let expected = expected.as_ref();
            if self.witnessed(&line_of(expected))? {
                continue;
            }
            let Some(line) = self.next_line(self.world.patience())? else {
                let rest = excerpt(&self.inbox[self.cursor..]);
                return fail(
                    format!(
                        "{} hears {:?} ({} of {})",
                        self.name,
                        expected,
                        index + 1,
                        lines.len()
                    ),
                    match self.ended {
                        Some(how) => how.to_owned(),
                        None => format!(
                            "nothing after {:.1?} without further traffic; unread: {rest}",
                            self.world.patience()
                        ),
                    },
                );
            };
            if line != expected.as_bytes() {
                return fail(
                    format!(
                        "{} hears {:?} ({} of {})",
                        self.name,
                        expected,
                        index + 1,
                        lines.len()
                    ),
                    format!("it hears {}", excerpt(&line)),
                );
            }
        }
        Ok(())
    }

    /// The next line without its newline; none when it doesn't come within `limit`.
    pub fn next_line(&mut self, limit: Duration) -> Step<Option<Vec<u8>>> {
        loop {
            wait_for(&mut [self], limit, |clients| {
                clients[0].unread().contains(&b'\n') || clients[0].ended.is_some()
            })?;
            let Some(length) = self.unread().iter().position(|&byte| byte == b'\n') else {
                return Ok(None);
            };
            let line = self.unread()[..length].to_vec();
            self.cursor += length + 1;
            if !line.starts_with(BARRIER) {
                return Ok(Some(line));
            }
        }
    }

    /// Expects exactly these bytes next, after any barriers of others.
    pub fn hears_bytes(&mut self, expected: &[u8]) -> Outcome {
        let patience = self.world.patience();
        if self.witnessed(expected)? {
            return Ok(());
        }
        while !expected.starts_with(BARRIER) {
            wait_for(&mut [self], patience, |clients| {
                let unread = clients[0].unread();
                let undecided = unread.len() < BARRIER.len() && unread.len() < expected.len();
                let barrier = unread.starts_with(BARRIER);
                clients[0].ended.is_some() || !undecided && (!barrier || unread.contains(&b'\n'))
            })?;
            let barrier = self.unread().starts_with(BARRIER);
            match self.unread().iter().position(|&byte| byte == b'\n') {
                Some(end) if barrier => self.cursor += end + 1,
                _ => break,
            }
        }
        wait_for(&mut [self], patience, |clients| {
            clients[0].unread().len() >= expected.len() || clients[0].ended.is_some()
        })?;
        let unread = self.unread();
        let count = unread.len().min(expected.len());
        if unread[..count] != expected[..count] {
            let at = (0..count).find(|&at| unread[at] != expected[at]).unwrap_or(count);
            return fail(
                format!("{} hears {}", self.name, excerpt(expected)),
                format!("byte {at} is {:#04x}, not {:#04x}", unread[at], expected[at]),
            );
        }
        if count < expected.len() {
            return fail(
                format!("{} hears {}", self.name, excerpt(expected)),
                match self.ended {
                    Some(how) => format!("{how} after {count} of them"),
                    None => format!("only {count} of the bytes come within {patience:.1?}"),
                },
            );
        }
        self.cursor += expected.len();
        Ok(())
    }

    /// Expects the server to close the connection, and returns what came before.
    pub fn hears_end(&mut self) -> Step<Vec<u8>> {
        let patience = self.world.patience();
        wait_for(&mut [self], patience, |clients| clients[0].ended.is_some())?;
        if self.ended.is_none() {
            return fail(
                format!("the server closes the connection of {}", self.name),
                format!("it is still open after {patience:.1?}"),
            );
        }
        let rest = self.unread().to_vec();
        self.cursor = self.inbox.len();
        Ok(rest)
    }

    /// Whatever the server sends first; nothing if it closes the connection instead. Fails when it
    /// does neither.
    pub fn hears_first(&mut self) -> Step<Vec<u8>> {
        let patience = self.world.patience();
        wait_for(&mut [self], patience, |clients| {
            !clients[0].unread().is_empty() || clients[0].ended.is_some()
        })?;
        if self.unread().is_empty() && self.ended.is_none() {
            return fail(
                format!("the server closes the connection of {}", self.name),
                format!("it is still open after {patience:.1?}"),
            );
        }
        let heard = self.unread().to_vec();
        self.pass_all();
        Ok(heard)
    }

    /// How long until the server closes the connection, at most `limit`.
    pub fn time_to_end(&mut self, limit: Duration) -> Step<Option<Duration>> {
        let begin = Instant::now();
        wait_for(&mut [self], limit, |clients| clients[0].ended.is_some())?;
        Ok(self.ended.map(|_| begin.elapsed()))
    }

    /// Everything received and not looked at, as it is right now.
    pub fn heard_so_far(&mut self) -> &[u8] {
        self.pump();
        self.unread()
    }

    /// Whether the connection has ended, as far as is known right now.
    pub fn has_ended(&mut self) -> bool {
        self.pump();
        self.ended.is_some()
    }

    /// How many bytes were received in all.
    pub fn received(&self) -> usize {
        self.forgotten + self.inbox.len()
    }

    /// Lets go of what was received so far, looked at or not.
    pub fn forget(&mut self) {
        self.forgotten += self.inbox.len();
        self.inbox.clear();
        self.cursor = 0;
    }

    /// Whether everything queued has left.
    pub fn all_sent(&self) -> bool {
        self.sent == self.outbox.len()
    }

    pub(super) fn pass_all(&mut self) {
        self.cursor = self.inbox.len();
    }

    /// Everything received and not looked at.
    pub fn unread(&self) -> &[u8] {
        &self.inbox[self.cursor..]
    }

    /// How many whole lines these are, barriers aside.
    pub(super) fn unread_lines(&self) -> usize {
        let unread = self.unread();
        if self.deaf_to_itself.is_none() {
            return unread.iter().filter(|&&byte| byte == b'\n').count();
        }
        let lines = unread.split_inclusive(|&byte| byte == b'\n');
        lines.filter(|line| line.ends_with(b"\n") && !is_barrier(line)).count()
    }

    pub(super) fn is_over(&self) -> Option<&'static str> {
        self.ended
    }

    fn interest(&self) -> PollFlags {
        if self.all_sent() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT }
    }

    /// Sends and receives what is possible without waiting.
    pub(super) fn pump(&mut self) {
        if self.ended.is_some() {
            return;
        }
        while !self.all_sent() {
            match self.stream.write(&self.outbox[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Reading tells how the connection ended, after what was still to be read.
                Err(_) => break,
            }
        }
        let mut buffer = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return self.note_end("the server closed the connection"),
                Ok(count) => {
                    if self.world.orders.target.manifest.wire.ending_out == Ending::Nul {
                        exchange(&mut buffer[..count], 0, b'\n');
                    }
                    self.world.note(&self.name, format!("hears {}", excerpt(&buffer[..count])));
                    self.inbox.extend_from_slice(&buffer[..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.note_end("the server reset the connection"),
            }
        }
    }

    fn note_end(&mut self, how: &'static str) {
        self.world.note(&self.name, how);
        self.ended = Some(how);
    }
}

/// Puts `to` in the place of every `from`.
fn exchange(bytes: &mut [u8], from: u8, to: u8) {
    for byte in bytes.iter_mut().filter(|byte| **byte == from) {
        *byte = to;
    }
}

/// Where `part` begins in `whole`.
fn position(whole: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return None;
    }
    whole.windows(part.len()).position(|window| window == part)
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Sends and receives for all `clients` until `done`, for at most `limit`. Returns whether it came
/// to that.
pub(super) fn wait_for(
    clients: &mut [&mut Client],
    limit: Duration,
    mut done: impl FnMut(&[&mut Client]) -> bool,
) -> Step<bool> {
    let deadline = Instant::now() + limit;
    loop {
        for client in clients.iter_mut() {
            client.pump();
        }
        if done(clients) {
            return Ok(true);
        }
        let Some(left) = deadline.checked_duration_since(Instant::now()) else { return Ok(false) };
        let mut ready: Vec<PollFd> = clients
            .iter()
            .filter(|client| client.ended.is_none())
            .map(|client| PollFd::new(client.stream.as_fd(), client.interest()))
            .collect();
        if ready.is_empty() {
            return Ok(false);
        }
        // Rounded up, so that the last wait is not a busy one.
        let milliseconds = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        match poll(&mut ready, milliseconds) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Stop::Error(format!("poll: {}", errno.desc()))),
        }
    }
}
