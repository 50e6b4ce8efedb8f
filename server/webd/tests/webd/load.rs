//! Clients that ask again and again, and count what they lose.

use std::io::{self, BufReader, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::http::{connect, read_response};

/// Clients at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    lost: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Lets `clients` ask `address` for `target`: half of them over connections that they keep.
    pub(crate) fn begin(address: SocketAddr, target: &'static str, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let lost = Arc::new(Mutex::new(Vec::new()));
        let threads = (0..clients)
            .map(|client| {
                let (stop, done, lost) = (stop.clone(), done.clone(), lost.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let keep = client % 2 == 0;
                        if let Err(error) = converse(address, target, keep, &stop, &done) {
                            lost.lock().unwrap().push(format!("keep {keep}: {error}"));
                        }
                    }
                })
            })
            .collect();
        Self { stop, done, lost, threads }
    }

    /// Requests answered so far.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends it; tells how many requests were answered, and what became of the others.
    pub(crate) fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let lost = self.lost.lock().unwrap().clone();
        (self.done.load(Ordering::Relaxed), lost)
    }
}

/// One connection. A request that is sent and not answered is an error, whoever closed.
fn converse(
    address: SocketAddr,
    target: &str,
    keep: bool,
    stop: &AtomicBool,
    done: &AtomicU64,
) -> io::Result<()> {
    let stream = connect(address)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let connection = if keep { "keep-alive" } else { "close" };
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: {connection}\r\n\r\n");
    loop {
        (&stream).write_all(request.as_bytes())?;
        let response = read_response(&mut reader, false)?;
        if response.status != 200 {
            return Err(io::Error::other(format!("status {}", response.status)));
        }
        done.fetch_add(1, Ordering::Relaxed);
        if !keep || response.header("connection") == "close" || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
}
