//! The few situations that several areas put a server in.

use std::time::Duration;

use crate::harness::{Check, Client, Cluster, Launched, Server};
use crate::platform;
use crate::stop::{OrError, Outcome, Step, ensure, fail};

/// `count` different lines of `length` bytes each, newline included.
pub(super) fn lines(word: &str, count: usize, length: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| {
            let mut line = format!("{word} {number} ").into_bytes();
            // A pattern that shows where a piece is missing or comes twice.
            while line.len() < length - 1 {
                line.push(b'a' + (line.len() % 26) as u8);
            }
            line.push(b'\n');
            line
        })
        .collect()
}

/// Puts `history` into the log of a server that has not started yet; returns what of it a client is
/// sent first.
pub(super) fn remembered(check: &Check, history: &[Vec<u8>]) -> Step<Vec<u8>> {
    let log = check.log_path()?;
    std::fs::write(&log, history.concat()).or_error(log.display())?;
    Ok(last_lines(&history.concat(), usize::from(check.target().manifest.wire.replay)))
}

/// The last `count` lines of `log`.
pub(super) fn last_lines(log: &[u8], count: usize) -> Vec<u8> {
    let all: Vec<&[u8]> = log.split_inclusive(|&byte| byte == b'\n').collect();
    all[all.len().saturating_sub(count)..].concat()
}

/// How long the server waits for a key.
pub(super) fn auth_timeout(check: &Check) -> Duration {
    let timeout = check.target().manifest.wire.auth_timeout;
    timeout.map_or(Duration::from_secs(1), |timeout| timeout.duration())
}

/// A server that was launched with `what` must have refused to start, and have said why: its
/// message names `named`.
pub(super) fn refuses_to_start(launched: &Launched, named: &str, what: &str) -> Outcome {
    ensure(
        launched.server.is_none() && launched.failed(),
        format!("{what} makes the server exit non-zero"),
        || match &launched.server {
            Some(server) => format!("it starts and listens on {}", server.address()),
            None => launched.outcome(),
        },
    )?;
    ensure(
        launched.output.contains(named),
        format!("{what} is named ({named}) in the message"),
        || format!("it says: {}", launched.output.trim()),
    )
}

/// A client named `name` that does not read while `speaker` says more than the sockets between
/// them hold: its sender is blocked. Returns what it has still to hear.
pub(super) fn blocked_client(
    check: &Check,
    server: &Server,
    speaker: &mut Client,
    name: &str,
) -> Step<(Client, Cluster, Vec<u8>)> {
    let (client, cluster) = server.join_with_cluster(name)?;
    // More than the largest send buffers of today's systems (Linux: tcp_wmem, 4 MiB).
    let said = lines("for a client that does not read", 8_000, 1024).concat();
    speaker.barrier()?;
    speaker.queue(&said);
    speaker.hears_bytes(&said)?;
    // The speaker has heard all of it, so it is in the log; the sender writes until it can't.
    check.until(
        Duration::from_secs(10),
        "the sender of a client that does not read waits",
        || {
            let before = platform::processor_time(cluster.sender);
            let asleep = server.process(cluster.sender)?.map(|process| process.state);
            match asleep {
                Some(platform::State::Sleeping) => {
                    Ok(before == platform::processor_time(cluster.sender))
                }
                Some(_) => Ok(false),
                None => fail(
                    "the sender of a client that does not read waits",
                    "it has ended".to_owned(),
                ),
            }
        },
        || format!("sender {} is busy", cluster.sender),
    )?;
    Ok((client, cluster, said))
}

/// Fails if the server's processes use processor time while nobody speaks.
pub(super) fn idle_cost(check: &Check, server: &Server, when: &str) -> Outcome {
    const WINDOW: Duration = Duration::from_millis(500);
    /// Half a per cent of one processor: a poll of ten times a second is already more.
    const ALLOWED: Duration = Duration::from_micros(2_500);
    let used = || server.processor_time();
    // A wake costs more on a slow machine.
    let allowed = check.scaled(ALLOWED).max(ALLOWED);
    // What is still on its way may take its time; then there must be a quiet window.
    let mut last = used()?;
    let mut spent = Duration::ZERO;
    for _ in 0..4 {
        check.let_pass(WINDOW);
        let now = used()?;
        spent = now.saturating_sub(last);
        last = now;
        if spent <= allowed {
            return Ok(());
        }
    }
    ensure(false, format!("the server uses no processor time {when}, while nobody speaks"), || {
        format!(
            "its processes used {spent:.1?} of processor time in {WINDOW:?}, and {allowed:.1?} is allowed"
        )
    })
}
