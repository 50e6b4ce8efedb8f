//! Starts a server of which nothing is known, and looks at it from outside.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::talk::{Spoken, places, talk};
use crate::harness::tail;
use crate::platform::{self, Process, State};

/// What is to be started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    /// The program and its arguments, in which `{port}`, `{host}` and `{address}` stand for what is chosen.
    pub words: Vec<String>,
    /// Where it is started.
    pub directory: PathBuf,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// What was started has ended, and something else listens.
    pub background: bool,
    /// What it speaks.
    pub spoken: Spoken,
    /// How many clients it serves at a time, if that is fewer than most requirements want.
    pub clients: Option<u16>,
    /// Who serves a client.
    pub model: Model,
    /// How many processes there are without a client.
    pub idle: usize,
    /// How it ended, with a client in; none when no signal that was tried ended it.
    pub ended: Option<Ended>,
}

/// As [`crate::subject::Model`], as far as it can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Model {
    /// The process that listens, or a thread of it.
    One,
    /// Processes of its own for each client.
    PerClient,
    /// Another process, which was there before the client.
    Workers,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The signal that ended it.
    pub signal: i32,
    /// Its exit status; none when a signal killed it, or when it is not this process's child.
    pub status: Option<i32>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Whether every process ended, with a client in.
    pub all: bool,
}

/// How long a server may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// As many clients at a time as requirements about idling want.
const CROWD: u16 = 64;

/// Finds out what there is to find out about `command`, in this process, which is its own and whose
/// orphans are its children. `dir` is a private directory.
///
/// # Errors
/// Why it could not be started or asked, in one line.
pub fn explore(command: &Command, dir: &Path, slowness: f64) -> Result<Survey, String> {
    // Nothing of the machine is disturbed then, and nothing of it disturbs.
    let _ = platform::enter_private_network();
    let patience = PATIENCE.mul_f64(slowness);
    let mut server = start(command, dir)?;
    let addresses = wait_for_listeners(&mut server, dir, patience)?;
    let at = reachable(&addresses)?;
    let spoken = talk(at, slowness).map_err(|error| format!("cannot connect to {at}: {error}"))?;
    let clients = places(at, &spoken, CROWD, slowness).unwrap_or(None);
    let background = matches!(server.try_wait(), Ok(Some(_)));
    let idle = settled(slowness);
    let listening: Vec<i32> = below()
        .iter()
        .filter(|p| platform::listens(p.pid, at.port()).unwrap_or(false))
        .map(|process| process.pid)
        .collect();
    let daemon = match background {
        false => server.id() as i32,
        true => *listening.first().ok_or("nothing listens any more")?,
    };
    let client =
        TcpStream::connect(at).map_err(|error| format!("cannot connect to {at}: {error}"))?;
    let with_one = settled(slowness);
    let own = client.local_addr().map_err(|error| error.to_string())?;
    let serving = below()
        .iter()
        .map(|p| p.pid)
        .find(|&pid| pid != daemon && platform::serves(pid, at, own).unwrap_or(false));
    let model = match serving {
        _ if with_one > idle => Model::PerClient,
        Some(_) => Model::Workers,
        // Of several that listen one has not taken it up yet.
        None if listening.len() > 1 => Model::Workers,
        None => Model::One,
    };
    let ended = end(&mut server, daemon, background, patience);
    drop(client);
    Ok(Survey { addresses, background, spoken, clients, model, idle, ended })
}

/// The processes below this one that have not ended.
fn below() -> Vec<Process> {
    let table = platform::process_table().unwrap_or_default();
    let mut below = platform::descendants(&table, std::process::id() as i32);
    below.retain(|process| process.state != State::Zombie);
    below
}

/// How many there are, when that has not changed for a while.
fn settled(slowness: f64) -> usize {
    let a_while = Duration::from_millis(300).mul_f64(slowness.min(5.0));
    let begin = Instant::now();
    let mut last = (below().len(), Instant::now());
    while last.1.elapsed() < a_while && begin.elapsed() < PATIENCE {
        // Nothing announces that nothing changes.
        std::thread::sleep(Duration::from_millis(10));
        let now = below().len();
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    last.0
}

fn output_of(dir: &Path) -> PathBuf {
    dir.join("server.output")
}

fn start(command: &Command, dir: &Path) -> Result<Child, String> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))?
        .port();
    let mut words = command.words.iter().map(|word| {
        word.replace("{address}", &format!("127.0.0.1:{port}"))
            .replace("{host}", "127.0.0.1")
            .replace("{port}", &port.to_string())
    });
    let program = words.next().ok_or("there is no command")?;
    let output = File::create(output_of(dir)).map_err(|error| format!("its output: {error}"))?;
    let errors = output.try_clone().map_err(|error| format!("its output: {error}"))?;
    std::process::Command::new(&program)
        .args(words)
        .current_dir(&command.directory)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("{program}: {}", settings::reason(&error)))
}

/// Waits until a process below this one listens.
fn wait_for_listeners(
    server: &mut Child,
    dir: &Path,
    patience: Duration,
) -> Result<Vec<SocketAddr>, String> {
    let said = || last_words(&tail(&output_of(dir), 4096));
    let begin = Instant::now();
    loop {
        let mut found: Vec<SocketAddr> = Vec::new();
        for process in below() {
            let here = platform::listeners(process.pid).unwrap_or_default();
            found.extend(
                here.into_iter().filter(|address| !found.contains(address)).collect::<Vec<_>>(),
            );
        }
        if !found.is_empty() {
            found.sort();
            return Ok(found);
        }
        let ended = server.try_wait().ok().flatten();
        if let Some(status) = ended.filter(|_| below().is_empty()) {
            return Err(format!("it ended with {status} and never listened; it says: {}", said()));
        }
        if begin.elapsed() > patience {
            return Err(format!(
                "it listens on no port after {:.0} s; it says: {}",
                patience.as_secs_f64(),
                said()
            ));
        }
        // Nothing announces that a stranger listens.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The last lines of what a server has said, in one: an error comes last, after a warning or a
/// backtrace.
fn last_words(output: &str) -> String {
    const LINES: usize = 3;
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let (left_out, shown) = match lines.len().checked_sub(LINES) {
        Some(more @ 1..) => ("… / ", &lines[more..]),
        _ => ("", lines.as_slice()),
    };
    match shown {
        [] => "nothing".to_owned(),
        shown => settings::printable(&format!("{left_out}{}", shown.join(" / "))),
    }
}

/// An address at which a client here reaches one of `addresses`.
fn reachable(addresses: &[SocketAddr]) -> Result<SocketAddr, String> {
    let mut candidates = addresses.to_vec();
    // IPv4 first: it is what most checks use.
    candidates.sort_by_key(SocketAddr::is_ipv6);
    for address in candidates {
        let mut at = address;
        if at.ip().is_unspecified() {
            at.set_ip(match at {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        if TcpStream::connect_timeout(&at, PATIENCE).is_ok() {
            return Ok(at);
        }
    }
    Err("it listens, and no client can connect".into())
}

/// Ends the server, with SIGTERM or, if it does not know that, SIGINT.
fn end(server: &mut Child, daemon: i32, background: bool, patience: Duration) -> Option<Ended> {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let begin = Instant::now();
        kill(Pid::from_raw(daemon), signal).ok()?;
        while begin.elapsed() < patience {
            let status: Option<ExitStatus> = match background {
                false => server.try_wait().ok().flatten(),
                true => None,
            };
            let gone = status.is_some() || below().iter().all(|process| process.pid != daemon);
            if gone {
                let seconds = begin.elapsed().as_secs_f64();
                // What is going to end has a moment for it.
                let rest = Instant::now();
                while !below().is_empty() && rest.elapsed() < Duration::from_secs(2) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                return Some(Ended {
                    signal: signal as i32,
                    status: status
                        .filter(|status| status.signal().is_none())
                        .and_then(|s| s.code()),
                    seconds,
                    all: below().is_empty(),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    None
}
