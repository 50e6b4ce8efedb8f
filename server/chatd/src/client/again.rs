//! A connection that was lost at a terminal, made again: at once would be a burden for a server that
//! starts, so each attempt waits longer than the one before.

use std::hash::{BuildHasher, RandomState};
use std::io::stdin;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use super::connection::Connection;
use super::conversation::{User, converse};
use super::failure::{Exit, Failure};
use super::options::Options;
use super::terminal::Terminal;
use crate::key::Key;

/// How long the first attempt waits, and any at most; up to half as long again by chance, so that not
/// everybody comes back at one moment.
const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);
/// After so many refusals in a row the key is wrong, and not the server about to end.
const REFUSALS: u32 = 3;
/// How often it is looked whether an attempt has come to an end, in milliseconds.
const TICK: u8 = 100;

/// Converses until the user leaves, over as many connections as that takes.
pub(super) fn converse_on(
    connection: Connection,
    terminal: &mut Terminal,
    options: &Options,
) -> Result<(), Failure> {
    let mut connection = connection;
    let mut held = Vec::new();
    let mut was_in = false;
    let mut refusals = 0;
    let mut pause = FIRST;
    loop {
        let failure = match converse(&connection, terminal, options.timeout, held) {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        match failure.exit {
            Exit::Lost => {
                (was_in, refusals, pause) = (true, 0, FIRST);
            }
            Exit::Refused if was_in && refusals + 1 < REFUSALS => refusals += 1,
            _ => return Err(failure),
        }
        if terminal.has_left() || options.once {
            return Err(failure);
        }
        terminal.tell(failure.message.as_deref().unwrap_or("the connection was lost"))?;
        drop(connection);
        held = Vec::new();
        connection = loop {
            let chance = RandomState::new().hash_one(pause) % 1000;
            let wait = pause + pause.mul_f64(chance as f64 / 2000.0);
            terminal.tell(&format!("tries again in {:.0} s", wait.as_secs_f64()))?;
            pause = (pause * 2).min(MOST);
            if !wait_with(terminal, &mut held, Instant::now() + wait, || false)? {
                return Err(failure);
            }
            let mut made = None;
            let attempt = attempt(options);
            let ended = || match attempt.try_recv() {
                Ok(result) => {
                    made = Some(result);
                    true
                }
                Err(TryRecvError::Empty) => false,
                Err(TryRecvError::Disconnected) => true,
            };
            let ever = Instant::now() + 2 * options.connect_timeout;
            if !wait_with(terminal, &mut held, ever, ended)? {
                return Err(failure);
            }
            match made {
                Some(Ok(connection)) => break connection,
                Some(Err(why)) => terminal.tell(why.message.as_deref().unwrap_or_default())?,
                None => {}
            }
        };
        terminal.tell("is connected again; the last lines follow")?;
    }
}

/// Connects in another thread, so that keys are heeded meanwhile. The key is read anew: nobody keeps
/// it.
fn attempt(options: &Options) -> Receiver<Result<Connection, Failure>> {
    let (tell, told) = channel();
    let options = options.clone();
    std::thread::spawn(move || {
        let made = Key::read(&options.key_file, None)
            .map_err(|why| Failure::new(Exit::Usage, why))
            .and_then(|(key, _)| Connection::open(&options, &key));
        // Whoever asked may have left.
        let _ = tell.send(made);
    });
    told
}

/// Does what keys say until `deadline`, or until `ended`. What is entered goes to `held`. Returns
/// whether the user is still there.
fn wait_with(
    terminal: &mut Terminal,
    held: &mut Vec<Vec<u8>>,
    deadline: Instant,
    mut ended: impl FnMut() -> bool,
) -> Result<bool, Failure> {
    while !ended() && Instant::now() < deadline {
        let stdin = stdin();
        let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, TICK) != Ok(1) {
            continue;
        }
        let before = held.len();
        if !terminal.read(&mut |line| held.push(line))? {
            terminal.leave();
            return Ok(false);
        }
        if held.len() > before {
            terminal.tell("not connected: it is sent when that is mended")?;
        }
    }
    Ok(true)
}
