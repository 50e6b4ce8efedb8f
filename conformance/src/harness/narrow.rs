//! A client whose system takes little at a time.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
};

use super::client::Client;
use super::server::Server;
use super::world::SERVES;
use crate::stop::{OrError, Step};

impl Server {
    /// As [`join`](Self::join), for a client with a receive buffer of `bytes`.
    pub fn join_narrow(&self, name: &str, bytes: usize) -> Step<Client> {
        let joined = self.enter_narrow(name, bytes);
        self.world.step(SERVES, joined)
    }

    fn enter_narrow(&self, name: &str, bytes: usize) -> Step<Client> {
        let at = self.address();
        let stream = narrow(at, bytes)?;
        self.world.note(name, format!("connects to {at} with a receive buffer of {bytes} bytes"));
        let mut client = Client::over(stream, &self.world, name, at, Some(&self.witness))?;
        client.key = self.key().to_vec();
        client.send_key()?;
        client.let_in()?;
        Ok(client)
    }
}

/// A connection whose window is small from the beginning: what is set later does not take back what
/// was granted.
fn narrow(at: SocketAddr, bytes: usize) -> Step<TcpStream> {
    let family = match at.ip() {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let made = || -> nix::Result<TcpStream> {
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&socket, sockopt::RcvBuf, &bytes)?;
        connect(socket.as_raw_fd(), &SockaddrStorage::from(at))?;
        Ok(socket.into())
    };
    let stream = made().or_error("a connection with a small buffer")?;
    let set = |stream: &TcpStream| -> std::io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)
    };
    set(&stream).or_error("a connection")?;
    Ok(stream)
}
