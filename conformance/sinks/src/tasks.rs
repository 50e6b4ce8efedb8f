//! A task per client, on tokio.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::copy;

/// On the thread of the caller.
pub(crate) fn on_one_thread(listener: TcpListener, _clients: usize) -> io::Result<Infallible> {
    serve(&Builder::new_current_thread().enable_io().build()?, listener)
}

/// On a thread for each processor.
pub(crate) fn on_many_threads(listener: TcpListener, _clients: usize) -> io::Result<Infallible> {
    serve(&Builder::new_multi_thread().enable_io().build()?, listener)
}

fn serve(runtime: &Runtime, listener: TcpListener) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    runtime.block_on(async {
        // Accepted by a task: what `block_on` runs is no part of the workers' threads.
        let accepting = runtime.spawn(accept(tokio::net::TcpListener::from_std(listener)?));
        accepting.await.map_err(io::Error::other)?
    })
}

async fn accept(listener: tokio::net::TcpListener) -> io::Result<Infallible> {
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(tokio::spawn(copy_to_the_end(client))),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

async fn copy_to_the_end(mut client: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; copy::BUFFER];
    loop {
        match client.read(&mut buffer).await? {
            0 => return Ok(()),
            // With write(2), as every other design: tokio's standard output would hand it to another
            // thread, and this one never blocks when it is /dev/null.
            length => copy::to_output(&buffer[..length])?,
        }
    }
}
