//! What master and worker say to each other.
//!
//! A worker's process gets an [`Order`] in its environment, and a socket. On it the worker reports,
//! a line of JSON each: that it is ready, and then, as a sign of life, its figures. The master
//! commands with single bytes. The end of the connection tells a worker that its master has died,
//! and it drains: its sockets are free for the next master at once.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::metrics::Figures;
use crate::privileges::Identity;

/// The variable that holds a worker's [`Order`].
pub(crate) const ORDER: &str = "WEBD_ORDER";

/// All that a worker is told at its start.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) config: Config,
    /// The descriptor of the socket to the master.
    pub(crate) channel: RawFd,
    /// The descriptors of the listening sockets.
    pub(crate) listeners: Vec<RawFd>,
    pub(crate) access_log: Option<RawFd>,
    /// Who to become.
    pub(crate) identity: Option<Identity>,
}

/// What a worker says of itself. The program on the other side may be of another version: what it
/// leaves out is nothing.
#[derive(Serialize, Deserialize, Default, Debug)]
#[serde(default)]
pub(crate) struct Report {
    /// It takes connections.
    pub(crate) ready: bool,
    pub(crate) figures: Figures,
}

/// What the master wants of a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Take no more connections, finish what is under way, and end.
    Drain,
    /// Log to this file from now on.
    Log(OwnedFd),
}

const DRAIN: u8 = b'D';
const LOG: u8 = b'L';

/// Tells a worker to drain. A worker that cannot be told is about to end or to be replaced.
pub(crate) fn send_drain(channel: &UnixStream) -> io::Result<()> {
    send(channel, DRAIN, &[])
}

/// Hands a worker its new log.
pub(crate) fn send_log(channel: &UnixStream, log: &OwnedFd) -> io::Result<()> {
    send(channel, LOG, &[ControlMessage::ScmRights(&[log.as_raw_fd()])])
}

fn send(channel: &UnixStream, command: u8, control: &[ControlMessage<'_>]) -> io::Result<()> {
    let command = [command];
    let bytes = [IoSlice::new(&command)];
    sendmsg::<UnixAddr>(channel.as_raw_fd(), &bytes, control, MsgFlags::MSG_DONTWAIT, None)?;
    Ok(())
}

/// The next command, `None` when the master has gone. Fails with `WouldBlock` if there is none yet.
pub(crate) fn receive(channel: RawFd) -> io::Result<Option<Command>> {
    let mut byte = [0];
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<UnixAddr>(channel, &mut bytes, Some(&mut control), flags)?;
    let length = message.bytes;
    let mut log = None;
    for received in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = received {
            for descriptor in descriptors {
                // SAFETY: the kernel has just made this descriptor, for us alone.
                log = Some(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
    match (length, byte[0], log) {
        (0, ..) => Ok(None),
        (_, LOG, Some(log)) => Ok(Some(Command::Log(log))),
        (_, DRAIN, _) => Ok(Some(Command::Drain)),
        // Of a master of another version.
        _ => Err(io::ErrorKind::Interrupted.into()),
    }
}
