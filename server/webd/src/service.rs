//! One request: is it sound, is it within the limits, who answers it; and what is recorded of it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Buf;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

use crate::access_log::{AccessLog, Line};
use crate::balance::Pool;
use crate::body::Body;
use crate::config::Config;
use crate::files::{Files, plain};
use crate::limits::Admission;
use crate::metrics::{Figures, Phase};
use crate::outgoing::{Outgoing, Piece};
use crate::proxy::{self, Outcome, Upload};
use crate::watch::Watch;

/// What is recorded of a request whose client left before it was answered, as nginx does.
const CLIENT_LEFT: u16 = 499;

/// What all connections of a worker share.
pub(crate) struct Service {
    pub(crate) config: Config,
    pub(crate) files: Option<RefCell<Files>>,
    pub(crate) pool: Option<Pool<Upload>>,
    pub(crate) figures: Rc<RefCell<Figures>>,
    pub(crate) log: Option<Rc<RefCell<AccessLog>>>,
    /// Whether each response is the last of its connection.
    pub(crate) draining: Cell<bool>,
}

/// One client's connection, as its requests see it.
pub(crate) struct Client {
    pub(crate) peer: SocketAddr,
    pub(crate) watch: Rc<Watch>,
    pub(crate) outgoing: Rc<Outgoing>,
    pub(crate) admission: Admission,
}

impl Service {
    /// Answers `request`.
    pub(crate) async fn handle(
        self: Rc<Self>,
        client: Rc<Client>,
        request: Request<Incoming>,
    ) -> Result<Response<Recorded>, Infallible> {
        client.watch.enter(Phase::Response);
        let mut record = self.record(&client, &request);
        let mut response = if !client.admission.request() {
            self.figures.borrow_mut().counters.limited += 1;
            let mut response = plain(StatusCode::TOO_MANY_REQUESTS);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        } else if !is_sound(&request) {
            let mut response = plain(StatusCode::BAD_REQUEST);
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        } else {
            match self.answer(&client, request, &mut record).await {
                Ok(response) => response,
                Err(status) => plain(status),
            }
        };
        if self.draining.get() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        record.status = response.status().as_u16();
        let outgoing = Rc::clone(&client.outgoing);
        Ok(response.map(|body| Recorded { body, outgoing, record }))
    }

    async fn answer(
        &self,
        client: &Client,
        request: Request<Incoming>,
        record: &mut Record,
    ) -> Result<Response<Body>, StatusCode> {
        if request.method() == Method::CONNECT {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let Some(pool) = &self.pool else { return self.file(&request) };
        let Client { peer, watch, .. } = client;
        match proxy::pass_on(pool, &self.config, &self.figures, watch, *peer, request).await? {
            Outcome::Response(response) => Ok(response),
            Outcome::Local(request, busy) => {
                record.lasting = Some(Box::new(busy));
                self.file(&request)
            }
        }
    }

    fn file<B>(&self, request: &Request<B>) -> Result<Response<Body>, StatusCode> {
        let files = self.files.as_ref().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        Ok(files.borrow_mut().answer(request, &mut self.figures.borrow_mut()))
    }

    fn record(&self, client: &Client, request: &Request<Incoming>) -> Record {
        let text = |name| {
            let value: Option<&HeaderValue> = request.headers().get(name);
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let line = self.log.as_ref().map(|_| Line {
            peer: client.peer,
            method: request.method().to_string(),
            target: request.uri().to_string(),
            version: if request.version() == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" },
            referer: text(header::REFERER),
            agent: text(header::USER_AGENT),
        });
        Record {
            begin: Instant::now(),
            status: CLIENT_LEFT,
            bytes: 0,
            figures: Rc::clone(&self.figures),
            log: self.log.clone().zip(line),
            watch: Rc::clone(&client.watch),
            lasting: None,
        }
    }
}

/// Whether a request says where it goes (RFC 9112, 3.2). Where it ends is hyper's to judge: it
/// refuses lengths that differ, and closes the connection after a request with two kinds of them.
fn is_sound<B>(request: &Request<B>) -> bool {
    match request.headers().get_all(header::HOST).iter().count() {
        0 => request.version() == Version::HTTP_10,
        count => count == 1,
    }
}

/// One request, recorded when it is over, however it ends.
struct Record {
    begin: Instant,
    status: u16,
    bytes: u64,
    figures: Rc<RefCell<Figures>>,
    log: Option<(Rc<RefCell<AccessLog>>, Line)>,
    watch: Rc<Watch>,
    /// What lasts as long as the request does.
    lasting: Option<Box<dyn std::any::Any>>,
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.begin.elapsed();
        self.figures.borrow_mut().responded(self.status, self.bytes, took);
        if let Some((log, line)) = &self.log {
            AccessLog::append(log, line, self.status, self.bytes, took);
        }
        self.watch.enter(Phase::Idle);
    }
}

/// A response's body with its record.
pub(crate) struct Recorded {
    body: Body,
    outgoing: Rc<Outgoing>,
    record: Record,
}

impl HttpBody for Recorded {
    type Data = Piece;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Piece>>>> {
        let this = self.get_mut();
        let frame = this.body.poll_frame(cx, &this.outgoing);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            this.record.bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
