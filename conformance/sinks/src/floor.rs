//! The floor of a forking chat: what a message costs at least when each client has a process that
//! reads from it and one that writes to it, which are woken by a signal and read the log.
//!
//! For each message: one read of the socket, one append, and one kill(2) of a process group. For each
//! delivery: one signal, one wake from sigwait(3), one read of the log, and one send. There is no lock,
//! no key, no limit and no orderly end, so it is no server for anyone: it says what is left to save.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::signal::{kill, killpg, sigaction, sigprocmask};
use nix::unistd::{ForkResult, Pid, fork, setpgid};

/// What it is called.
pub const CHAT_FLOOR: &str = "floor";

const BUFFER: usize = 64 * 1024;

/// Serves a chat at `address` until it is killed. To be called in a process of one thread, which forks.
///
/// # Errors
/// The address or the log cannot be had, or a process cannot be forked.
pub fn chat(address: SocketAddr, log: &Path) -> io::Result<Infallible> {
    let log = OpenOptions::new().create(true).append(true).read(true).open(log)?;
    // Whoever is not a sender has no use for it; a member that never ends keeps the group.
    set(Signal::SIGUSR1, SigHandler::SigIgn)?;
    set(Signal::SIGCHLD, SigHandler::SigIgn)?;
    // SAFETY: this process has one thread.
    let senders = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => loop {
            nix::unistd::pause();
        },
    };
    setpgid(senders, senders)?;
    // Last: whoever finds the port open finds all processes that there are without clients.
    let listener = TcpListener::bind(address).inspect_err(|_| {
        let _ = kill(senders, Signal::SIGKILL);
    })?;
    loop {
        let (client, _) = listener.accept()?;
        client.set_nodelay(true)?;
        // SAFETY: as above.
        if let ForkResult::Child = unsafe { fork() }? {
            drop(listener);
            let served = serve(client, log, senders);
            // SAFETY: ends the process without running what its parent registered.
            unsafe { libc::_exit(i32::from(served.is_err())) }
        }
    }
}

/// Both processes of a client: the sender is forked first, so that it misses nothing.
fn serve(mut client: TcpStream, mut log: File, senders: Pid) -> io::Result<()> {
    let position = log.metadata()?.len();
    let mut wakes = SigSet::empty();
    wakes.add(Signal::SIGUSR1);
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            sigprocmask(SigmaskHow::SIG_BLOCK, Some(&wakes), None)?;
            // A signal that is ignored does not become pending while it is blocked.
            set(Signal::SIGUSR1, SigHandler::SigDfl)?;
            setpgid(Pid::from_raw(0), senders)?;
            send(&client, &log, position, wakes)
        }
        ForkResult::Parent { child } => {
            // Who is first must not matter: it belongs to them before anyone speaks.
            let _ = setpgid(child, senders);
            let mut buffer = vec![0; BUFFER];
            loop {
                match client.read(&mut buffer)? {
                    0 => break,
                    count => log.write_all(&buffer[..count])?,
                }
                killpg(senders, Signal::SIGUSR1)?;
            }
            kill(child, Signal::SIGKILL)?;
            Ok(())
        }
    }
}

fn send(mut client: &TcpStream, log: &File, mut position: u64, wakes: SigSet) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = log.read_at(&mut buffer, position)?;
        client.write_all(&buffer[..count])?;
        position += count as u64;
        if count < buffer.len() {
            wakes.wait()?;
        }
    }
}

fn set(signal: Signal, handler: SigHandler) -> nix::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler runs.
    unsafe { sigaction(signal, &action) }.map(drop)
}
