//! `webd`, the reference master-worker web server of forkproof.
//!
//! A **master** binds the sockets, starts **workers** (fork and exec of itself), hands them the
//! sockets and watches their health; it has no thread and no async runtime, and no request passes
//! through it. A worker serves files from a bounded cache, or balances requests over remote
//! workers.
//!
//! | part | file |
//! |---|---|
//! | the program: arguments to exit status | `server` |
//! | reload, and upgrade in place | `renewal` |
//! | the master's loop: signals, deadlines, drain, watchdog | `master` |
//! | the metrics' address, served by the master | `exposition` |
//! | starting, watching, replacing and ending worker processes | `supervise` |
//! | the exec of a new program with everything kept | `upgrade` |
//! | a worker's process: sockets, channel, drain | `worker` |
//! | taking connections from the shared sockets | `accept` |
//! | one connection: its requests, and its end | `connection` |
//! | one request: checks, limits, who answers | `service` |
//! | a connection's phases and their time-outs | `watch` |
//! | files: paths, conditions, ranges | `files` |
//! | the cache of hot files | `cache` |
//! | remote workers: choice and health | `balance` |
//! | a request to a remote worker | `proxy` |
//! | what a response body can be | `body` |
//! | files on their way to the socket | `outgoing` |
//! | connections and rate of each address | `limits` |
//! | the access log | `access_log` |
//! | counters, and their text for Prometheus | `metrics` |
//! | what master and worker say to each other | `channel` |
//! | from root to a plain user | `privileges` |
//! | command line and configuration file, merged and checked | `config` |
//! | what both can say | `options` |
//! | listening sockets: bound, inherited, activated | `sockets` |
//! | dispositions and masks | `signals` |
//! | what systemd is told | `notify` |
//! | pid file, ready file | `announce` |
//! | the server's own messages | `diagnostics` |
//! | what differs between systems | `platform` |
//!
//! Imports go down this table.

mod accept;
mod access_log;
mod announce;
mod balance;
mod body;
mod cache;
mod channel;
mod config;
mod connection;
mod diagnostics;
mod exposition;
mod files;
mod limits;
mod master;
mod metrics;
mod notify;
mod options;
mod outgoing;
mod place;
mod platform;
mod privileges;
mod proxy;
mod renewal;
mod server;
mod service;
mod signals;
mod sockets;
mod supervise;
mod upgrade;
mod watch;
mod worker;

pub use server::{server_command, server_main};
