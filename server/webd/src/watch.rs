//! What a connection is doing, since when, and how long it may take: the time-outs.
//!
//! | phase | limit | begins |
//! |---|---|---|
//! | fresh, header | header timeout | with the connection, or a request's first byte; bytes don't extend it |
//! | body | body timeout | with each part |
//! | idle | idle timeout | with the end of a response |
//! | response | none for reading; write timeout | when the client takes nothing more; each byte that it takes extends it |

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::config::Config;
use crate::metrics::{Figures, Phase};
use crate::outgoing::Outgoing;

/// How long each phase may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    header: Duration,
    body: Duration,
    idle: Duration,
    write: Duration,
}

impl Timeouts {
    /// As configured.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            header: config.header_timeout,
            body: config.body_timeout,
            idle: config.idle_timeout,
            write: config.write_timeout,
        }
    }
}

/// The phase of one connection, counted among all as long as this lives.
pub(crate) struct Watch {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    timeouts: Timeouts,
    figures: Rc<RefCell<Figures>>,
}

impl Watch {
    /// A connection that has just been accepted.
    pub(crate) fn new(timeouts: Timeouts, figures: Rc<RefCell<Figures>>) -> Rc<Self> {
        figures.borrow_mut().moved(None, Some(Phase::Fresh));
        let (phase, since) = (Cell::new(Phase::Fresh), Cell::new(Instant::now()));
        Rc::new(Self { phase, since, timeouts, figures })
    }

    /// The phase, and since when.
    pub(crate) fn phase(&self) -> (Phase, Instant) {
        (self.phase.get(), self.since.get())
    }

    /// A phase begins.
    pub(crate) fn enter(&self, phase: Phase) {
        let from = self.phase.replace(phase);
        self.since.set(Instant::now());
        if from != phase {
            self.figures.borrow_mut().moved(Some(from), Some(phase));
        }
    }

    /// When reading must have got on.
    fn read_deadline(&self) -> Option<Instant> {
        let limit = match self.phase.get() {
            Phase::Fresh | Phase::Header => self.timeouts.header,
            Phase::Body => self.timeouts.body,
            Phase::Idle => self.timeouts.idle,
            Phase::Response => return None,
        };
        Some(self.since.get() + limit)
    }

    fn received(&self) {
        match self.phase.get() {
            Phase::Idle => self.enter(Phase::Header),
            Phase::Body => self.since.set(Instant::now()),
            Phase::Fresh => {
                let since = self.since.get();
                self.enter(Phase::Header);
                self.since.set(since);
            }
            Phase::Header | Phase::Response => {}
        }
    }

    fn timed_out(&self, phase: Phase) -> io::Error {
        self.figures.borrow_mut().timed_out(phase);
        io::ErrorKind::TimedOut.into()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.figures.borrow_mut().moved(Some(self.phase.get()), None);
    }
}

/// A connection whose reads and writes fail when its [`Watch`] says that they take too long.
pub(crate) struct WatchedStream {
    stream: TcpStream,
    watch: Rc<Watch>,
    outgoing: Rc<Outgoing>,
    read_timer: Timer,
    write_timer: Timer,
    /// Since when a write waits for the client.
    blocked: Option<Instant>,
}

impl WatchedStream {
    /// Watches over `stream`, which sends the files of `outgoing`, too.
    pub(crate) fn new(stream: TcpStream, watch: Rc<Watch>, outgoing: Rc<Outgoing>) -> Self {
        let (read_timer, write_timer) = (Timer(None), Timer(None));
        Self { stream, watch, outgoing, read_timer, write_timer, blocked: None }
    }

    /// Writes what lies in memory, up to the first piece of a file; or of that piece, if it is first.
    fn write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        use io::ErrorKind::{Interrupted, WouldBlock};
        let in_memory =
            slices.iter().take_while(|slice| !Outgoing::stands_for_a_file(slice)).count();
        if in_memory > 0 || slices.is_empty() {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..in_memory]);
        }
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.outgoing.send(&self.stream) {
                Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    fn after_write(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let since = *self.blocked.get_or_insert_with(Instant::now);
        ready!(self.write_timer.poll(cx, since + self.watch.timeouts.write));
        Poll::Ready(Err(self.watch.timed_out(Phase::Response)))
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(cx, buffer) {
            if buffer.filled().len() > before {
                this.watch.received();
            }
            if this.watch.phase.get() != Phase::Header {
                return Poll::Ready(result);
            }
            // A header that comes in drops is never waited for, so its time is looked at here.
            return match this.watch.read_deadline() {
                Some(deadline) if deadline <= Instant::now() => {
                    Poll::Ready(Err(this.watch.timed_out(Phase::Header)))
                }
                _ => Poll::Ready(result),
            };
        }
        let Some(deadline) = this.watch.read_deadline() else { return Poll::Pending };
        ready!(this.read_timer.poll(cx, deadline));
        Poll::Ready(Err(this.watch.timed_out(this.watch.phase.get())))
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.write(cx, slices);
        this.after_write(cx, written)
    }

    /// Always: see [`Outgoing`].
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    /// Nothing: the connection is closed next, and that says the same.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A timer that is made when it is first waited for.
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // An earlier deadline is left to fire: most are only moved on, and that costs nothing then.
        if timer.deadline() > deadline || timer.is_elapsed() {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
