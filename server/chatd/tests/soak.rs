//! Hours of trouble: clients that come, speak and go, roles that are killed or stopped, a daemon that
//! is killed and started again, strangers all the while. Ignored by default: `.ci/soak` runs it.
//!
//! Whoever stayed must have heard the log from some line on, byte for byte, to its end: so every line
//! came once, whole, and in one order.

#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use memchr::memmem;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "common/mod.rs"]
#[allow(dead_code, reason = "it waits in another way")]
mod common;

use common::{KEY, private};

const CLIENTS: usize = 64;
/// Between two murders, and between two ends of the daemon.
const ROLE: Duration = Duration::from_secs(10);
const DAEMON: Duration = Duration::from_secs(60);
/// How long a stopped process stands still.
const STILL: Duration = Duration::from_secs(2);
/// Strangers a second.
const STRANGERS: u64 = 200;
/// The server holds an unfinished line back for a tenth of a second of silence, or for a second where
/// it was cut off a burst. Of a client that did not come to its processor for so long, a line may be in
/// pieces.
const SLOW: Duration = Duration::from_millis(50);
/// How long a client waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that nobody needs to guess: xorshift64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Where things go wrong on purpose, clients may lose their connection.
#[derive(Default)]
struct Trouble {
    over: AtomicBool,
    /// How often a process of a client's was killed.
    murders: AtomicU64,
    losses: AtomicU64,
    refused: AtomicU64,
    joins: AtomicU64,
    strangers: AtomicU64,
    /// From an attempt to join to its own line.
    slowest_join: AtomicU64,
    /// From saying a line to hearing it, in microseconds.
    delays: Mutex<Vec<u64>>,
    /// When a daemon was away.
    away: Mutex<Vec<(Instant, Instant)>>,
}

impl Trouble {
    fn was_away(&self, from: Instant, to: Instant) -> bool {
        self.away.lock().unwrap().iter().any(|&(begin, end)| begin <= to && from <= end)
    }
}

/// What one connection has said and heard.
struct Told {
    said: Vec<Vec<u8>>,
    heard: Vec<u8>,
    /// The lines between whose pieces it was slow.
    slow: Vec<usize>,
    /// It was there at the end, and had half-closed and been served to the last byte.
    stayed: bool,
}

struct Daemon(Child);

impl Daemon {
    fn start(dir: &Path, address: &str) -> Self {
        let _ = std::fs::remove_file(dir.join("ready"));
        let messages =
            std::fs::File::options().create(true).append(true).open(dir.join("messages")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_chatd"))
            .current_dir(dir)
            .args(["--allow-root", "--key-file", "key", "--log", "log", "--replay", "0"])
            .args(["--ready-file", "ready", "--max-clients", "128", "--listen", address])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(messages)
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while std::fs::read_to_string(dir.join("ready")).map_or(true, |text| text.is_empty()) {
            let ended = child.try_wait().unwrap();
            if ended.is_some() || begin.elapsed() >= PATIENCE {
                let messages = std::fs::read_to_string(dir.join("messages")).unwrap_or_default();
                let last = messages.lines().last();
                panic!("the daemon does not start: {ended:?}; it says last {last:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(child)
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

/// Id, parent, state and resident KiB of each process called chatd.
fn processes() -> Vec<(i32, i32, String, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().next()?.to_owned())
        };
        let (Some(name), Some(parent), Some(state)) =
            (field("Name:"), field("PPid:"), field("State:"))
        else {
            continue;
        };
        if name.starts_with("chatd") {
            let resident = field("VmRSS:").and_then(|text| text.parse().ok()).unwrap_or(0);
            found.push((pid, parent.parse().unwrap_or(0), state, resident));
        }
    }
    found
}

fn descendants(of: i32) -> Vec<(i32, i32, String, u64)> {
    let all = processes();
    let mut found: Vec<(i32, i32, String, u64)> = Vec::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        for process in all.iter().filter(|process| process.1 == parent) {
            parents.push(process.0);
            found.push(process.clone());
        }
    }
    found
}

/// A line that tells whose it is, which, and whether it is whole.
fn line_of(client: &str, number: usize, dice: &mut Dice) -> Vec<u8> {
    let length = 1 + dice.roll(60) as usize;
    let text: String = (0..length).map(|_| char::from(b'a' + dice.roll(26) as u8)).collect();
    format!("{client} {number} {length} {text}\n").into_bytes()
}

/// Client, number; none of what is no whole line of a client's.
fn parsed(line: &[u8]) -> Option<(&str, usize)> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut words = text.split(' ');
    let (client, number, length) = (words.next()?, words.next()?, words.next()?);
    let text = words.next()?;
    (text.len() == length.parse::<usize>().ok()? && words.next().is_none())
        .then_some((client, number.parse().ok()?))
}

/// Joins, talks until it is over or its connection is lost, and comes again.
fn client(number: usize, address: &str, trouble: &Trouble) -> Vec<(String, Told)> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ ((number as u64 + 1) << 17));
    let mut all = Vec::new();
    let mut life = 0;
    while !trouble.over.load(Ordering::Relaxed) {
        let name = format!("c{number}.{life}");
        life += 1;
        let begin = Instant::now();
        let murders = trouble.murders.load(Ordering::Relaxed);
        let mut told =
            Told { said: Vec::new(), heard: Vec::new(), slow: Vec::new(), stayed: false };
        let joined = TcpStream::connect(address).ok().and_then(|mut stream| {
            stream.write_all(&KEY).ok()?;
            stream.set_nodelay(true).ok()?;
            stream.set_read_timeout(Some(Duration::from_millis(20))).ok()?;
            talk(&mut stream, &name, &mut told, &mut dice, trouble)
        });
        let was_in = memmem::find(&told.heard, name.as_bytes()).is_some();
        if was_in {
            trouble.joins.fetch_add(1, Ordering::Relaxed);
        }
        if joined.is_none() {
            let excused = trouble.was_away(begin, Instant::now())
                || trouble.murders.load(Ordering::Relaxed) > murders;
            if was_in {
                trouble.losses.fetch_add(1, Ordering::Relaxed);
            } else if !excused {
                trouble.refused.fetch_add(1, Ordering::Relaxed);
                eprintln!("{name} was refused");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        all.push((name, told));
    }
    all
}

/// None when the connection was lost.
fn talk(
    stream: &mut TcpStream,
    name: &str,
    told: &mut Told,
    dice: &mut Dice,
    trouble: &Trouble,
) -> Option<()> {
    let mut buffer = [0; 64 * 1024];
    let begin = Instant::now();
    let mut next = Instant::now();
    // The line that has not come back yet, where to look for it, and since when.
    let mut waits: Option<(Vec<u8>, usize, Instant)> = None;
    loop {
        let over = trouble.over.load(Ordering::Relaxed);
        if over && waits.is_none() {
            break;
        }
        if !over && waits.is_none() && Instant::now() >= next {
            let line = line_of(name, told.said.len(), dice);
            told.said.push(line.clone());
            waits = Some((line.clone(), told.heard.len(), Instant::now()));
            let mut rest = &line[..];
            let mut before = Instant::now();
            while !rest.is_empty() {
                let piece = 1 + dice.roll(rest.len() as u64) as usize;
                stream.write_all(&rest[..piece]).ok()?;
                rest = &rest[piece..];
                if before.elapsed() > SLOW {
                    told.slow.push(told.said.len() - 1);
                    waits = None;
                }
                before = Instant::now();
                if !rest.is_empty() {
                    std::thread::sleep(Duration::from_millis(dice.roll(20)));
                }
            }
            next = Instant::now() + Duration::from_millis(200 + dice.roll(1600));
        }
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => told.heard.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return None,
        }
        if let Some((line, from, since)) = &waits {
            if memmem::find(&told.heard[*from..], line).is_some() {
                let delay = since.elapsed().as_micros() as u64;
                if told.said.len() == 1 {
                    let whole = begin.elapsed().as_micros() as u64;
                    trouble.slowest_join.fetch_max(whole, Ordering::Relaxed);
                } else {
                    trouble.delays.lock().unwrap().push(delay);
                }
                waits = None;
            } else if since.elapsed() > PATIENCE {
                // Found again in the log, or the run fails.
                eprintln!("{name}: its line did not come back within {PATIENCE:?}");
                return None;
            }
        }
    }
    // To the last byte: the server closes when it has sent everything.
    stream.shutdown(Shutdown::Write).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => told.heard.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    told.stayed = true;
    Some(())
}

/// One connection without the key, of the kind that its number says; those that hold theirs are kept.
fn stranger(address: &str, number: u64, held: &mut Vec<TcpStream>) {
    let Ok(mut stream) = TcpStream::connect(address) else { return };
    let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
    match number % 10 {
        // Silent, and there.
        0 => held.push(stream),
        // Gone at once.
        1 => drop(stream),
        // The wrong key.
        2 => drop(stream.write_all(&[b'x'; 128])),
        // All but the last byte, and there.
        3 => {
            let _ = stream.write_all(&KEY[..127]);
            held.push(stream);
        }
        // Another protocol's words.
        4 => drop(stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
        // TLS.
        5 => drop(stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")),
        // More than anybody reads.
        6 => drop(stream.write_all(&[0xff; 256 * 1024])),
        // Closed in one direction, and there.
        7 => {
            let _ = stream.shutdown(Shutdown::Write);
            held.push(stream);
        }
        // A reset with bytes under way.
        8 => {
            let _ = stream.write_all(&KEY[..64]);
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            let _ =
                nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger);
        }
        // Byte by byte, each in a segment of its own.
        _ => {
            let _ = stream.set_nodelay(true);
            for byte in [b'x'; 8] {
                let _ = stream.write_all(&[byte]);
            }
            held.push(stream);
        }
    }
    let excess = held.len().saturating_sub(200);
    held.drain(..excess);
}

/// Paced strangers until it is over.
fn strangers(address: &str, trouble: &Trouble) {
    let begin = Instant::now();
    let mut held = Vec::new();
    let mut number = 0;
    while !trouble.over.load(Ordering::Relaxed) {
        let due = begin + Duration::from_micros(number * 1_000_000 / STRANGERS);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        stranger(address, number, &mut held);
        number += 1;
        trouble.strangers.store(number, Ordering::Relaxed);
    }
}

fn seconds() -> u64 {
    std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// A place to serve at: a port that stays the same when the daemon is started again. It is none of
/// those that the system gives to clients: one of them could have it while the daemon is away.
fn surroundings() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    private(&dir.path().join("key"), &KEY);
    let first = 10_000 + std::process::id() % 20_000;
    let address = (first..30_000)
        .map(|port| format!("127.0.0.1:{port}"))
        .find(|address| std::net::TcpListener::bind(address).is_ok());
    (dir, address.unwrap())
}

#[test]
#[ignore = "takes SOAK_SECONDS (60): .ci/soak"]
fn every_line_once_and_whole_and_in_one_order() {
    // What a killed daemon leaves comes here and can be looked for.
    // SAFETY: takes integers only.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    let (dir, address) = surroundings();
    let trouble = Arc::new(Trouble::default());
    let mut daemon = Daemon::start(dir.path(), &address);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (address, trouble) = (address.clone(), trouble.clone());
            std::thread::spawn(move || client(number, &address, &trouble))
        })
        .collect();
    let outside = {
        let (address, trouble) = (address.clone(), trouble.clone());
        std::thread::spawn(move || strangers(&address, &trouble))
    };
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds());
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let (mut next_role, mut next_daemon) = (begin + ROLE, begin + DAEMON);
    let (mut restarts, mut stops) = (0, 0);
    while Instant::now() < end {
        let next = next_role.min(next_daemon).min(end);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        if Instant::now() >= next_daemon {
            next_daemon += DAEMON;
            restarts += 1;
            let away = Instant::now();
            // Until it is back: whoever joins meanwhile is excused.
            trouble.away.lock().unwrap().push((away, end + DAEMON));
            kill(Pid::from_raw(daemon.pid()), Signal::SIGKILL).unwrap();
            daemon.0.wait().unwrap();
            daemon = Daemon::start(dir.path(), &address);
            trouble.away.lock().unwrap().last_mut().unwrap().1 =
                Instant::now() + Duration::from_secs(1);
        } else if Instant::now() >= next_role {
            next_role += ROLE;
            // Every process but the daemon is a role: of clusters, living and orphaned.
            let own = std::process::id() as i32;
            let roles: Vec<i32> = descendants(own)
                .iter()
                .filter(|process| process.0 != daemon.pid() && !process.2.starts_with('Z'))
                .map(|process| process.0)
                .collect();
            if roles.is_empty() {
                continue;
            }
            let victim = Pid::from_raw(roles[dice.roll(roles.len() as u64) as usize]);
            if dice.roll(2) == 0 {
                trouble.murders.fetch_add(1, Ordering::Relaxed);
                let _ = kill(victim, Signal::SIGKILL);
            } else {
                stops += 1;
                let _ = kill(victim, Signal::SIGSTOP);
                std::thread::sleep(STILL);
                let _ = kill(victim, Signal::SIGCONT);
            }
        }
    }
    let memory: Vec<u64> = processes()
        .iter()
        .filter(|process| process.0 == daemon.pid())
        .map(|process| process.3)
        .collect();
    trouble.over.store(true, Ordering::Relaxed);
    let told: Vec<(String, Told)> =
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    outside.join().unwrap();
    kill(Pid::from_raw(daemon.pid()), Signal::SIGTERM).unwrap();
    assert!(daemon.0.wait().unwrap().success());
    let own = std::process::id() as i32;
    let living = || {
        // Orphans of killed daemons are this process's to reap.
        while nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG))
            .is_ok_and(|status| status.pid().is_some())
        {}
        descendants(own)
    };
    let asked = Instant::now();
    while !living().is_empty() {
        assert!(asked.elapsed() < PATIENCE, "left: {:?}", living());
        std::thread::sleep(Duration::from_millis(10));
    }

    let log = std::fs::read(dir.path().join("log")).unwrap();
    let murders = trouble.murders.load(Ordering::Relaxed);
    let torn = judge(&log, &told);
    let messages = std::fs::metadata(dir.path().join("messages")).unwrap().len();
    let mut delays = std::mem::take(&mut *trouble.delays.lock().unwrap());
    delays.sort_unstable();
    let at = |part: f64| {
        let index = ((delays.len() as f64 * part) as usize).min(delays.len().saturating_sub(1));
        delays.get(index).map_or(0.0, |&micros| micros as f64 / 1e3)
    };
    let stayed = told.iter().filter(|(_, told)| told.stayed).count();
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let slow: usize = told.iter().map(|(_, told)| told.slow.len()).sum();
    println!(
        "{} s: {} lines ({slow} said too slowly to be judged), {} connections, {stayed} stayed to the end; {murders} roles killed, {stops} \
         stopped, {restarts} daemons killed; {} lost; {} strangers; {} joins refused of {}; slowest \
         join {:.0} ms; a line is back after {:.1} ms (half), {:.1} ms (99 %), {:.1} ms (all); {torn} \
         torn lines; daemon's memory {memory:?} KiB; messages {messages} bytes",
        begin.elapsed().as_secs(),
        log.iter().filter(|&&byte| byte == b'\n').count(),
        told.len(),
        load(&trouble.losses),
        load(&trouble.strangers),
        load(&trouble.refused),
        load(&trouble.joins),
        load(&trouble.slowest_join) as f64 / 1e3,
        at(0.5),
        at(0.99),
        at(1.0),
    );
    assert_eq!(load(&trouble.refused), 0, "joins were refused");
    assert!(load(&trouble.losses) <= murders, "connections were lost that nobody had ended");
    assert!(torn as u64 <= murders, "lines were torn whose process nobody had killed");
    assert!(stayed >= CLIENTS * 9 / 10, "only {stayed} stayed");
}

/// Holds what everybody heard against the log. Returns how many lines in it are torn.
fn judge(log: &[u8], told: &[(String, Told)]) -> usize {
    let by_name: HashMap<&str, &Told> =
        told.iter().map(|(name, told)| (name.as_str(), told)).collect();
    let mut last: HashMap<&str, usize> = HashMap::new();
    let mut torn = 0;
    for line in log.split_inclusive(|&byte| byte == b'\n') {
        let known = parsed(line).filter(|(name, number)| {
            by_name
                .get(name)
                .and_then(|told| told.said.get(*number))
                .is_some_and(|said| said == line)
        });
        let Some((name, number)) = known else {
            // The beginning of a line whose process was killed, with an end of its own.
            let start = &line[..line.len() - usize::from(line.ends_with(b"\n"))];
            let is_piece = told.iter().any(|(_, told)| {
                let mut slow = told.slow.iter().map(|&number| &told.said[number]);
                slow.any(|said| memmem::find(said, start).is_some())
            });
            if is_piece {
                continue;
            }
            let is_start = told
                .iter()
                .filter(|(_, told)| !told.stayed)
                .any(|(_, told)| told.said.last().is_some_and(|said| said.starts_with(start)));
            assert!(is_start, "nobody said {:?}", String::from_utf8_lossy(line));
            torn += 1;
            continue;
        };
        let told = by_name[name];
        let mut expected = last.get(name).map_or(0, |last| last + 1);
        while expected < number && told.slow.contains(&expected) {
            expected += 1;
        }
        assert_eq!(number, expected, "{name}'s lines are twice there, or out of order, or missing");
        last.insert(name, number);
    }
    for (name, told) in told {
        let mut in_log = last.get(name.as_str()).map_or(0, |last| last + 1);
        while told.slow.contains(&in_log) {
            in_log += 1;
        }
        if told.stayed {
            assert_eq!(in_log, told.said.len(), "{name} said a line that is not in the log");
        }
        if told.heard.is_empty() {
            continue;
        }
        // Where it begins, what it heard is the log; for those that stayed, to its end or to a line
        // that somebody said later.
        let first = told.heard.split_inclusive(|&byte| byte == b'\n').next().unwrap();
        let start = memmem::find(log, first)
            .unwrap_or_else(|| panic!("{name} heard {:?}", String::from_utf8_lossy(first)));
        assert!(start == 0 || log[start - 1] == b'\n', "{name} began within a line");
        let heard = &log[start..(start + told.heard.len()).min(log.len())];
        let differs = heard.iter().zip(&told.heard).position(|(a, b)| a != b);
        assert!(
            differs.is_none() && heard.len() == told.heard.len(),
            "{name} heard something else than the log from byte {differs:?} on"
        );
    }
    torn
}

#[test]
#[ignore = "takes a minute or two: .ci/soak"]
fn ten_thousand_hostile_connections_cost_nothing() {
    let (dir, address) = surroundings();
    let mut daemon = Daemon::start(dir.path(), &address);
    let memory = |pid: i32| {
        processes().iter().find(|process| process.0 == pid).map_or(0, |process| process.3)
    };
    let mut held = Vec::new();
    let mut warm = 0;
    let begin = Instant::now();
    for number in 0..10_000 {
        stranger(&address, number, &mut held);
        if number == 1000 {
            warm = memory(daemon.pid());
        }
    }
    let took = begin.elapsed();
    let after = memory(daemon.pid());
    // Every place is there for those who have the key, with the strangers still holding theirs.
    let mut clients = Vec::new();
    let mut slowest = Duration::ZERO;
    for number in 0..128 {
        let joining = Instant::now();
        let mut client = TcpStream::connect(&address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(&KEY).unwrap();
        let line = format!("joins {number}\n").into_bytes();
        client.write_all(&line).unwrap();
        let mut heard = Vec::new();
        let mut byte = [0; 256];
        while !heard.ends_with(&line) {
            let count = client.read(&mut byte).unwrap();
            assert!(count > 0, "client {number} is refused");
            heard.extend_from_slice(&byte[..count]);
        }
        slowest = slowest.max(joining.elapsed());
        clients.push(client);
    }
    drop((held, clients));
    let gone = Instant::now();
    while !descendants(daemon.pid()).is_empty() {
        assert!(gone.elapsed() < PATIENCE, "left: {:?}", descendants(daemon.pid()));
        std::thread::sleep(Duration::from_millis(10));
    }
    kill(Pid::from_raw(daemon.pid()), Signal::SIGTERM).unwrap();
    assert!(daemon.0.wait().unwrap().success());
    let messages = std::fs::metadata(dir.path().join("messages")).unwrap().len();
    println!(
        "10,000 strangers of ten kinds in {:.1} s; 128 of 128 joins, the slowest {:.0} ms; the \
         daemon's memory {warm} KiB after 1,000 and {after} KiB after all; messages {messages} bytes",
        took.as_secs_f64(),
        slowest.as_secs_f64() * 1e3,
    );
    assert!(after <= warm + 256, "{warm} KiB, then {after} KiB");
    assert!(messages < 256 * 1024, "{messages} bytes of messages");
}
