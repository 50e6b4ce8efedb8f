//! GET over HTTPS, and over plain HTTP on this host alone: redirects are checked one by one.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use url::{Host, Url};

use crate::error::Error;
use crate::interrupt;

/// How servers are talked to.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    /// How long a name's resolution, and a connection with TLS, may take.
    pub(crate) connect: Duration,
    /// How long a server may send nothing.
    pub(crate) idle: Duration,
    /// Whose certificates are believed.
    pub(crate) roots: RootCerts,
}

/// The certificates of a PEM file.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCerts, String> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| error.to_string())? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err("there is no certificate in it (PEM: `-----BEGIN CERTIFICATE-----`)".into());
    }
    Ok(RootCerts::from(certificates))
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The URL must not be used.
    Refused { url: String, why: String },
    /// No answer, or one that breaks off.
    Network { url: String, why: String },
    /// Ctrl-C.
    Interrupted,
}

/// An answer whose body is on its way.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// After redirects.
    pub(crate) url: String,
    events: Receiver<Event>,
}

#[derive(Debug)]
enum Event {
    Head(Box<(StatusCode, HeaderMap, String)>),
    Chunk(Vec<u8>),
    End,
    Failed(Failure),
}

const REDIRECTS: usize = 8;

/// Asks for `url` with these further headers. Errors of HTTP are replies too.
///
/// A thread does the waiting, so that Ctrl-C need not: a read that is under way cannot be told to
/// stop.
pub(crate) fn get(
    url: &str,
    headers: &[(header::HeaderName, String)],
    network: &Network,
) -> Result<Reply, Failure> {
    // Few and large enough: the writer, not the network, sets the pace of what is in memory.
    let (sender, events) = sync_channel(16);
    let (url, headers) = (url.to_owned(), headers.to_owned());
    std::thread::Builder::new()
        .name("download".into())
        .spawn({
            let (url, network) = (url.clone(), network.clone());
            move || talk(&url, &headers, &network, &sender)
        })
        .map_err(|error| Failure::Network { url: url.clone(), why: error.to_string() })?;
    match next(&events, &url)? {
        Event::Head(head) => {
            let (status, headers, url) = *head;
            Ok(Reply { status, headers, url, events })
        }
        Event::Failed(failure) => Err(failure),
        Event::Chunk(_) | Event::End => Err(Failure::Network { url, why: "no answer".into() }),
    }
}

impl Reply {
    /// The next bytes; none at the end of a whole body.
    pub(crate) fn chunk(&self) -> Result<Option<Vec<u8>>, Failure> {
        match next(&self.events, &self.url)? {
            Event::Chunk(bytes) => Ok(Some(bytes)),
            Event::Failed(failure) => Err(failure),
            Event::End | Event::Head(_) => Ok(None),
        }
    }

    /// A header's value, if it is text.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

fn next(events: &Receiver<Event>, url: &str) -> Result<Event, Failure> {
    loop {
        if let Err(Error::Interrupted) = interrupt::check() {
            return Err(Failure::Interrupted);
        }
        match events.recv_timeout(Duration::from_millis(100)) {
            Ok(event) => return Ok(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Network {
                    url: url.to_owned(),
                    why: "the connection was given up".into(),
                });
            }
        }
    }
}

/// The thread. A receiver that has gone away ends it.
fn talk(
    url: &str,
    headers: &[(header::HeaderName, String)],
    network: &Network,
    events: &SyncSender<Event>,
) {
    let (reply, url) = match follow(url, headers, network) {
        Ok(reply) => reply,
        Err(failure) => return drop(events.send(Event::Failed(failure))),
    };
    let (parts, body) = reply.into_parts();
    let head = Event::Head(Box::new((parts.status, parts.headers, url.to_string())));
    if events.send(head).is_err() {
        return;
    }
    let mut body = body.into_reader();
    loop {
        let mut bytes = vec![0; 64 * 1024];
        let event = match body.read(&mut bytes) {
            Ok(0) => Event::End,
            Ok(n) => {
                bytes.truncate(n);
                Event::Chunk(bytes)
            }
            Err(error) => {
                let error = ureq::Error::from(error);
                Event::Failed(Failure::Network {
                    url: url.to_string(),
                    why: words(&error, network),
                })
            }
        };
        let over = !matches!(event, Event::Chunk(_));
        if events.send(event).is_err() || over {
            return;
        }
    }
}

fn follow(
    start: &str,
    headers: &[(header::HeaderName, String)],
    network: &Network,
) -> Result<(ureq::http::Response<ureq::Body>, Url), Failure> {
    let mut url = allowed(start, None)?;
    for _ in 0..=REDIRECTS {
        let failed = |error: &ureq::Error| Failure::Network {
            url: url.to_string(),
            why: words(error, network),
        };
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("forkproof/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .tls_config(TlsConfig::builder().root_certs(network.roots.clone()).build())
            .timeout_resolve(Some(network.connect))
            .timeout_connect(Some(network.connect))
            .timeout_recv_response(Some(network.idle))
            .timeout_per_read(Some(network.idle))
            .timeout_per_write(Some(network.idle));
        if url.scheme() == "http" {
            // This host: a proxy would look for it elsewhere.
            config = config.proxy(None);
        }
        let agent = ureq::Agent::new_with_config(config.build());
        let mut request = agent.get(url.as_str());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let reply = request.call().map_err(|error| failed(&error))?;
        if !reply.status().is_redirection() || reply.status() == StatusCode::NOT_MODIFIED {
            return Ok((reply, url));
        }
        let location = reply.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let Some(location) = location else {
            return Err(Failure::Network {
                url: url.to_string(),
                why: format!("HTTP status {} without a usable Location", reply.status()),
            });
        };
        let target = url.join(location).map_err(|error| Failure::Network {
            url: url.to_string(),
            why: format!("it redirects to `{location}`: {error}"),
        })?;
        url = allowed(target.as_str(), Some(&url))?;
    }
    Err(Failure::Network { url: start.to_owned(), why: format!("more than {REDIRECTS} redirects") })
}

/// HTTPS anywhere. Plain HTTP only on this host, where a test's server is, and never because of a
/// redirect from elsewhere.
fn allowed(text: &str, from: Option<&Url>) -> Result<Url, Failure> {
    let refused = |why: &str| {
        let why = match from {
            Some(from) => format!("{from} redirects there, and {why}"),
            None => why.to_owned(),
        };
        Failure::Refused { url: text.to_owned(), why }
    };
    let url = Url::parse(text).map_err(|error| refused(&format!("it is no URL: {error}")))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" => {
            let loopback = match url.host() {
                Some(Host::Ipv4(address)) => address.is_loopback(),
                Some(Host::Ipv6(address)) => address.is_loopback(),
                Some(Host::Domain(_)) | None => false,
            };
            match from {
                _ if !loopback => Err(refused(
                    "plain HTTP is taken only from a loopback address such as 127.0.0.1: use https",
                )),
                Some(from) if from.scheme() == "https" => {
                    Err(refused("HTTPS is not left for plain HTTP"))
                }
                _ => Ok(url),
            }
        }
        _ => Err(refused("only https is taken")),
    }
}

/// Whether a URL may be used at all, before anything is asked.
pub(crate) fn check_url(url: &str) -> Result<(), Failure> {
    allowed(url, None).map(drop)
}

fn words(error: &ureq::Error, network: &Network) -> String {
    use ureq::Timeout;
    match error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            format!("no connection within {} s", network.connect.as_secs())
        }
        ureq::Error::Timeout(_) => format!("nothing came for {} s", network.idle.as_secs()),
        ureq::Error::HostNotFound => "the host's name cannot be resolved".into(),
        ureq::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "the connection was closed too early".into(),
            _ => error.to_string(),
        },
        error => error.to_string(),
    }
}
