//! What a response's body can be: nothing, bytes in memory, a file, or what a remote worker sends.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::outgoing::{Outgoing, PIECE, Piece};

/// A response's body.
pub(crate) enum Body {
    Empty,
    Bytes(Bytes),
    /// Of a file, from an offset, so many bytes.
    File(Rc<File>, u64, u64),
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

impl Body {
    /// The next part of it, for a connection that sends its files by `outgoing`.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &Outgoing,
    ) -> Poll<Option<io::Result<Frame<Piece>>>> {
        let piece = match self {
            Self::Empty | Self::File(_, _, 0) => return Poll::Ready(None),
            Self::Bytes(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Bytes(bytes) => Piece::Bytes(std::mem::take(bytes)),
            Self::File(file, offset, left) => {
                let length = usize::try_from(*left).unwrap_or(PIECE).min(PIECE);
                let piece = outgoing.push(Rc::clone(file), *offset, length);
                *offset += length as u64;
                *left -= length as u64;
                piece
            }
            Self::Remote(remote) => return remote.poll(cx),
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// Whether all of it has been handed on.
    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::File(_, _, left) => *left == 0,
            Self::Remote(remote) => remote.incoming.is_end_stream(),
        }
    }

    /// What is left of it, in bytes.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::File(_, _, left) => SizeHint::with_exact(*left),
            Self::Remote(remote) => remote.incoming.size_hint(),
        }
    }
}

impl RemoteBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Piece>>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.timer.as_mut().reset(Instant::now() + self.patience);
                if self.incoming.is_end_stream() {
                    self.ended();
                }
                Poll::Ready(Some(Ok(frame.map_data(Piece::Bytes))))
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
