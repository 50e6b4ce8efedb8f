//! The connection to the server, and what its end may mean.

use std::io;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use super::failure::{Exit, Failure};
use super::options::Options;
use crate::key::Key;
use settings::reason;

/// A server takes or refuses a key within about a second. A connection that ends in silence
/// after this time was therefore accepted; one that ends sooner may have been refused.
const VERDICT_WINDOW: Duration = Duration::from_secs(3);

/// How the server's side of a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// It closed in good order, having read what had arrived.
    Closed,
    /// A reset, or the network gave it up.
    Broken(io::Error),
}

/// A connection on which the key has been sent.
pub(super) struct Connection {
    stream: TcpStream,
    /// For messages: `localhost port 7722`.
    server: String,
    key_file: PathBuf,
    since: Instant,
}

impl Connection {
    /// Connects to the first address that answers and sends the key.
    pub(super) fn open(options: &Options, key: &Key) -> Result<Self, Failure> {
        let server = format!("{} port {}", options.host, options.port);
        let stream = connect(options).map_err(|why| {
            Failure::new(Exit::Unreachable, format!("cannot connect to {server}: {why}"))
        })?;
        let connection =
            Self { stream, server, key_file: options.key_file.clone(), since: Instant::now() };
        match connection.prepare(options, key) {
            Ok(()) => Ok(connection),
            Err(error) => Err(connection.lost(&End::Broken(error), false)),
        }
    }

    fn prepare(&self, options: &Options, key: &Key) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        // A listener sends nothing: only the kernel's probes tell it that a server has vanished.
        setsockopt(&self.stream, sockopt::KeepAlive, &true)?;
        self.stream.set_write_timeout(Some(options.timeout))?;
        (&self.stream).write_all(key.bytes())
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// For messages.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Judges an end nobody had asked for. `heard`: whether the server ever sent a byte.
    pub(super) fn lost(&self, end: &End, heard: bool) -> Failure {
        let server = &self.server;
        let age = self.since.elapsed();
        if !heard && age < VERDICT_WINDOW {
            let how = match end {
                End::Closed => "closed the connection without a word".to_owned(),
                End::Broken(error) => format!("broke the connection off ({})", reason(error)),
            };
            return Failure::new(
                Exit::Refused,
                format!(
                    "{server} {how}: it refused the key in {}, or ended at that moment",
                    self.key_file.display()
                ),
            );
        }
        let silence = if heard {
            String::new()
        } else {
            format!(", {} s after it had taken the key", age.as_secs())
        };
        let how = match end {
            End::Closed => format!("{server} closed the connection{silence}"),
            End::Broken(error) => {
                format!("lost the connection to {server}{silence}: {}", reason(error))
            }
        };
        Failure::new(Exit::Lost, how)
    }
}

/// Tries the host's addresses in the resolver's order. The time is shared among those that are
/// left, so that one that swallows packets cannot use up what the others need.
fn connect(options: &Options) -> Result<TcpStream, String> {
    // People copy `[::1]` out of URLs and logs.
    let host = options
        .host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(&options.host);
    let deadline = Instant::now() + options.connect_timeout;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in (host, options.port).to_socket_addrs().map_err(|error| reason(&error))? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let mut refusals = Vec::new();
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        // The standard library refuses a time of zero as a mistake.
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                refusals.push(format!("{address}: no answer in time"));
            }
            Err(error) => refusals.push(format!("{address}: {}", reason(&error))),
        }
    }
    if refusals.is_empty() {
        Err("the name has no address".to_owned())
    } else {
        Err(refusals.join("; "))
    }
}
