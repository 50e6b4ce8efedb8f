//! The receiver: one client's bytes into the chat log.
//!
//! It checks the client's key, starts the sender and then appends what the client says, waking all
//! senders after each append. It is the head of its cluster: when it ends, its sender ends, and
//! when its sender ends, so does it; either way the client sees the connection close.
//!
//! Where the processors are busy it gives way to the senders: what was said is heard before more is
//! taken, and lines that come meanwhile are appended together.

pub(crate) mod admission;
mod pace;
pub(crate) mod refusal;

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::socket::{MsgFlags, Shutdown, recv, setsockopt, shutdown, sockopt};
use nix::sys::time::TimeSpec;
use nix::unistd::{ForkResult, Pid, fork, pipe};
use settings::reason;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::generations::Generations;
use crate::key::{KEY_LENGTH, Key};
use crate::log::{AppendError, CHUNK, ChatLog};
use crate::sender::{self, DRAIN, STALLED};
use crate::signals::Ending;
use admission::Admission;
use pace::Pace;
use refusal::Refusal;

use crate::{diagnostics, platform, signals};

/// How long an unfinished line is held back for the rest of it while nobody else speaks. Lines are
/// appended whole, so that no other client's message comes between the pieces in which the network
/// delivers one. How far apart these are no constant tells: with send buffers of 32 KiB (FreeBSD) a
/// client under load needs several rounds. So half a line waits for silence in the log, since what
/// nobody follows cannot be torn.
const LINE_PATIENCE: Duration = Duration::from_millis(100);

/// How many times that where the line's beginning came together with the end of another: it was cut off
/// a burst, and its rest is under way. A client that says half a line and waits says nothing else.
const BURST_ROUNDS: u32 = 10;

/// How many times that at most, when others do speak: a client may also never end its line.
const LINE_ROUNDS: u32 = 50;

/// The longest line that is held back as a whole; longer ones are appended in pieces of this.
const LONGEST_LINE: usize = 1024 * 1024;

/// What a receiver is given of its daemon.
pub(crate) struct Served<'a> {
    /// This process's copy, which it forgets once a client has shown the key.
    pub(crate) key: &'a mut Key,
    pub(crate) config: &'a Config,
}

/// Serves one client. Returns when its cluster is over, or why there is none.
pub(crate) fn run(
    socket: OwnedFd,
    peer: SocketAddr,
    server: Served,
    admission: Option<Admission>,
) -> Result<(), Refusal> {
    platform::name_process(c"chatd-receiver");
    platform::give_up_rights();
    let Ok(open_mask) = signals::STRANGER.assume() else {
        diagnostics::error("receiver: cannot set signal dispositions");
        return Ok(());
    };
    // Latency and dead peers; neither is worth losing a client for.
    let _ = setsockopt(&socket, sockopt::TcpNoDelay, &true);
    let _ = setsockopt(&socket, sockopt::KeepAlive, &true);

    if let Err(why) = authenticate(&socket, server.key, server.config.auth_timeout, &open_mask) {
        close_politely(&socket);
        return Err(why);
    }
    server.key.forget();
    // From here on this is a client, and its place is its own.
    if signals::ignore(Signal::SIGHUP).is_err() {
        diagnostics::error("receiver: cannot set signal dispositions");
        return Ok(());
    }
    if let Some(admission) = admission {
        admission.tell();
    }
    match Receiver::start(socket, &server, open_mask) {
        Ok(mut receiver) => {
            diagnostics::info(&format!("{peer}: joined"));
            platform::give_way();
            let why = receiver.serve();
            receiver.end_sender();
            diagnostics::info(&format!("{peer}: left: {why}"));
        }
        Err(error) => diagnostics::error(&format!("{peer}: cannot be served: {error}")),
    }
    Ok(())
}

/// Waits for exactly the key's bytes; what follows them stays in the socket, it is a message.
fn authenticate(
    socket: &OwnedFd,
    key: &Key,
    timeout: Duration,
    open_mask: &SigSet,
) -> Result<(), Refusal> {
    let deadline = Instant::now() + timeout;
    let mut offered = Zeroizing::new([0u8; KEY_LENGTH]);
    let mut have = 0;
    while have < KEY_LENGTH {
        if signals::terminating() {
            return Err(Refusal::ServerEnds);
        }
        match recv(socket.as_raw_fd(), &mut offered[have..], MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Err(Refusal::ClosedBeforeKey),
            Ok(count) => have += count,
            Err(Errno::EAGAIN) => {
                // Only now: on a machine that is busy elsewhere the time may pass before this
                // process runs at all, with the key in the socket all along.
                let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                    return Err(Refusal::NoKeyInTime);
                };
                let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                match signals::wait(&mut ready, Some(left.into()), *open_mask) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(_) => return Err(Refusal::LostBeforeKey),
                }
            }
            Err(Errno::EINTR) => {}
            Err(_) => return Err(Refusal::LostBeforeKey),
        }
    }
    if key.matches(offered.as_slice()) { Ok(()) } else { Err(Refusal::WrongKey) }
}

/// Closes with FIN rather than RST, as far as that is ours to choose: unread bytes make a RST of a
/// close (RFC 9293, section 3.10.4, and RFC 1122, 4.2.2.13), so what is there is read away.
fn close_politely(socket: &OwnedFd) {
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Write);
    let mut scratch = [0u8; 4096];
    for _ in 0..16 {
        match recv(socket.as_raw_fd(), &mut scratch, MsgFlags::MSG_DONTWAIT) {
            Ok(count) if count > 0 => {}
            _ => break,
        }
    }
}

/// Since when the beginning of a line is held back.
#[derive(Default)]
struct Held {
    /// The log's file and length when it was last looked at.
    length: Option<(u64, u64)>,
    /// How many times the patience with it has passed.
    rounds: u32,
    /// How many of them in a row, up to now, in which nobody spoke.
    silent: u32,
    /// Whether it was cut off a burst of lines.
    in_burst: bool,
}

struct Receiver {
    socket: OwnedFd,
    log: ChatLog,
    generations: Generations,
    /// Held as long as this process lives: its end tells the sender.
    lifeline: Option<OwnedFd>,
    /// Readable once the sender follows the log.
    follows: Option<OwnedFd>,
    sender: Option<Pid>,
    open_mask: SigSet,
    /// Bytes received and not yet appended: the beginning of a line.
    pending: Vec<u8>,
    held: Held,
    /// Length of the line that has not ended yet, with what is appended of it.
    unfinished: u64,
    pace: Pace,
    max_line: Option<u64>,
    idle_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl Receiver {
    fn start(socket: OwnedFd, server: &Served, open_mask: SigSet) -> Result<Self, String> {
        let config = server.config;
        let named = |path: &std::path::Path| {
            let path = path.display().to_string();
            move |error: std::io::Error| format!("{path}: {}", reason(&error))
        };
        let log = ChatLog::open(&config.log).map_err(named(&config.log))?;
        let generations =
            Generations::open(&config.log).map_err(named(&Generations::path(&config.log)))?;
        let (lifeline_end, lifeline) = pipe().map_err(|errno| format!("pipe: {}", errno.desc()))?;
        let (follows, following) = pipe().map_err(|errno| format!("pipe: {}", errno.desc()))?;
        // SAFETY: this process has one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                // The sender opens the log and the register for itself; see `log`.
                drop(lifeline);
                drop(follows);
                drop(log);
                drop(generations);
                let status = sender::run(socket, lifeline_end, following, config);
                // SAFETY: ends the process without running what its ancestors registered.
                unsafe { libc::_exit(status) }
            }
            Ok(ForkResult::Parent { child }) => Ok(Self {
                socket,
                log,
                generations,
                lifeline: Some(lifeline),
                follows: Some(follows),
                sender: Some(child),
                open_mask,
                pending: Vec::new(),
                held: Held::default(),
                unfinished: 0,
                pace: Pace::new(config.max_rate),
                max_line: config.max_line,
                idle_timeout: config.idle_timeout,
                write_timeout: config.write_timeout,
            }),
            Err(errno) => Err(format!("fork: {}", errno.desc())),
        }
    }

    /// Waits until the sender knows from where on it follows the log. What is appended before
    /// that, the client's own first line among it, it would not send.
    fn await_sender(&mut self) -> Result<(), String> {
        while let Some(follows) = &self.follows {
            if signals::terminating() {
                return Err("the server ends".into());
            }
            // Nothing is asked of the socket: that it is broken is told unasked.
            let mut ready = [
                PollFd::new(follows.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.socket.as_fd(), PollFlags::empty()),
            ];
            if signals::wait(&mut ready, None, self.open_mask).is_err() {
                continue;
            }
            let [told, broken] =
                ready.map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
            if told {
                let mut word = [0u8; 1];
                let read = signals::retry(|| nix::unistd::read(follows, &mut word));
                self.follows = None;
                if read != Ok(1) {
                    let ending = self.sender.take().and_then(signals::await_end);
                    return Err(self.told_end(ending));
                }
            } else if broken {
                return Err("connection lost".into());
            }
        }
        Ok(())
    }

    /// Reads and appends until the cluster is over; returns why it is.
    fn serve(&mut self) -> String {
        if let Err(why) = self.await_sender() {
            return why;
        }
        // Zeroed pages of a large allocation are not touched before they are read into.
        let mut buffer = vec![0u8; CHUNK];
        let mut heard = Instant::now();
        // A short read has seen the end of what is there: to ask again would be a call in vain.
        let mut read_to_its_end = false;
        loop {
            if signals::terminating() {
                // Half a line of a client that is still writing is nobody's message yet.
                return "the server ends".into();
            }
            if signals::take_child() {
                if let Some(why) = self.sender_is_gone() {
                    return why;
                }
            }
            if let Some(pause) = self.pace.pause(Instant::now()) {
                let _ = signals::wait(&mut [], Some(pause.into()), self.open_mask);
                continue;
            }
            let received = match read_to_its_end {
                true => Err(Errno::EAGAIN),
                false => recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT),
            };
            match received {
                Ok(0) => {
                    let appended = self.append_pending();
                    return self.finish(appended);
                }
                Ok(count) => {
                    read_to_its_end = count < buffer.len();
                    heard = Instant::now();
                    self.pace.take(count, heard);
                    if let Err(error) = self.measure(&buffer[..count]) {
                        return error;
                    }
                    let goes_on = self.held.in_burst && !self.pending.is_empty();
                    self.pending.extend_from_slice(&buffer[..count]);
                    if let Err(error) = self.append_whole_lines() {
                        return error;
                    }
                    self.held = Held {
                        length: if self.pending.is_empty() { None } else { self.log.length() },
                        in_burst: goes_on || buffer[..count].contains(&b'\n'),
                        ..Held::default()
                    };
                }
                Err(Errno::EAGAIN) => {
                    read_to_its_end = false;
                    let idle = self.idle_timeout.map(|idle| idle.saturating_sub(heard.elapsed()));
                    if let (Some(Duration::ZERO), Some(idle)) = (idle, self.idle_timeout) {
                        let _ = self.append_pending();
                        return format!("it said nothing for {} s", idle.as_secs_f64());
                    }
                    let patience = (!self.pending.is_empty()).then_some(LINE_PATIENCE);
                    let timeout = patience.into_iter().chain(idle).min().map(TimeSpec::from);
                    let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
                    if let Ok(0) = signals::wait(&mut ready, timeout, self.open_mask) {
                        if let Err(error) = self.append_half() {
                            return error;
                        }
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    // Nobody is there to read any more. What was said before still counts.
                    let _ = self.append_pending();
                    return errno.desc().to_lowercase();
                }
            }
        }
    }

    /// Measures the lines that `bytes` end or begin; an error when one is too long. What came
    /// before them in the same line may be in the log already.
    fn measure(&mut self, bytes: &[u8]) -> Result<(), String> {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.unfinished += piece.len() as u64;
            match self.max_line {
                Some(most) if self.unfinished > most => {
                    return Err(format!("its line has more than {most} bytes"));
                }
                _ => {}
            }
            if piece.ends_with(b"\n") {
                self.unfinished = 0;
            }
        }
        Ok(())
    }

    fn append_whole_lines(&mut self) -> Result<(), String> {
        let whole = match self.pending.iter().rposition(|&byte| byte == b'\n') {
            Some(newline) => newline + 1,
            None if self.pending.len() >= LONGEST_LINE => self.pending.len(),
            None => return Ok(()),
        };
        self.append(whole)
    }

    fn append_pending(&mut self) -> Result<(), String> {
        if self.pending.is_empty() { Ok(()) } else { self.append(self.pending.len()) }
    }

    /// Appends the beginning of a line once nobody has spoken for a while, or the client itself has
    /// said nothing for long.
    fn append_half(&mut self) -> Result<(), String> {
        let length = self.log.length();
        let held = &mut self.held;
        held.silent = if held.length == length { held.silent + 1 } else { 0 };
        held.length = length;
        held.rounds += 1;
        let enough = if held.in_burst { BURST_ROUNDS } else { 1 };
        if held.silent < enough && held.rounds < LINE_ROUNDS {
            return Ok(());
        }
        self.append_pending()
    }

    fn append(&mut self, count: usize) -> Result<(), String> {
        match self.log.append(&self.pending[..count]) {
            Ok(()) => {
                self.pending.drain(..count);
                if self.pending.is_empty() && self.pending.capacity() > CHUNK {
                    self.pending = Vec::new(); // a burst's memory is not kept for ever
                }
                self.generations.multicast(Signal::SIGUSR1);
                Ok(())
            }
            Err(AppendError::Terminated) => Err("the server ends".into()),
            Err(AppendError::Io(error)) => {
                diagnostics::error(&format!("chat log: cannot append: {}", reason(&error)));
                Err("its message could not be stored".into())
            }
        }
    }

    /// The client has said all it will, and may still be listening: its sender writes what the log
    /// holds and then ends.
    fn finish(&mut self, appended: Result<(), String>) -> String {
        if let Err(error) = appended {
            return error;
        }
        if let Some(lifeline) = self.lifeline.take() {
            let _ = nix::unistd::write(&lifeline, &[DRAIN]);
        }
        while !(signals::terminating() || signals::take_child() && self.sender_is_gone().is_some())
        {
            let _ = signals::wait(&mut [], None, self.open_mask);
        }
        "it closed the connection".into()
    }

    /// Why the sender has ended, if it has.
    fn sender_is_gone(&mut self) -> Option<String> {
        let ended = match self.sender {
            None => None,
            Some(pid) => match signals::reap(Some(pid)) {
                Ok(None) => return None,
                ended => ended.ok().flatten(),
            },
        };
        self.sender = None;
        Some(self.told_end(ended.map(|(_, ending)| ending)))
    }

    fn told_end(&self, ending: Option<Ending>) -> String {
        match (ending, self.write_timeout) {
            (Some(Ending::Exited(STALLED)), Some(timeout)) => {
                format!("it read nothing for {} s", timeout.as_secs_f64())
            }
            (Some(ending), _) => format!("its sender {ending}"),
            (None, _) => "its sender has ended".into(),
        }
    }

    /// Lets the lifeline go, ends the sender and waits for it, so that no process outlives its
    /// cluster's head.
    fn end_sender(&mut self) {
        self.lifeline = None;
        if let Some(pid) = self.sender.take() {
            // It only reads: there is nothing it could leave half done. SIGKILL reaches it even
            // when it is stopped.
            let _ = kill(pid, Signal::SIGKILL);
            signals::await_end(pid);
        }
    }
}
