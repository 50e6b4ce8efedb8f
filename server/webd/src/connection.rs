//! One connection: its requests one after another, and its end.
//!
//! When the worker drains, a request under way is answered, and so is the next of a client that
//! sends it soon, with `Connection: close`: a client that has a request on its way when a
//! connection is closed cannot know if it was carried out. Whoever sends nothing for [`LINGER`] is
//! not about to. A client that has only just connected is: its machine may be busy or far away, so it
//! has [`FIRST`] for its first request.

use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics::Phase;
use crate::service::{Client, Service};
use crate::watch::WatchedStream;

/// How long a draining worker keeps a connection on which nothing happens.
const LINGER: Duration = Duration::from_secs(1);
/// The same, for a connection on which nothing has come yet. Short beside the drain timeout, since
/// one that a browser opened in advance delays the end by so much.
const FIRST: Duration = Duration::from_secs(5);
/// A request's header, at most. It is hyper's least, and more than browsers send.
const HEADER_BYTES: usize = 32 * 1024;

/// Serves a connection to its end.
pub(crate) async fn serve(
    service: Rc<Service>,
    client: Client,
    stream: TcpStream,
    mut draining: watch::Receiver<bool>,
) {
    let client = Rc::new(client);
    let stream = TokioIo::new(WatchedStream::new(
        stream,
        Rc::clone(&client.watch),
        Rc::clone(&client.outgoing),
    ));
    let handler = {
        let client = Rc::clone(&client);
        service_fn(move |request| Rc::clone(&service).handle(Rc::clone(&client), request))
    };
    // The time-outs are the stream's: hyper's would need one more timer for each connection.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(stream, handler);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        _ = draining.wait_for(|draining| *draining) => {}
    }
    loop {
        let (phase, since) = client.watch.phase();
        let deadline = match phase {
            Phase::Fresh => since + FIRST,
            Phase::Idle => since + LINGER,
            // A request is under way; look again when it may have been answered.
            _ => Instant::now() + LINGER,
        };
        tokio::select! {
            // What has come while this process had no processor is read first.
            biased;
            _ = &mut connection => return,
            () = tokio::time::sleep_until(deadline) => {}
        }
        match client.watch.phase() {
            (Phase::Fresh, since) if since + FIRST <= Instant::now() => return,
            (Phase::Idle, since) if since + LINGER <= Instant::now() => {
                connection.as_mut().graceful_shutdown();
            }
            _ => {}
        }
    }
}
