//! What a response's body can be: nothing, bytes in memory, a file that is read as it is sent, or
//! what a remote worker sends.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

/// What is read of a file at once.
const CHUNK: u64 = 64 * 1024;

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
    let wanted = CHUNK.min(*left);
    let mut chunk = Vec::with_capacity(wanted as usize);
    Read::by_ref(file).take(wanted).read_to_end(&mut chunk)?;
    if chunk.is_empty() {
        // It has shrunk: the promised length cannot be kept, and the connection's end says so.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    *left -= chunk.len() as u64;
    Ok(chunk.into())
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
