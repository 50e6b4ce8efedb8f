//! The load: one thread that asks for one file over many connections, and looks at every byte of each
//! answer.
//!
//! *Closed*: so many requests are under way at any time, and the next one follows an answer. *Open*:
//! requests are due at a steady pace, whether the server keeps up or not, and their latency counts
//! from the time at which each was due.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use nix::errno::Errno;
use nix::sys::select::{FdSet, pselect};
use nix::sys::time::TimeSpec;

use super::response::{Progress, Response};
use crate::stop::{Step, Stop};

/// What is asked for, of whom.
pub(super) struct Order<'a> {
    pub(super) at: SocketAddr,
    /// The file's path in a request.
    pub(super) path: &'a str,
    /// What it holds.
    pub(super) file: &'a [u8],
    /// Whether a connection is used again.
    pub(super) keep_alive: bool,
    /// So many connections at most.
    pub(super) at_once: usize,
    /// Nothing at all happens for so long only when no answer comes any more.
    pub(super) patience: Duration,
}

/// What has come of a load.
pub(super) struct Answers {
    /// Requests that were to be made.
    pub(super) requests: u64,
    /// How often each thing went wrong.
    pub(super) failures: BTreeMap<String, u64>,
    /// Requests made once more, on a new connection, because the server had closed the one that was
    /// kept: it may do that at any time, so this is no failure (RFC 9112, 9.3.1).
    pub(super) retried: u64,
    /// Of the good answers, in µs.
    pub(super) latencies: Histogram<u64>,
    /// How late a request's turn came after it was due, in µs.
    pub(super) late: Histogram<u64>,
}

impl Answers {
    fn new(requests: u64) -> Result<Self, String> {
        let histogram = || {
            /// An hour, in µs.
            const LONGEST: u64 = 3_600_000_000;
            Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| error.to_string())
        };
        Ok(Self {
            requests,
            failures: BTreeMap::new(),
            retried: 0,
            latencies: histogram()?,
            late: histogram()?,
        })
    }

    /// Requests that had no good answer.
    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

/// A place for a connection, and the request that is under way on it.
struct Seat {
    stream: Option<TcpStream>,
    stage: Stage,
    /// What its latency counts from.
    since: Instant,
    response: Response,
    /// Requests made on this connection.
    asked: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is under way.
    Idle,
    Connecting,
    /// So many bytes of the request are sent.
    Asking(usize),
    Hearing,
}

/// What comes next when a request is over.
enum Next {
    /// The connection may be asked again.
    Free,
    /// There is none any more.
    Vacant,
}

struct Load<'a> {
    order: &'a Order<'a>,
    request: Vec<u8>,
    /// So many requests are made on one connection.
    each: u64,
    poll: Poll,
    seats: Vec<Seat>,
    buffer: Vec<u8>,
    answers: Answers,
    under_way: usize,
}

/// As much as is read at a time.
const BUFFER: usize = 256 * 1024;

/// Makes `requests`, [`Order::at_once`] at a time. A connection that is kept makes an equal part of
/// them, so that a server that lets a few in at a time comes to all.
pub(super) fn closed(order: &Order<'_>, requests: u64) -> Result<Answers, String> {
    let at_once = order.at_once.min(usize::try_from(requests).unwrap_or(usize::MAX));
    let each = requests.div_ceil(at_once.max(1) as u64);
    let mut load = Load::new(order, each, requests)?;
    let mut left = requests;
    while load.seats.len() < at_once {
        let seat = load.add_seat();
        left -= 1;
        load.ask(seat, Instant::now())?;
    }
    let mut events = Events::with_capacity(at_once.clamp(1, 1024));
    let mut over = Vec::new();
    // Some may have failed at once.
    over.extend((0..at_once).filter(|&seat| load.seats[seat].stage == Stage::Idle));
    loop {
        while let Some(seat) = over.pop() {
            if left > 0 {
                left -= 1;
                load.ask(seat, Instant::now())?;
                if load.seats[seat].stage == Stage::Idle {
                    over.push(seat);
                }
            } else {
                // A server may have others waiting until this one goes.
                load.seats[seat].stream = None;
            }
        }
        if load.under_way == 0 {
            break;
        }
        load.wait(&mut events, order.patience)?;
        if events.is_empty() {
            load.give_up(left);
            break;
        }
        for event in &events {
            let seat = event.token().0;
            if load.go_on(seat, event.is_read_closed())?.is_some() {
                over.push(seat);
            }
        }
    }
    Ok(load.answers)
}

/// What else is done while an open load goes on: called with the time since its beginning; tells when
/// it is to be called again.
pub(super) type Aside<'a> = &'a mut dyn FnMut(Duration) -> Step<Option<Duration>>;

/// Makes a request each `interval` for so long.
pub(super) fn open(
    order: &Order<'_>,
    interval: Duration,
    time: Duration,
    mut aside: Option<Aside<'_>>,
) -> Step<Answers> {
    let requests = (time.as_secs_f64() / interval.as_secs_f64()).round().max(1.0) as u64;
    let mut load = Load::new(order, u64::MAX, requests).map_err(Stop::Error)?;
    let mut events = Events::with_capacity(order.at_once.clamp(1, 1024));
    // Seats whose connection may be asked, those without one, and requests without either.
    let (mut free, mut vacant, mut waiting) = (Vec::new(), Vec::new(), VecDeque::new());
    let begin = Instant::now();
    let due = |number: u64| begin + interval.mul_f64(number as f64);
    let mut made = 0;
    let mut moved = begin;
    loop {
        let now = Instant::now();
        while made < requests && due(made) <= now {
            let late = now.duration_since(due(made)).as_micros();
            load.answers.late.saturating_record(u64::try_from(late).unwrap_or(u64::MAX));
            waiting.push_back(due(made));
            made += 1;
        }
        while let Some(&since) = waiting.front() {
            let seat = match free.pop().or_else(|| vacant.pop()) {
                Some(seat) => seat,
                None if load.seats.len() < order.at_once => load.add_seat(),
                None => break,
            };
            waiting.pop_front();
            load.ask(seat, since).map_err(Stop::Error)?;
            if load.seats[seat].stage == Stage::Idle {
                vacant.push(seat);
            }
        }
        if made == requests && waiting.is_empty() {
            if load.under_way == 0 {
                return Ok(load.answers);
            }
            // A server may have others waiting until these go.
            for seat in free.drain(..) {
                load.seats[seat].stream = None;
                vacant.push(seat);
            }
        }
        let called = aside.as_mut().map(|aside| aside(begin.elapsed())).transpose()?.flatten();
        let next = [(made < requests).then(|| due(made)), called.map(|time| begin + time)];
        let next = next.into_iter().flatten().min().unwrap_or(now + order.patience);
        let time = next.saturating_duration_since(Instant::now()).min(order.patience);
        load.wait(&mut events, time).map_err(Stop::Error)?;
        if !events.is_empty() || load.under_way == 0 {
            moved = Instant::now();
        } else if moved.elapsed() >= order.patience {
            load.give_up(requests - made + waiting.len() as u64);
            return Ok(load.answers);
        }
        for event in &events {
            let seat = event.token().0;
            match load.go_on(seat, event.is_read_closed()).map_err(Stop::Error)? {
                Some(Next::Free) => free.push(seat),
                Some(Next::Vacant) => vacant.push(seat),
                None => {}
            }
            // One that was free may have been closed by the server.
            if load.seats[seat].stage == Stage::Idle && event.is_read_closed() {
                if let Some(place) = free.iter().position(|&one| one == seat) {
                    free.swap_remove(place);
                    load.seats[seat].stream = None;
                    vacant.push(seat);
                }
            }
        }
    }
}

impl Seat {
    /// Sends the request, or what is left of it, as far as the system takes it.
    fn send(&mut self, request: &[u8]) {
        let Some(stream) = self.stream.as_mut() else { return };
        while let Stage::Asking(sent) = self.stage {
            match stream.write(&request[sent..]) {
                Ok(count) if sent + count == request.len() => self.stage = Stage::Hearing,
                Ok(count) => self.stage = Stage::Asking(sent + count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What the server has said before tells the reason, or that it has closed.
                Err(_) => self.stage = Stage::Hearing,
            }
        }
    }
}

impl<'a> Load<'a> {
    fn new(order: &'a Order<'a>, each: u64, requests: u64) -> Result<Self, String> {
        let connection = if order.keep_alive { "keep-alive" } else { "close" };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: forkproof\r\nConnection: {connection}\r\n\r\n",
            order.path, order.at
        );
        Ok(Self {
            order,
            request: request.into_bytes(),
            each: if order.keep_alive { each } else { 1 },
            poll: Poll::new().map_err(|error| own("a poll", &error))?,
            seats: Vec::new(),
            buffer: vec![0; BUFFER],
            answers: Answers::new(requests)?,
            under_way: 0,
        })
    }

    fn add_seat(&mut self) -> usize {
        self.seats.push(Seat {
            stream: None,
            stage: Stage::Idle,
            since: Instant::now(),
            response: Response::new(),
            asked: 0,
        });
        self.seats.len() - 1
    }

    /// Waits for something to happen, for at most `time`.
    fn wait(&mut self, events: &mut Events, time: Duration) -> Result<(), String> {
        /// mio waits for whole milliseconds, which is long for a request that is due.
        const COARSE: Duration = Duration::from_millis(10);
        let mut time = time;
        if time < COARSE {
            self.wait_finely(time)?;
            time = Duration::ZERO;
        }
        match self.poll.poll(events, Some(time)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(own("poll", &error)),
            _ => Ok(()),
        }
    }

    fn wait_finely(&self, time: Duration) -> Result<(), String> {
        // SAFETY: the descriptor is open as long as `self.poll` is there.
        let poll = unsafe { BorrowedFd::borrow_raw(self.poll.as_raw_fd()) };
        let mut polled = FdSet::new();
        // Opened before any connection, its number is far below FD_SETSIZE.
        polled.insert(poll);
        match pselect(None, &mut polled, None, None, &TimeSpec::from(time), None) {
            Err(errno) if errno != Errno::EINTR => Err(own("pselect", &errno.into())),
            _ => Ok(()),
        }
    }

    /// Makes a request whose latency counts from `since`.
    fn ask(&mut self, seat: usize, since: Instant) -> Result<(), String> {
        self.under_way += 1;
        let place = &mut self.seats[seat];
        place.since = since;
        place.response.begin();
        place.asked += 1;
        if place.stream.is_some() {
            place.stage = Stage::Asking(0);
            place.send(&self.request);
            return Ok(());
        }
        place.asked = 1;
        match TcpStream::connect(self.order.at) {
            Ok(mut stream) => {
                let both = Interest::READABLE | Interest::WRITABLE;
                let registry = self.poll.registry();
                registry
                    .register(&mut stream, Token(seat), both)
                    .map_err(|error| own("registering a socket", &error))?;
                // Each request is a segment, at once; there is nothing to gather.
                let _ = stream.set_nodelay(true);
                place.stream = Some(stream);
                place.stage = Stage::Connecting;
                Ok(())
            }
            Err(error) => self.cannot_connect(seat, &error),
        }
    }

    fn cannot_connect(&mut self, seat: usize, error: &std::io::Error) -> Result<(), String> {
        // What this process or its network lacks is not the server's.
        let errno = error.raw_os_error().map(Errno::from_raw);
        if let Some(Errno::EADDRNOTAVAIL | Errno::EMFILE | Errno::ENFILE) = errno {
            return Err(own("a connection of the load's own", error));
        }
        self.fail(seat, format!("cannot connect: {}", settings::reason(error)));
        Ok(())
    }

    /// Goes on with the request of a seat as far as that is possible; what is next, if it is over.
    fn go_on(&mut self, seat: usize, is_closing: bool) -> Result<Option<Next>, String> {
        let place = &mut self.seats[seat];
        let Some(stream) = place.stream.as_mut() else { return Ok(None) };
        if place.stage == Stage::Connecting {
            match stream.take_error().ok().flatten().map_or_else(|| stream.peer_addr(), Err) {
                Ok(_) => place.stage = Stage::Asking(0),
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(None),
                Err(error) => {
                    self.cannot_connect(seat, &error)?;
                    return Ok(Some(Next::Vacant));
                }
            }
        }
        place.send(&self.request);
        let Some(stream) = place.stream.as_mut() else { return Ok(None) };
        while place.stage == Stage::Hearing {
            let read = stream.read(&mut self.buffer);
            let is_reused = place.asked > 1 && place.response.is_untouched();
            if is_reused && read.as_ref().map_or_else(has_closed, |&count| count == 0) {
                return self.ask_once_more(seat);
            }
            let progress = match read {
                Ok(0) => place.response.close(self.order.file),
                Ok(count) => place.response.take(&self.buffer[..count], self.order.file),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(settings::reason(&error)),
            };
            match progress {
                Ok(Progress::Unfinished) => {}
                Ok(Progress::Whole { kept }) => {
                    let kept = kept && !is_closing && place.asked < self.each;
                    return Ok(Some(self.succeed(seat, kept)));
                }
                Err(why) => {
                    self.fail(seat, why);
                    return Ok(Some(Next::Vacant));
                }
            }
        }
        Ok(None)
    }

    fn ask_once_more(&mut self, seat: usize) -> Result<Option<Next>, String> {
        self.answers.retried += 1;
        self.under_way -= 1;
        let place = &mut self.seats[seat];
        place.stream = None;
        let since = place.since;
        self.ask(seat, since)?;
        Ok((self.seats[seat].stage == Stage::Idle).then_some(Next::Vacant))
    }

    fn succeed(&mut self, seat: usize, kept: bool) -> Next {
        let place = &mut self.seats[seat];
        let latency = u64::try_from(place.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.answers.latencies.saturating_record(latency);
        place.stage = Stage::Idle;
        self.under_way -= 1;
        if kept && self.order.keep_alive {
            return Next::Free;
        }
        place.stream = None;
        Next::Vacant
    }

    fn fail(&mut self, seat: usize, why: String) {
        *self.answers.failures.entry(why).or_default() += 1;
        let place = &mut self.seats[seat];
        place.stage = Stage::Idle;
        place.stream = None;
        self.under_way -= 1;
    }

    /// Nothing moves any more: whoever waits for an answer gets none, and `left` are not asked.
    fn give_up(&mut self, left: u64) {
        let words = format!("no answer, and nothing for {:.0?}", self.order.patience);
        *self.answers.failures.entry(words).or_default() += self.under_way as u64 + left;
    }
}

/// Whether that says that the server has closed a connection.
fn has_closed(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// What went wrong with the load itself.
fn own(what: &str, error: &std::io::Error) -> String {
    format!("the load: {what}: {}", settings::reason(error))
}
