//! What the options and the configuration file can say, as people write it.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// More workers than this are a mistake.
pub(crate) const MOST_WORKERS: usize = 1024;

const AFTER_HELP: &str = "\
Exit status: 0 ended as asked, or --check found nothing wrong · 1 could not start · 2 the command \
line or the configuration is wrong.

Signals: SIGTERM ends the server when the requests under way are answered, within the drain \
timeout; SIGINT and SIGQUIT end it at once. SIGHUP reads the configuration again: new workers \
take over, old ones finish. SIGUSR1 reopens the access log. SIGUSR2 replaces the running program by \
the installed one, with the sockets kept.

Supervisors: sockets that one passes (LISTEN_FDS) take the place of --listen, and one named \
`metrics` that of --metrics; NOTIFY_SOCKET and WATCHDOG_USEC are heeded.

TLS: put a proxy in front that ends it (nginx, HAProxy, Caddy, stunnel).";

#[derive(Parser)]
#[command(
    name = "webd", version, about = "A reference web server: a master and its workers",
    after_help = AFTER_HELP, max_term_width = 100, args_conflicts_with_subcommands = true
)]
/// The command line.
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) serve: ServeArguments,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What else than a master can be asked for.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve in this one process, without a master: a remote worker under any supervisor
    Worker(ServeArguments),
}

/// The options of both.
#[derive(Args)]
pub(crate) struct ServeArguments {
    /// Configuration file (TOML, or JSON if its name ends so; the keys are the long options and
    /// `directory`). Options win; paths in it are relative to it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Check the command line and the configuration, and exit
    #[arg(short = 't', long)]
    pub(crate) check: bool,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// What both the options and the configuration file can say.
#[derive(Args, Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Directory to serve
    #[arg(value_name = "DIRECTORY")]
    #[serde(alias = "baseDirectory")]
    pub(crate) directory: Option<PathBuf>,

    /// Address to listen on: HOST, HOST:PORT, [IPV6%SCOPE]:PORT or :PORT for all addresses of both
    /// families. Repeatable. Port 0 lets the system choose. By default loopback of both families
    #[arg(short, long, value_name = "ADDRESS")]
    #[serde(deserialize_with = "one_or_more")]
    pub(crate) listen: Vec<String>,

    /// Port where an address names none [default: 8080]
    #[arg(short, long)]
    pub(crate) port: Option<u16>,

    /// In JSON configurations: listen on this port of all addresses
    #[arg(skip)]
    #[serde(rename = "masterPort")]
    pub(crate) master_port: Option<u16>,

    /// Number of worker processes [default: the number of processors]
    #[arg(short, long, value_name = "N")]
    pub(crate) workers: Option<Workers>,

    /// Remote worker that requests are passed to, HOST:PORT. Repeatable. With one, this machine
    /// serves no files itself
    #[arg(short, long, value_name = "ADDRESS")]
    pub(crate) remote: Vec<String>,

    /// How requests are spread over remote workers [default: least-connections]
    #[arg(long, value_enum)]
    pub(crate) balance: Option<Balance>,

    /// Path requested from remote workers to check their health [default: /]
    #[arg(long, value_name = "PATH")]
    pub(crate) health_path: Option<String>,

    /// Seconds between two health checks [default: 2]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) health_interval: Option<f64>,

    /// Seconds for which a remote worker may stay silent, even within an answer [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) remote_timeout: Option<f64>,

    /// User whose rights workers have when started as root
    #[arg(short, long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// File to write the master's process id to
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,

    /// File to write, when the server serves, the real addresses to, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,

    /// File to log each request to; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,

    /// Form of its lines [default: combined]
    #[arg(long, value_enum)]
    pub(crate) access_log_format: Option<LogFormat>,

    /// Address to serve metrics on for Prometheus, at /metrics
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<String>,

    /// File that stands for its directory [default: index.html]
    #[arg(long, value_name = "NAME")]
    pub(crate) index: Option<String>,

    /// Symbolic links: follow those that lead to another place inside, or none [default: inside]
    #[arg(long, value_enum)]
    pub(crate) links: Option<Links>,

    /// Serve files whose names begin with a dot, too (.well-known always is)
    #[arg(long)]
    pub(crate) hidden: bool,

    /// Memory of each worker's cache, in MiB; 0 is none [default: 64]
    #[arg(long, value_name = "MIB")]
    pub(crate) cache_mib: Option<u32>,

    /// Largest file that is cached, in KiB [default: 1024]
    #[arg(long, value_name = "KIB")]
    pub(crate) cache_file_kib: Option<u32>,

    /// Seconds for a request's header, from its first byte, or from the connection [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) header_timeout: Option<f64>,

    /// Seconds between two parts of a request's body [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) body_timeout: Option<f64>,

    /// Seconds that a connection is kept between two requests [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) idle_timeout: Option<f64>,

    /// Seconds that a client may leave a response unread [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) write_timeout: Option<f64>,

    /// Seconds for requests under way when a worker is to end [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) drain_timeout: Option<f64>,

    /// Seconds without a sign of life after which a worker is replaced; on Linux one that gets no
    /// processor has more [default: 5]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) health_timeout: Option<f64>,

    /// Seconds within which a new worker must be ready [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) start_timeout: Option<f64>,

    /// Connections in all, an equal part for each worker; more wait in the system's queue
    /// [default: 4096]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<usize>,

    /// Connections of one address (IPv6: /64), for each worker; more are closed at once
    /// [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections_per_address: Option<u32>,

    /// Requests a second of one address (IPv6: /64), for each worker; more are answered with 429
    /// [default: no limit]
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<u32>,

    /// Requests that may come at once before the rate counts [default: the rate]
    #[arg(long, value_name = "N")]
    pub(crate) burst: Option<u32>,

    /// Largest request body that is passed to a remote worker, in KiB [default: 1024]
    #[arg(long, value_name = "KIB")]
    pub(crate) max_body_kib: Option<u32>,
}

/// A list, or a string for a list of one.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct OneOrMore;
    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address or a list of addresses")
        }
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.to_owned()])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some(text) = list.next_element()? {
                found.push(text);
            }
            Ok(found)
        }
    }
    deserializer.deserialize_any(OneOrMore)
}

/// `workers = 4`, or the list of `{host, port}` of the program that this one follows.
#[derive(Debug, Clone)]
pub(crate) enum Workers {
    /// So many.
    Count(usize),
    /// One for each.
    Each(Vec<WorkerAddress>),
}

/// Where a listed worker is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl std::str::FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .ok()
            .filter(|count| (1..=MOST_WORKERS).contains(count))
            .map(Self::Count)
            .ok_or_else(|| format!("workers: a number from 1 to {MOST_WORKERS}"))
    }
}

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountOrEach;
        impl<'de> Visitor<'de> for CountOrEach {
            type Value = Workers;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number from 1 to {MOST_WORKERS}, or a list of hosts and ports")
            }
            fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Workers, E> {
                count.to_string().parse().map_err(|_| {
                    E::invalid_value(serde::de::Unexpected::Signed(count), &CountOrEach)
                })
            }
            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Workers, E> {
                self.visit_i64(i64::try_from(count).unwrap_or(i64::MAX))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Workers, A::Error> {
                let mut each = Vec::new();
                while let Some(worker) = list.next_element()? {
                    each.push(worker);
                }
                if each.is_empty() {
                    return Err(A::Error::custom("the list of workers is empty"));
                }
                Ok(Workers::Each(each))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Workers, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self))
            }
        }
        deserializer.deserialize_any(CountOrEach)
    }
}

/// How requests are spread over remote workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Balance {
    /// To the one with the fewest requests under way.
    LeastConnections,
    /// To each in turn.
    RoundRobin,
}

/// The form of the access log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// As Apache and nginx write it.
    Combined,
    /// One JSON object a line.
    Json,
}

/// Which symbolic links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Links {
    /// Those that lead to another place inside the base directory.
    Inside,
    /// None.
    None,
}
