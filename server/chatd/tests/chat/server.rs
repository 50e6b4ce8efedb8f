//! Small servers, played by the tests.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use super::common::{KEY, PATIENCE};

/// A server for one connection.
pub(super) struct Server<T> {
    pub(super) port: u16,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Server<T> {
    /// Accepts one client, reads its key and goes on as `script` says.
    pub(super) fn start(script: impl FnOnce(TcpStream) -> T + Send + 'static) -> Self {
        Self::start_on("127.0.0.1", script).unwrap()
    }

    pub(super) fn start_on(
        address: &str,
        script: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> std::io::Result<Self> {
        Self::accept(address, |mut stream| {
            let mut key = [0; 128];
            stream.read_exact(&mut key).unwrap();
            assert_eq!(key, KEY);
            script(stream)
        })
    }

    pub(super) fn accept(
        address: &str,
        script: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let port = listener.local_addr()?.port();
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            script(stream)
        });
        Ok(Self { port, thread })
    }

    pub(super) fn join(self) -> T {
        self.thread.join().unwrap()
    }
}

/// Behaves as the reference does: the log's end, then every byte, then a close in good order.
/// Returns what the client sent.
pub(super) fn reference(log: &'static [u8]) -> Server<Vec<u8>> {
    Server::start(|stream| echo(stream, log))
}

pub(super) fn echo(mut stream: TcpStream, log: &[u8]) -> Vec<u8> {
    stream.write_all(log).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return received,
            count => {
                received.extend_from_slice(&buffer[..count]);
                stream.write_all(&buffer[..count]).unwrap();
            }
        }
    }
}

/// A port of the loopback interface on which nobody listens.
pub(super) fn dead_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
