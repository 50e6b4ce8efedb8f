//! `chatd`, the reference forking chat server of forkproof, and `chat`, its command-line client.
//!
//! The server reads as the figure it is taken from: a **daemon** accepts and forks; per client a
//! **receiver** reads the socket and appends to the chat log, and a **sender** is woken by
//! `SIGUSR1` and writes what the log has gained. No event loop, no database, no thread.
//!
//! | part | file | imports of this crate |
//! |---|---|---|
//! | the program: arguments to exit status | `server` | `config`, `key`, `launcher` |
//! | foreground or background, readiness, pid file | `launcher` | `daemon` and below |
//! | accepting, forking, reaping, ending | `daemon` | `receiver` and below |
//! | one client's bytes into the log | `receiver` | `sender` and below |
//! | the log's bytes to one client | `sender` | `config` and below |
//! | command line and configuration file | `config` | `listen`, `diagnostics` |
//! | listening sockets | `listen` | `diagnostics` |
//! | from root to a plain user | `privileges` | `generations`, `diagnostics` |
//! | the chat log under `flock` | `log` | `signals` |
//! | dispositions and masks | `signals` | |
//! | which process groups hear a multicast | `generations` | |
//! | the shared key | `key` | |
//! | the server's own messages | `diagnostics` | |
//! | what differs between systems | `platform` | |
//!
//! Imports go down this table; the client, in `client`, shares nothing with the server but `key`.
//!
//! Data flows one way: socket → receiver → log → sender → socket. The processes of a client share
//! nothing but the socket and two pipes: the *lifeline* tells the sender when its receiver ends, and
//! the other one tells the receiver when the sender follows the log.

mod client;
mod config;
mod daemon;
mod diagnostics;
mod generations;
mod key;
mod launcher;
mod listen;
mod log;
mod platform;
mod privileges;
mod receiver;
mod sender;
mod server;
mod signals;

pub use client::{client_command, client_main};
pub use server::{server_command, server_main};
