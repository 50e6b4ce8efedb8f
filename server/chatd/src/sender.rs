//! The sender: the chat log's bytes to one client.
//!
//! `SIGUSR1` says that the log has grown; it says no more than that, since signals coalesce. So
//! each wake drains the log to its end, soon or, where many speak, a little later (`gathering`). No
//! lock is held while writing to the socket.

mod gathering;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll, ppoll};
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, send};
use nix::sys::time::TimeSpec;
use settings::reason;

use crate::config::Config;
use crate::generations::Generations;
use crate::log::{CHUNK, ChatLog};
use gathering::Gathering;

use crate::{diagnostics, platform, signals};

/// The byte by which a receiver tells its sender, over the lifeline: write out what the log holds,
/// then end. A lifeline that ends without it means that the receiver died.
pub(crate) const DRAIN: u8 = b'.';

/// How long a client that has closed its half of the connection may leave the other half unread.
const LINGER: Duration = Duration::from_secs(30);

/// The exit status of a sender whose client has taken nothing for too long.
pub(crate) const STALLED: i32 = 40;

/// Why a sender ends.
#[derive(Debug)]
enum End {
    /// The client has taken nothing for too long.
    Stalled,
    /// The client, or this cluster's receiver, is gone.
    Gone,
    /// The log cannot be read.
    Log(std::io::Error),
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Log(error)
    }
}

/// Writes the log's last lines and whatever is appended to it to `socket`, until the lifeline ends
/// or the client is gone. `following` is told as soon as nothing that is appended can be missed.
/// Returns the exit status.
pub(crate) fn run(socket: OwnedFd, lifeline: OwnedFd, following: OwnedFd, config: &Config) -> i32 {
    platform::name_process(c"chatd-sender");
    let Ok(open_mask) = signals::SENDER.assume() else {
        diagnostics::error("sender: cannot set signal dispositions");
        return 0;
    };
    let prepared = ChatLog::open(&config.log).and_then(|log| {
        // Registered before the first look at the log: an append after that look signals us.
        let generations = Generations::open(&config.log)?;
        generations.join()?;
        Ok((log, generations))
    });
    let (mut log, _registered) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            diagnostics::error(&format!("sender: chat log: {}", reason(&error)));
            return 0;
        }
    };
    let mut sender = Sender {
        socket,
        lifeline,
        buffer: vec![0; CHUNK],
        draining: false,
        gathering: Gathering::new(Instant::now()),
        write_timeout: config.write_timeout,
    };
    let ended = (|| -> Result<(), End> {
        let mut position = log.start_of_last_lines(config.replay)?;
        let _ = nix::unistd::write(&following, b"+");
        drop(following);
        loop {
            let last_time = sender.draining;
            let count = sender.drain(&log, &mut position)?;
            let pause = sender.gathering.read(count, Instant::now());
            if log.follow(&mut position, |log, position| sender.drain(log, position).map(drop))? {
                continue;
            }
            if last_time {
                return Ok(());
            }
            if let Some(pause) = pause {
                if sender.gather(pause)? {
                    continue;
                }
            }
            let mut ready = [PollFd::new(sender.lifeline.as_fd(), PollFlags::POLLIN)];
            match signals::wait(&mut ready, None, open_mask) {
                Ok(_) => sender.check_lifeline()?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(End::Log(errno.into())),
            }
        }
    })();
    match ended {
        Ok(()) | Err(End::Gone) => 0,
        Err(End::Stalled) => STALLED,
        Err(End::Log(error)) => {
            diagnostics::error(&format!("sender: chat log: cannot read: {}", reason(&error)));
            0
        }
    }
}

struct Sender {
    socket: OwnedFd,
    lifeline: OwnedFd,
    buffer: Vec<u8>,
    /// The receiver has asked for the rest of the log; see [`DRAIN`].
    draining: bool,
    gathering: Gathering,
    /// How long the client may take nothing.
    write_timeout: Option<Duration>,
}

impl Sender {
    /// Writes the log from `position` to its end. A read that does not fill the buffer has seen
    /// the end (POSIX.1-2024, read: of a regular file it is short at the end only, or when a signal
    /// interrupts it, and ours are blocked): what is appended after it signals again. Returns how many
    /// bytes that were.
    fn drain(&mut self, log: &ChatLog, position: &mut u64) -> Result<usize, End> {
        let mut all = 0;
        loop {
            let count = log.read(&mut self.buffer, position)?;
            self.write(count)?;
            all += count;
            if count < self.buffer.len() {
                return Ok(all);
            }
        }
    }

    /// Lets lines gather. `SIGUSR1` stays blocked; that it came is returned, and forgotten, since the
    /// log is read after this.
    fn gather(&mut self, pause: Duration) -> Result<bool, End> {
        let mut ready = [PollFd::new(self.lifeline.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut ready, Some(pause.into()), None) {
            Ok(0) | Err(Errno::EINTR) => {
                let spoken = signals::take_pending(Signal::SIGUSR1);
                if !spoken {
                    self.gathering = Gathering::new(Instant::now());
                }
                Ok(spoken)
            }
            Ok(_) => self.check_lifeline().map(|()| true),
            Err(errno) => Err(End::Log(errno.into())),
        }
    }

    /// Writes the buffer's first `count` bytes. `SIGUSR1` stays blocked: the log is read on after
    /// this anyway.
    fn write(&mut self, count: usize) -> Result<(), End> {
        let mut written = 0;
        while written < count {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.socket.as_raw_fd(), &self.buffer[written..count], flags) {
                Ok(more) => written += more,
                Err(Errno::EINTR) => {}
                // FreeBSD says ENOBUFS when the interface's queue is full (its send(2)).
                Err(Errno::EAGAIN | Errno::ENOBUFS) => self.wait_for_room()?,
                Err(_) => return Err(End::Gone),
            }
        }
        Ok(())
    }

    fn wait_for_room(&mut self) -> Result<(), End> {
        let mut ready = [
            PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT),
            PollFd::new(self.lifeline.as_fd(), PollFlags::POLLIN),
        ];
        // Once the lifeline has spoken it would end every wait at once.
        let (waited_for, timeout) = if self.draining {
            (&mut ready[..1], Some(LINGER.into()))
        } else {
            (&mut ready[..], self.write_timeout.map(TimeSpec::from))
        };
        match ppoll(waited_for, timeout, None) {
            Ok(0) => Err(End::Stalled),
            Ok(_) => self.check_lifeline(),
            Err(Errno::EINTR) => Ok(()),
            Err(_) => Err(End::Gone),
        }
    }

    /// Looks, without waiting, at what the receiver said.
    fn check_lifeline(&mut self) -> Result<(), End> {
        if self.draining {
            return Ok(());
        }
        let mut ready = [PollFd::new(self.lifeline.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, 0u8) {
            Ok(0) | Err(Errno::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(_) => return Err(End::Gone),
        }
        let mut word = [0u8; 1];
        match signals::retry(|| nix::unistd::read(&self.lifeline, &mut word)) {
            Ok(1) if word[0] == DRAIN => {
                self.draining = true;
                Ok(())
            }
            _ => Err(End::Gone),
        }
    }
}
