//! A request to a remote worker, and its response.
//!
//! A request is tried at another remote if it is idempotent (RFC 9110, 9.2.2), has no body, and no
//! response to it has begun; or, whatever it is, if the connection to the remote could not even be
//! made, so that nothing was sent. What has a body or is not idempotent gets a new connection: one
//! that is kept may just be closing, and nobody could tell whether the request was carried out.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::net::TcpStream;

use crate::balance::{Active, Busy, Choice, Pool, Remote};
use crate::body::{Body, RemoteBody};
use crate::config::Config;
use crate::metrics::{Figures, Phase};
use crate::watch::Watch;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// Tries of one request, at different remotes.
const MOST_TRIES: usize = 3;

/// What only concerns the connection that it comes on (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A request's body on its way to a remote, up to a size.
pub(crate) struct Upload {
    incoming: Option<Incoming>,
    left: u64,
    watch: Rc<Watch>,
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let frame = match Pin::new(incoming).poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(frame) => frame,
        };
        let Some(frame) = frame else {
            this.incoming = None;
            this.watch.enter(Phase::Response);
            return Poll::Ready(None);
        };
        let frame = frame.map_err(io::Error::other)?;
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        match this.left.checked_sub(length) {
            Some(left) => this.left = left,
            None => return Poll::Ready(Some(Err(io::ErrorKind::FileTooLarge.into()))),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

/// What a try came to.
enum Failure {
    /// No connection: nothing was sent.
    Unreachable,
    /// The request may have been carried out.
    Broken,
    /// No answer in time; the same.
    Silent,
    /// The client sent too much.
    TooLarge,
}

/// Either a response, or this process is to answer, and is busy with that.
pub(crate) enum Outcome {
    Response(Response<Body>),
    Local(Request<()>, Busy),
}

/// Passes `request` of `peer` on, or finds that it is this machine's turn.
pub(crate) async fn pass_on(
    pool: &Pool<Upload>,
    config: &Config,
    figures: &std::cell::RefCell<Figures>,
    watch: &Rc<Watch>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Outcome, StatusCode> {
    let (mut parts, body) = request.into_parts();
    let mut remote = match pool.choose(&[]) {
        Some(Choice::Remote(remote)) => remote,
        Some(Choice::Local(busy)) => {
            return Ok(Outcome::Local(Request::from_parts(parts, ()), busy));
        }
        None => return Err(StatusCode::SERVICE_UNAVAILABLE),
    };
    if body.size_hint().lower() > config.max_body {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let has_body = !body.is_end_stream();
    if has_body {
        watch.enter(Phase::Body);
    }
    prepare(&mut parts.headers, peer);
    let idempotent = [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE];
    let repeatable = !has_body && idempotent.contains(&parts.method);
    let upload = |incoming: Option<Incoming>| Upload {
        incoming,
        left: config.max_body,
        watch: Rc::clone(watch),
    };
    let mut body = Some(body).filter(|_| has_body);
    let mut tried = Vec::new();
    loop {
        figures.borrow_mut().counters.remote_requests += 1;
        let active = remote.begin();
        let result = async {
            let connection = connect(&remote, repeatable).await?;
            let request = request_for(&parts, remote.address, upload(body.take()));
            send(connection, request, config.remote_timeout).await
        };
        let failure = match result.await {
            Ok((response, connection)) => {
                let response = finish(response, connection, &remote, active, config.remote_timeout);
                return Ok(Outcome::Response(response));
            }
            Err(Failure::TooLarge) => return Err(StatusCode::PAYLOAD_TOO_LARGE),
            Err(failure) => failure,
        };
        figures.borrow_mut().counters.remote_failures += 1;
        if matches!(failure, Failure::Unreachable) {
            remote.set_healthy(false);
        }
        tried.push(remote.address);
        let again = repeatable || matches!(failure, Failure::Unreachable);
        let next = if again && tried.len() < MOST_TRIES { pool.choose(&tried) } else { None };
        remote = match next {
            Some(Choice::Remote(next)) => next,
            Some(Choice::Local(busy)) => {
                return Ok(Outcome::Local(Request::from_parts(parts, ()), busy));
            }
            None => return Err(status_of(&failure)),
        };
        figures.borrow_mut().counters.remote_retries += 1;
    }
}

fn status_of(failure: &Failure) -> StatusCode {
    match failure {
        Failure::Silent => StatusCode::GATEWAY_TIMEOUT,
        Failure::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    }
}

/// Takes out what was for this connection only, and adds who asks.
fn prepare(headers: &mut HeaderMap, peer: SocketAddr) {
    remove_hop_by_hop(headers);
    const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");
    let mut chain: Vec<String> = headers
        .get_all(&FORWARDED)
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    chain.push(peer.ip().to_canonical().to_string());
    if let Ok(value) = HeaderValue::from_str(&chain.join(", ")) {
        headers.insert(FORWARDED, value);
    }
    headers.append(header::VIA, HeaderValue::from_static("1.1 webd"));
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        // A client must not have these taken from the remote (CVE-2022-31813 of Apache's proxy).
        if *name != header::HOST && !name.as_str().starts_with("x-forwarded") {
            headers.remove(name);
        }
    }
}

fn request_for(
    parts: &hyper::http::request::Parts,
    remote: SocketAddr,
    body: Upload,
) -> Request<Upload> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() =
        parts.uri.path_and_query().and_then(|path| path.as_str().parse().ok()).unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = parts.headers.clone();
    // An absolute target's host is the one that counts (RFC 9112, 3.2.2).
    let host = match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => parts.headers.get(header::HOST).cloned(),
    };
    let host = host.or_else(|| HeaderValue::from_str(&remote.to_string()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

async fn connect(
    remote: &Rc<Remote<Upload>>,
    may_be_old: bool,
) -> Result<SendRequest<Upload>, Failure> {
    if may_be_old {
        while let Some(mut connection) = remote.take_kept() {
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
    }
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(remote.address)).await;
    let Ok(Ok(stream)) = stream else { return Err(Failure::Unreachable) };
    let _ = stream.set_nodelay(true);
    let stream = hyper_util::rt::TokioIo::new(stream);
    let Ok((sender, connection)) = hyper::client::conn::http1::handshake(stream).await else {
        return Err(Failure::Unreachable);
    };
    tokio::task::spawn_local(connection);
    Ok(sender)
}

async fn send(
    mut connection: SendRequest<Upload>,
    request: Request<Upload>,
    patience: Duration,
) -> Result<(Response<Incoming>, SendRequest<Upload>), Failure> {
    match tokio::time::timeout(patience, connection.send_request(request)).await {
        Ok(Ok(response)) => Ok((response, connection)),
        Ok(Err(error)) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = cause {
                let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
                if kind == Some(io::ErrorKind::FileTooLarge) {
                    return Err(Failure::TooLarge);
                }
                cause = error.source();
            }
            Err(Failure::Broken)
        }
        // The health check will tell what is up with it.
        Err(_) => Err(Failure::Silent),
    }
}

fn finish(
    response: Response<Incoming>,
    connection: SendRequest<Upload>,
    remote: &Rc<Remote<Upload>>,
    active: Active<Upload>,
    patience: Duration,
) -> Response<Body> {
    let (mut parts, incoming) = response.into_parts();
    remove_hop_by_hop(&mut parts.headers);
    parts.version = Version::HTTP_11;
    let keep: Box<dyn FnOnce()> = {
        let remote = Rc::clone(remote);
        Box::new(move || remote.keep(connection))
    };
    if incoming.is_end_stream() {
        keep();
        return Response::from_parts(parts, Body::Empty);
    }
    let body = RemoteBody {
        incoming,
        patience,
        timer: Box::pin(tokio::time::sleep(patience)),
        at_end: Some(keep),
        _active: Box::new(active),
    };
    Response::from_parts(parts, Body::Remote(Box::new(body)))
}
