//! The designs by name.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::{polled, processes, tasks, threads};

/// A way to serve many clients.
#[derive(Debug)]
pub struct Design {
    /// Its name on the command line and in reports.
    pub name: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    serve: fn(TcpListener, usize) -> io::Result<Infallible>,
}

/// The name of the one that does less than a sink must.
pub const FLOOR: &str = "null";

/// All of them, the floor first.
pub const DESIGNS: &[Design] = &[
    Design {
        name: FLOOR,
        about: "the floor: a thread per client that discards what it reads and writes nothing",
        serve: threads::discard,
    },
    Design {
        name: "fork",
        about: "a process per client, forked when it comes",
        serve: processes::fork_each,
    },
    Design {
        name: "prefork",
        about: "a process per client, forked beforehand; each accepts by itself",
        serve: processes::fork_before,
    },
    Design { name: "thread", about: "a thread per client", serve: threads::copy_each },
    Design {
        name: "poll",
        about: "one process that waits for all clients with poll(2)",
        serve: polled::serve,
    },
    Design {
        name: "tokio-one",
        about: "a task per client on one thread",
        serve: tasks::on_one_thread,
    },
    Design {
        name: "tokio-many",
        about: "a task per client on a thread per processor",
        serve: tasks::on_many_threads,
    },
];

/// The design of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Design> {
    DESIGNS.iter().find(|design| design.name == name)
}

/// Serves at `address` until it is killed, at most `clients` at a time. To be called in a process of
/// one thread, which forks.
///
/// # Errors
/// The address cannot be had, or a client cannot be served.
pub fn run(design: &Design, address: SocketAddr, clients: usize) -> io::Result<Infallible> {
    (design.serve)(TcpListener::bind(address)?, clients)
}
