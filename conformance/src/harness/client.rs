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

use super::deadline::Deadline;
use super::record::excerpt;
use super::world::World;
use crate::stop::{OrError, Outcome, Step, Stop, fail};
use crate::subject::Ending;

/// A line as the server carries it: with its newline.
pub fn line_of(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

/// A client that says nothing and hears what others say, where speakers do not hear themselves. It
/// joins when it is needed first.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) key: Vec<u8>,
    pub(super) address: SocketAddr,
    pub(super) client: RefCell<Option<Client>>,
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
    pub(super) stream: TcpStream,
    /// All that was received since `forget`.
    pub(super) inbox: Vec<u8>,
    pub(super) forgotten: usize,
    /// How much of it has been looked at.
    pub(super) cursor: usize,
    /// What is to be sent, and how much of it has been.
    outbox: Vec<u8>,
    sent: usize,
    /// How the connection ended, if it has.
    pub(super) ended: Option<&'static str>,
    /// Its server, where speakers do not hear themselves: see [`Client::witnessed`].
    pub(super) deaf_to_itself: Option<Rc<Witness>>,
    /// What it has said that nobody was yet asked about; empty where speakers hear themselves.
    pub(super) said: Vec<u8>,
    /// Where it is connected to, and the key that it sends there.
    pub(super) address: SocketAddr,
    pub(super) key: Vec<u8>,
    /// Whether the server has said its greeting, if there is one.
    pub(super) greeted: bool,
    /// Whether it has asked, on a wire that has requests and answers.
    pub(super) spent: bool,
    /// Whether the server has said that it closes the connection after its answer.
    pub(super) closes: bool,
}

impl Client {
    pub(super) fn connect(
        world: &Rc<World>,
        name: &str,
        address: SocketAddr,
        server: Option<&Rc<Witness>>,
    ) -> Step<Self> {
        let stream = connected(world, name, address)?;
        Self::over(stream, world, name, address, server)
    }

    /// A client with a connection that is there.
    pub(super) fn over(
        stream: TcpStream,
        world: &Rc<World>,
        name: &str,
        address: SocketAddr,
        server: Option<&Rc<Witness>>,
    ) -> Step<Self> {
        let wire = &world.orders.target.manifest.wire;
        let is_deaf = wire.has_lines() && !wire.comes_back();
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
            deaf_to_itself: server.filter(|_| is_deaf).cloned(),
            said: Vec::new(),
            address,
            key: Vec::new(),
            greeted: false,
            spent: false,
            closes: false,
        })
    }

    /// Connects anew, in the place of a connection that the server has closed after its answer.
    pub(super) fn reconnect(&mut self) -> Outcome {
        self.stream = connected(&self.world, &self.name, self.address)?;
        self.forget();
        self.outbox.clear();
        (self.sent, self.ended, self.greeted, self.spent) = (0, None, false, false);
        self.closes = false;
        self.send_key()
    }

    /// Ends the connection, or its sending half, for another one in its place. To one that the server
    /// has reset there is nothing to say.
    pub(super) fn hangs_up(&self, how: Shutdown) {
        let _ = self.stream.shutdown(how);
    }

    /// Sends the key, if there is one, to a server that has said its greeting, if it has one.
    pub(super) fn send_key(&mut self) -> Outcome {
        if self.key.is_empty() {
            return Ok(());
        }
        self.await_greeting()?;
        let key = self.key.clone();
        self.deliver(&key)
    }

    /// Puts `bytes` on their way and reads nothing of what comes back, until the server takes no
    /// more: then it waits for a client that does not read.
    pub fn say_without_reading(&mut self, bytes: &[u8]) {
        self.world.act();
        self.world.note(&self.name, format!("sends {} and does not read", excerpt(bytes)));
        self.enqueue(bytes);
        self.write();
    }

    /// Sends on without reading; whether the system took anything more.
    pub fn sends_on(&mut self) -> bool {
        let before = self.sent;
        self.write();
        self.sent > before
    }

    /// The socket itself, for what the harness has no word for.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Puts `bytes` on their way; they leave whenever the client is waited for.
    pub fn queue(&mut self, bytes: &[u8]) {
        self.world.act();
        self.put(bytes);
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.world.note(&self.name, format!("sends {}", self.world.without_key(bytes)));
        self.enqueue(bytes);
        self.pump();
    }

    fn enqueue(&mut self, bytes: &[u8]) {
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
    }

    /// Sends `bytes`, all of them, and returns when the system has taken them.
    pub fn send(&mut self, bytes: &[u8]) -> Outcome {
        self.world.act();
        self.deliver(bytes)
    }

    pub(super) fn deliver(&mut self, bytes: &[u8]) -> Outcome {
        self.put(bytes);
        let patience = self.world.patience();
        let sent = wait_for(&mut [self], patience, |clients| clients[0].all_sent())?;
        match (sent, self.ended) {
            (true, _) => Ok(()),
            (false, Some(how)) => fail(
                format!("the server takes what {} says", self.name),
                format!("{how}, with {} bytes unsent", self.outbox.len() - self.sent),
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
        self.world.act();
        self.world.note(&self.name, "closes its sending half");
        match self.stream.shutdown(Shutdown::Write) {
            // The server has reset the connection, which is to be seen when it is read.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            other => other.or_error("shutdown"),
        }
    }

    /// Closes the connection with a reset instead of an orderly end (`SO_LINGER` of zero).
    pub fn reset(self) -> Outcome {
        self.world.act();
        self.world.note(&self.name, "resets the connection");
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(&self.stream, nix::sys::socket::sockopt::Linger, &linger)
            .or_error("SO_LINGER")
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
        self.write();
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

    /// Sends what is possible without waiting.
    pub(super) fn write(&mut self) {
        while !self.all_sent() {
            match self.stream.write(&self.outbox[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Reading tells how the connection ended, after what was still to be read.
                Err(_) => break,
            }
        }
    }

    fn note_end(&mut self, how: &'static str) {
        self.world.note(&self.name, how);
        self.ended = Some(how);
    }
}

/// A connection to `address`, for the client of that name.
fn connected(world: &Rc<World>, name: &str, address: SocketAddr) -> Step<TcpStream> {
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
    stream.set_nonblocking(true).or_error("O_NONBLOCK")?;
    // Messages leave when they are said, not when an earlier one is acknowledged.
    stream.set_nodelay(true).or_error("TCP_NODELAY")?;
    Ok(stream)
}

/// Puts `to` in the place of every `from`.
fn exchange(bytes: &mut [u8], from: u8, to: u8) {
    for byte in bytes.iter_mut().filter(|byte| **byte == from) {
        *byte = to;
    }
}

/// Where `part` begins in `whole`.
pub(super) fn position(whole: &[u8], part: &[u8]) -> Option<usize> {
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
    /// How long to wait for something at most before it is looked how punctual this process is.
    const LOOK: Duration = Duration::from_millis(100);
    let mut deadline = Deadline::after(limit);
    loop {
        for client in clients.iter_mut() {
            client.pump();
        }
        if done(clients) {
            return Ok(true);
        }
        let Some(left) = deadline.left() else { return Ok(false) };
        let mut ready: Vec<PollFd> = clients
            .iter()
            .filter(|client| client.ended.is_none())
            .map(|client| PollFd::new(client.stream.as_fd(), client.interest()))
            .collect();
        if ready.is_empty() {
            return Ok(false);
        }
        // Rounded up, so that the last wait is not a busy one.
        let milliseconds = left.min(LOOK).as_millis() as u16 + 1;
        let begin = Instant::now();
        match poll(&mut ready, milliseconds) {
            Err(Errno::EINTR) => {}
            Ok(count) => {
                // Whoever is ready may be so only since the machine goes on.
                let asked = Duration::from_millis(milliseconds.into());
                if count == 0 || begin.elapsed() > asked {
                    deadline.slept(asked, begin);
                }
            }
            Err(errno) => return Err(Stop::Error(format!("poll: {}", errno.desc()))),
        }
    }
}
