//! The few situations that several areas put a server in.

use std::time::{Duration, Instant};

use crate::harness::{Check, Client, Cluster, Launched, Options, Server};
use crate::platform;
use crate::platform::Process;
use crate::stop::{OrError, Outcome, Step, Stop, ensure, fail};
use crate::subject::Claim;

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
    check.lay(&log, &history.concat())?;
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

/// `speaker` says `line` and both hear it; on other wires than a chat's both are served once more.
pub(super) fn both_are_served(
    check: &Check,
    speaker: &mut Client,
    other: &mut Client,
    line: &str,
) -> Outcome {
    if check.has(Claim::Broadcast) {
        speaker.say(line)?;
        other.hears(line)?;
        return speaker.hears(line);
    }
    speaker.barrier()?;
    other.barrier()
}

/// A user who has no process, so that what a limit of processes counts is the server's alone, and
/// who has no other right to files than everyone has.
///
/// Drawn, since another suite on this machine draws one too.
pub(super) fn unused_user() -> Step<u32> {
    /// Below what 16 bits hold, and above what systems give to people and services.
    const FIRST: u32 = 62_000;
    const COUNT: u32 = 3_000;
    let table = platform::process_table().unwrap_or_default();
    let used: Vec<u32> = table
        .iter()
        .filter_map(|process| platform::credentials(process.pid).ok())
        .flat_map(|(ids, _)| ids)
        .collect();
    for _ in 0..100 {
        let mut random = [0; 4];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut source| std::io::Read::read_exact(&mut source, &mut random))
            .or_error("/dev/urandom")?;
        let user = FIRST + u32::from_ne_bytes(random) % COUNT;
        let known = nix::unistd::User::from_uid(user.into()).is_ok_and(|user| user.is_some());
        if !known && !used.contains(&user) {
            return Ok(user);
        }
    }
    Err(Stop::Error("every user id that was drawn is in use".into()))
}

/// `options` for a server that is started as `user`, which takes root and a server that does not.
pub(super) fn as_user(check: &Check, options: Options, user: u32) -> Step<Options> {
    let launch = &check.target().manifest.launch;
    match (&launch.user, launch.needs_root) {
        (_, true) => Err(Stop::Unsupported(format!(
            "the target {} can be started by root only, as launch.needs-root says",
            check.target().name
        ))),
        (Some(named), _) => Err(Stop::Unsupported(format!(
            "the target {} is started as user {named}, as launch.user says, and not as any other",
            check.target().name
        ))),
        (None, false) => Ok(options.run_as(user)),
    }
}

/// Whether a message names `address`, in whatever spelling: its host and its port stand somewhere in
/// it, a wildcard for a host of which the server was told the port alone.
pub(super) fn names(check: &Check, message: &str, address: &str) -> bool {
    let has_word = |word: &str| {
        let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        message.match_indices(word).any(|(at, _)| {
            !is_part(message[..at].chars().next_back())
                && !is_part(message[at + word.len()..].chars().next())
        })
    };
    if message.contains(address) {
        return true;
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, Some(port)),
        _ => (address, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let named = host.is_empty() || message.contains(host);
    // Of port 0 there is nothing to say.
    let port_named = port.is_none_or(|port| port == "0" || has_word(port));
    let told_address = check.target().manifest.options.address.is_some();
    port_named && (named || !told_address && port.is_some())
}

/// A server that was launched with `what` must have refused to start, and have said why: its
/// message names `named`.
pub(super) fn refuses_to_start(
    check: &Check,
    launched: &Launched,
    named: &str,
    what: &str,
) -> Outcome {
    ensure(
        launched.server.is_none() && launched.failed(),
        format!("{what} makes the server exit non-zero"),
        || match &launched.server {
            Some(server) => format!("it starts and listens on {}", server.address()),
            None => launched.outcome(),
        },
    )?;
    ensure(
        names(check, &launched.output, named),
        format!("{what} is named ({named}) in the message"),
        || match launched.output.trim() {
            "" => "it says nothing".to_owned(),
            words => format!("it says: {words}"),
        },
    )
}

/// Whether a client that does not read is held up alone. Where one process passes on what one client
/// says to all others, it may wait for the slowest, and many do.
pub(super) fn slow_clients_are_apart(check: &Check) -> bool {
    check.has(Claim::Lines) && (check.has(Claim::ProcessPerClient) || !check.has(Claim::Broadcast))
}

/// A client named `name` that does not read while `speaker`, or on a wire without broadcast it
/// itself, says more than the sockets between them hold: its sender is blocked. Returns what it has
/// still to hear.
pub(super) fn blocked_client(
    check: &Check,
    server: &Server,
    speaker: &mut Client,
    name: &str,
) -> Step<(Client, Cluster, Vec<u8>)> {
    let (mut client, cluster) = server.join_with_cluster(name)?;
    // More than the largest send buffers of today's systems (Linux: tcp_wmem, 4 MiB), twice for
    // both ways.
    let said = lines(
        "for a client that does not read",
        if check.has(Claim::Broadcast) { 8_000 } else { 16_000 },
        1024,
    )
    .concat();
    if check.has(Claim::Broadcast) {
        speaker.barrier()?;
        speaker.queue(&said);
        speaker.hears_bytes(&said)?;
        // The speaker has heard all of it, so it is in the log; the sender writes until it can't.
    } else {
        // Not once, but until the system takes no more: buffers grow as they are used.
        says_until_the_server_waits(check, server, &mut client, &said)?;
    }
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

/// `client` says `said` and reads nothing until the server takes no more of it, or has taken all: what
/// comes back has then filled whatever the server sends with.
pub(super) fn says_until_the_server_waits(
    check: &Check,
    server: &Server,
    client: &mut Client,
    said: &[u8],
) -> Outcome {
    /// Bytes come through the loopback device in far less.
    const STANDSTILL: Duration = Duration::from_millis(100);
    client.say_without_reading(said);
    let mut still_since = Instant::now();
    // How a server that never waits goes on is told by what the client then hears.
    let _waits = check.reaches(Duration::from_secs(10), || {
        let works = |process: &Process| process.state == platform::State::Active;
        if client.sends_on() || server.processes()?.iter().any(works) {
            still_since = Instant::now();
        }
        Ok(still_since.elapsed() >= STANDSTILL)
    })?;
    Ok(())
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
    let (mut windows, mut spoiled) = (0, 0);
    while windows < 4 {
        let begin = Instant::now();
        check.let_pass(WINDOW);
        let lasted = begin.elapsed();
        let now = used()?;
        // While the machine stands still nobody uses anything.
        if lasted > WINDOW + WINDOW / 5 && spoiled < 8 {
            spoiled += 1;
            last = now;
            continue;
        }
        windows += 1;
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

/// Lets a process have no descriptor more than it has; returns what its limit was. Below what it has,
/// poll(2) of all that would fail too, with EINVAL.
pub(super) fn take_descriptors(check: &Check, pid: i32) -> Result<u64, String> {
    const A_WHILE: Duration = Duration::from_millis(100);
    let mut limit = platform::next_descriptor(pid)?;
    let before = platform::limit_descriptors_of(pid, limit)?;
    // Whoever was served a moment ago may have left one that is closed now.
    loop {
        check.let_pass(check.scaled(A_WHILE));
        let now = platform::next_descriptor(pid)?;
        if now >= limit {
            return Ok(before);
        }
        limit = now;
        platform::limit_descriptors_of(pid, limit)?;
    }
}

/// Waits until the processes of `cluster` are gone, zombies included.
pub(super) fn cluster_is_gone(
    check: &Check,
    server: &Server,
    cluster: &Cluster,
    after: &str,
) -> Outcome {
    let left = || -> Step<Vec<String>> {
        Ok(server
            .processes()?
            .iter()
            .filter(|process| cluster.pids().contains(&process.pid))
            .map(|process| format!("{} {} ({})", process.name, process.pid, process.state.word()))
            .collect())
    };
    check.until(
        Duration::from_secs(1),
        &format!("the client's processes are gone 1 s after {after}"),
        || Ok(left()?.is_empty()),
        || format!("left: {}", left().unwrap_or_default().join(", ")),
    )
}
