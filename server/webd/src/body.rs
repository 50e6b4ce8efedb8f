//! What a response's body can be: nothing, bytes in memory, a file that is read as it is sent, or
//! what a remote worker sends.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

/// What is read of a file at once.
const CHUNK: usize = 64 * 1024;

/// A response's body.
pub(crate) enum Body {
    Empty,
    Bytes(Bytes),
    /// The next so many bytes of a file.
    File(File, u64),
    Remote(Box<RemoteBody>),
}

/// A body that comes from a remote worker.
pub(crate) struct RemoteBody {
    pub(crate) incoming: Incoming,
    /// How long it may stay silent.
    pub(crate) patience: Duration,
    pub(crate) timer: Pin<Box<Sleep>>,
    /// What is to be done with the connection when all has come.
    pub(crate) at_end: Option<Box<dyn FnOnce()>>,
    /// What lasts as long as the body does.
    pub(crate) _active: Box<dyn std::any::Any>,
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::File(_, 0) => Poll::Ready(None),
            Self::File(file, left) => Poll::Ready(Some(next_chunk(file, left).map(Frame::data))),
            Self::Remote(remote) => remote.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::File(_, left) => *left == 0,
            Self::Remote(remote) => remote.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::File(_, left) => SizeHint::with_exact(*left),
            Self::Remote(remote) => remote.incoming.size_hint(),
        }
    }
}

fn next_chunk(file: &mut File, left: &mut u64) -> io::Result<Bytes> {
    let wanted = usize::try_from(*left).unwrap_or(CHUNK).min(CHUNK);
    let mut chunk = Chunk::new(wanted);
    chunk.length = loop {
        match file.read(&mut chunk.buffer[..wanted]) {
            // It has shrunk: the promised length cannot be kept, and the connection's end says so.
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    *left -= chunk.length as u64;
    Ok(Bytes::from_owner(chunk))
}

/// What was read. Its memory is used again, since the system takes long to give so much of it.
struct Chunk {
    buffer: Box<[u8]>,
    length: usize,
}

thread_local! {
    static UNUSED: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

impl Chunk {
    /// How many are kept.
    const KEPT: usize = 16;

    /// Room for so many bytes at least.
    fn new(wanted: usize) -> Self {
        // Who waits for little shall not hold much.
        let buffer = match wanted < CHUNK {
            true => None,
            false => UNUSED.with_borrow_mut(Vec::pop),
        };
        Self { buffer: buffer.unwrap_or_else(|| vec![0; wanted].into()), length: 0 }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        // At the end of the thread there is no place to keep it.
        let _ = UNUSED.try_with(|unused| {
            let mut unused = unused.borrow_mut();
            if buffer.len() == CHUNK && unused.len() < Self::KEPT {
                unused.push(buffer);
            }
        });
    }
}

impl RemoteBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.timer.as_mut().reset(Instant::now() + self.patience);
                if self.incoming.is_end_stream() {
                    self.ended();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error)))),
            Poll::Ready(None) => {
                self.ended();
                Poll::Ready(None)
            }
            Poll::Pending => {
                use std::future::Future;
                match self.timer.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into()))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn ended(&mut self) {
        if let Some(at_end) = self.at_end.take() {
            at_end();
        }
    }
}
