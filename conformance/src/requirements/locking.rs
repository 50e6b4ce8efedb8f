//! locking/ : the chat log under flock, and what an open file description shares.
//!
//! One file however long, as each area's: the code of an id is found by its area.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, fork, pause};

use super::situations::{blocked_client, lines, remembered};
use crate::harness::{Check, Client, Cluster, LockMode, Options, Server, lock_waiters};
use crate::needs::Need;
use crate::platform::{self, Lock};
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{OrError, Outcome, Step, Stop, ensure, fail};
use crate::subject::Claim;
use forkproof_report::Level;

/// Why [`posix-flock`](crate::personality) loses nothing to others on FreeBSD.
const ONE_KIND: &str = "locks of flock(2) and fcntl(2) keep each other out there";

pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "locking/appends-are-whole",
        title: "What many clients say at once is in the log once each, every line unbroken",
        level: Level::Must,
        clause: "POSIX.1-2024, open: O_APPEND sets the offset to the end before each write, with no intervening change",
        trap: "no O_APPEND and a private or stale offset: two writers overwrite each other; or no lock at all",
        fix: "open the log with O_APPEND in every process that writes, and append under an exclusive lock",
        references: &[],
        needs: &[],
        claims: &[Claim::ChatLog],
        controls: Controls::By(&[
            by("no-append", "hear"),
            by("append-by-seek,flock-does-nothing=exclusive", "hear"),
        ]),
        exclusive: false,
        check: appends_are_whole,
    },
    Requirement {
        id: "locking/long-appends-are-whole",
        title: "Messages of 20 kB from many clients do not interleave",
        level: Level::Should,
        clause: "flock(2); POSIX.1-2024, write: nothing promises that several writes stay together",
        trap: "the network delivers a long message in pieces, and each piece is appended as it comes: other messages get in between",
        fix: "collect a message to its end, then write it under one exclusive lock",
        references: &[],
        needs: &[],
        claims: &[Claim::ChatLog, Claim::WholeLines],
        controls: Controls::By(&[by("no-append", "hear")]),
        exclusive: false,
        check: long_appends_are_whole,
    },
    Requirement {
        id: "locking/writer-waits-for-exclusive",
        title: "While another program holds the log exclusively nothing is appended, no processor time is burnt, and all is delivered after release",
        level: Level::Must,
        clause: "flock(2): LOCK_EX waits while any other lock is held",
        trap: "no lock before the append, or LOCK_NB polled in a loop",
        fix: "take LOCK_EX, waiting, before each append",
        references: &[],
        needs: &[Need::ProcessTable, Need::ProcessorTime],
        claims: &[Claim::LogLock, Claim::ProcessPerClient],
        controls: Controls::By(&[
            by("flock-does-nothing", "the line is in the log"),
            by("spinning-lock", "it polls instead of waiting"),
            by("posix-flock", "the line is in the log").but_not_on("freebsd", ONE_KIND),
        ]),
        exclusive: false,
        check: writer_waits_for_exclusive,
    },
    Requirement {
        id: "locking/writer-waits-for-shared",
        title: "While another program holds the log shared nothing is appended, and all is delivered after release",
        level: Level::Must,
        clause: "flock(2): an exclusive lock excludes shared ones",
        trap: "writers that take a shared lock, or none: a backup program that reads under LOCK_SH sees half a line",
        fix: "writers take LOCK_EX",
        references: &[],
        needs: &[Need::ProcessTable, Need::ProcessorTime],
        claims: &[Claim::LogLock, Claim::ProcessPerClient],
        controls: Controls::By(&[
            by("flock-does-nothing", "the line is in the log"),
            by("posix-flock", "the line is in the log").but_not_on("freebsd", ONE_KIND),
        ]),
        exclusive: false,
        check: writer_waits_for_shared,
    },
    Requirement {
        id: "locking/reader-waits-for-exclusive",
        title: "While another program holds the log exclusively nothing is read from it",
        level: Level::Must,
        clause: "flock(2): LOCK_SH waits while another holds LOCK_EX",
        trap: "readers without a lock send out what a writer has not finished, or has yet to take back",
        fix: "read under LOCK_SH",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::LogLock, Claim::MulticastSignal],
        controls: Controls::By(&[by(
            "flock-does-nothing=shared",
            "written under the other program's lock",
        )]),
        exclusive: false,
        check: reader_waits_for_exclusive,
    },
    Requirement {
        id: "locking/readers-share",
        title: "Another program's shared lock does not stop delivery",
        level: Level::Must,
        clause: "flock(2): any number of processes may hold LOCK_SH at a time",
        trap: "readers that take LOCK_EX: one reader at a time, and a program that only looks stops the chat",
        fix: "read under LOCK_SH",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::LogLock, Claim::MulticastSignal],
        controls: Controls::By(&[by("shared-as-exclusive", "read it while I look")]),
        exclusive: false,
        check: readers_share,
    },
    Requirement {
        id: "locking/clients-exclude-each-other",
        title: "While one client's receiver is stopped in the middle of its append, no other appends",
        level: Level::Must,
        clause: "flock(2): locks belong to open file descriptions; descriptors that came through fork refer to the same one",
        trap: "the log was opened before fork: all processes share one open file description, and its flock excludes none of them (it still excludes other programs, so the mistake is easily missed)",
        fix: "open the log in each process, after fork",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::LogLock, Claim::ProcessPerClient],
        // With one lock for all, whoever releases it releases it for the one that appends.
        controls: Controls::By(&[by(
            "shared-description",
            "bob's line is in the log|holds the log exclusively",
        )]),
        exclusive: false,
        check: clients_exclude_each_other,
    },
    Requirement {
        id: "locking/private-read-position",
        title: "Many clients that read at once each get their own bytes: nothing lost, repeated or swapped",
        level: Level::Must,
        clause: "POSIX.1-2024, fork: the child's descriptors share file offsets with the parent's; pread does not use them",
        trap: "an open file description shared through fork has one offset: a read by one sender moves it for all",
        fix: "open the log in each process, or read with pread at a position of one's own",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::ChatLog],
        controls: Controls::By(&[by("shared-description,pread-as-read", "hears")]),
        exclusive: false,
        check: private_read_position,
    },
    Requirement {
        id: "locking/lock-freed-by-death",
        title: "SIGKILL of whoever holds the lock lets the others go on",
        level: Level::Must,
        clause: "flock(2): the lock is released when the last descriptor of its open file description is closed, by exit too",
        trap: "lock files or semaphores that a killed process leaves behind; or the lock's open file description shared with a process that lives on",
        fix: "use flock on a descriptor that no other process has",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::LogLock, Claim::ProcessPerClient],
        controls: Controls::By(&[by(
            "lock-outlives-death",
            "held the lock|holds the log exclusively",
        )]),
        exclusive: false,
        check: lock_freed_by_death,
    },
    Requirement {
        id: "locking/idle-holds-no-lock",
        title: "An idle server leaves the log unlocked",
        level: Level::Must,
        clause: "flock(2): a lock is held until it is released or its open file description closed",
        trap: "a lock taken at the start, or kept while waiting for a signal or a client: backup and rotation wait for ever",
        fix: "hold the lock for the one read or write only",
        references: &[],
        needs: &[],
        claims: &[Claim::Replay, Claim::ChatLog],
        controls: Controls::By(&[by("never-unlocks=shared", "lock")]),
        exclusive: false,
        check: idle_holds_no_lock,
    },
    Requirement {
        id: "locking/slow-client-holds-no-lock",
        title: "A client that stops reading holds nobody up",
        level: Level::Must,
        clause: "flock(2); POSIX.1-2024, send: waits when there is no room",
        trap: "the shared lock is held while writing to the socket: one client that does not read keeps all writers from the log",
        fix: "copy what was read, release the lock, then write to the socket",
        references: &[],
        needs: &[Need::ProcessTable, Need::ProcessorTime],
        claims: &[Claim::ChatLog, Claim::ProcessPerClient],
        controls: Controls::By(&[by(
            "lock-held-over-write",
            "for a client that does not read|keeps the log locked",
        )]),
        exclusive: false,
        check: slow_client_holds_no_lock,
    },
    Requirement {
        id: "locking/lock-not-lost-by-close",
        title: "The lock of an append is a flock, which closing another descriptor of the log does not drop",
        level: Level::Must,
        clause: "flock(2) against POSIX.1-2024, close: all fcntl() locks of the process on the file are removed when any descriptor of it is closed",
        trap: "flock emulated by fcntl record locks (Solaris, some compatibility libraries, NFS on old Linux): a library that opens and closes the log drops the lock unseen",
        fix: "use the system's flock, or open file description locks (POSIX.1-2024, F_OFD_SETLK)",
        references: &[],
        needs: &[Need::ProcessTable, Need::LockTable],
        claims: &[Claim::LogLock, Claim::ProcessPerClient],
        // Where both kinds of locks exclude each other (FreeBSD), it is the kind that tells.
        controls: Controls::By(&[by(
            "posix-flock",
            "holds the log exclusively while it appends|the lock that keeps others out",
        )]),
        exclusive: false,
        check: lock_not_lost_by_close,
    },
    Requirement {
        id: "locking/log-rotated",
        title: "When the log is renamed, and created anew by the next append, nothing is lost",
        level: Level::Should,
        clause: "POSIX.1-2024, rename: open descriptors stay with the renamed file; logrotate(8)",
        trap: "writers go on in the old file and readers wait for it, or some change and some don't: the chat splits",
        fix: "while holding the lock, check that the name still refers to the open file, and reopen it if not",
        references: &[],
        needs: &[],
        claims: &[Claim::LogRotation],
        controls: Controls::By(&[by("stale-paths", "creates the log anew")]),
        exclusive: false,
        check: log_rotated,
    },
    Requirement {
        id: "locking/one-daemon-per-log",
        title: "A second daemon on the same log shares it correctly, or refuses to start and says why",
        level: Level::Should,
        clause: "POSIX.1-2024, kill: a process group is one daemon's; the other daemon's clients are in another",
        trap: "two daemons append to one log and each wakes its own clients only: half of the chat comes late",
        fix: "wake every process that serves the log, or lock it against a second daemon",
        references: &[],
        needs: &[],
        claims: &[Claim::ChatLog],
        controls: Controls::By(&[by("record-locks-unseen", "\"from the ")]),
        exclusive: false,
        check: one_daemon_per_log,
    },
];

fn appends_are_whole(check: &mut Check) -> Outcome {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 100;
    check.act();
    let server = check.server()?;
    let before: Vec<i32> =
        server.processes().unwrap_or_default().iter().map(|process| process.pid).collect();
    let mut crowd = server.crowd(CLIENTS)?;
    let mut writers: Vec<i32> =
        server.processes().unwrap_or_default().iter().map(|process| process.pid).collect();
    writers.retain(|pid| !before.contains(pid));
    // Between the end that a writer looks for and the end that its write makes there are
    // microseconds, more for a long line. So all write at the same moment, again and again.
    let length = if check.has(Claim::WholeLines) { 8_000 } else { 500 };
    let mut said = lines("line", ROUNDS * CLIENTS, length);
    said.extend(lines("in a row", ROUNDS * CLIENTS, 80));
    let (one_by_one, in_a_row) = said.split_at(ROUNDS * CLIENTS);
    for round in one_by_one.chunks(CLIENTS) {
        let length = log_length(&server)? + round.iter().map(Vec::len).sum::<usize>() as u64;
        server.at_once(&writers, || {
            for (client, line) in crowd.clients.iter_mut().zip(round) {
                client.queue(line);
            }
            Ok(())
        })?;
        // Until all of it is there. What never comes, the clients miss.
        let is_there = check.reaches(Duration::from_secs(5), || {
            crowd.wait(Duration::from_millis(1), |_| false)?;
            Ok(log_length(&server)? >= length)
        })?;
        if !is_there {
            crowd.hear_everything_in_one_order(one_by_one)?;
            return log_holds_each_once(&server, one_by_one);
        }
    }
    for (client, part) in crowd.clients.iter_mut().zip(in_a_row.chunks(in_a_row.len() / CLIENTS)) {
        for line in part {
            client.queue(line);
        }
    }
    crowd.hear_everything_in_one_order(&said)?;
    log_holds_each_once(&server, &said)
}

fn log_length(server: &Server) -> Step<u64> {
    Ok(std::fs::metadata(server.log()).or_error(server.log().display())?.len())
}

fn long_appends_are_whole(check: &mut Check) -> Outcome {
    check.act();
    let server = check.server()?;
    let mut crowd = server.crowd(4)?;
    let said = lines("long", 48, 20_000);
    for (client, part) in crowd.clients.iter_mut().zip(said.chunks(12)) {
        client.queue(&part.concat());
    }
    crowd.hear_everything_in_one_order(&said)?;
    log_holds_each_once(&server, &said)
}

/// Fails unless the log, barriers aside, is a permutation of `said`.
fn log_holds_each_once(server: &Server, said: &[Vec<u8>]) -> Outcome {
    let log = server.log_content()?;
    let mut found: Vec<&[u8]> = log
        .split_inclusive(|&byte| byte == b'\n')
        .filter(|line| !line.starts_with(b"=barrier"))
        .collect();
    let mut expected: Vec<&[u8]> = said.iter().map(Vec::as_slice).collect();
    found.sort_unstable();
    expected.sort_unstable();
    let different = found.iter().zip(&expected).find(|(found, expected)| found != expected);
    ensure(
        found == expected,
        format!("the log holds each of the {} lines once, unbroken", expected.len()),
        || match different {
            Some((found, _)) => format!("the log holds {}", crate::harness::excerpt(found)),
            None => format!("the log holds {} lines", found.len()),
        },
    )
}

fn writer_waits_for_exclusive(check: &mut Check) -> Outcome {
    writer_waits(check, LockMode::Exclusive)
}

fn writer_waits_for_shared(check: &mut Check) -> Outcome {
    writer_waits(check, LockMode::Shared)
}

fn writer_waits(check: &mut Check, mode: LockMode) -> Outcome {
    const WATCHED: Duration = Duration::from_millis(300);
    let server = check.server()?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    let mut bob = server.join("bob")?;
    let held = check.lock(server.log(), mode)?;
    let before = server.log_content()?.len();
    let used_before = server.ask(cluster.receiver, platform::processor_time)?;
    alice.say("said while the log was locked")?;
    check.throughout(
        WATCHED,
        &format!("nothing is appended while another program holds {mode} lock on the log"),
        || Ok(server.log_content()?.len() == before),
        || "the line is in the log".into(),
    )?;
    let used = server.ask(cluster.receiver, platform::processor_time)? - used_before;
    let used = Duration::from_nanos(used);
    // It was watched for so long; reading one message takes its time too.
    let watched = check.scaled(WATCHED);
    ensure(used < watched / 50, "a writer that waits for the lock uses no processor time", || {
        format!("the receiver used {used:.1?} in {watched:.1?}: it polls instead of waiting")
    })?;
    drop(held);
    bob.hears("said while the log was locked")?;
    alice.barrier()
}

/// Appends to the log as another program would, and makes every sender look.
fn append_from_outside(server: &Server, line: &[u8], senders: &[&Cluster]) -> Outcome {
    server
        .as_owner(|log| OpenOptions::new().append(true).open(log)?.write_all(line))?
        .or_error(server.log().display())?;
    for cluster in senders {
        server.signal(cluster.sender, Signal::SIGUSR1)?;
    }
    Ok(())
}

fn reader_waits_for_exclusive(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    let held = check.lock(server.log(), LockMode::Exclusive)?;
    append_from_outside(&server, b"not finished yet\n", &[&cluster])?;
    check.throughout(
        Duration::from_millis(300),
        "nothing is read while another program holds the log exclusively",
        || Ok(alice.heard_so_far().is_empty()),
        || "alice hears what was written under the other program's lock".into(),
    )?;
    drop(held);
    alice.hears("not finished yet")
}

fn readers_share(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    let held = check.lock(server.log(), LockMode::Shared)?;
    append_from_outside(&server, b"read it while I look\n", &[&cluster])?;
    alice.hears("read it while I look")?;
    drop(held);
    Ok(())
}

/// Makes `client` talk without a pause and stops its receiver in the middle of an append: stopped, and
/// the log is locked exclusively. It is made to wait for the lock, and stopped as soon as it may have
/// it: whoever has been granted a lock comes out of flock before a signal acts.
fn catch_in_append(
    check: &Check,
    server: &Server,
    client: &mut Client,
    cluster: &Cluster,
) -> Outcome {
    /// How long it may take to come to the lock.
    const COMES: Duration = Duration::from_millis(500);
    // Chance decides, so this is no limit of the server's: a control's short ones do not count.
    const PATIENCE: Duration = Duration::from_secs(10);
    let deadline = Instant::now() + check.scaled(PATIENCE).max(PATIENCE);
    let said = lines("talk", 250, 8 * 1024).concat();
    let tells_waiters = platform::lock_waiters(0).is_ok();
    let mut tries = 0;
    while Instant::now() < deadline {
        tries += 1;
        let held = server.try_lock(LockMode::Shared)?;
        if client.all_sent() {
            client.say_without_reading(&said);
        } else {
            client.sends_on();
        }
        let waiters = || lock_waiters(server.log()).unwrap_or_default();
        if held.is_some() && tells_waiters {
            check.reaches(COMES, || Ok(!waiters().is_empty()))?;
            let waiters = waiters();
            if !waiters.is_empty() && !waiters.iter().any(|pid| cluster.pids().contains(pid)) {
                return Err(Stop::Unsupported(format!(
                    "another process than the client's appends what it says: {}",
                    waiters[0]
                )));
            }
        } else if held.is_some() {
            check.let_pass(Duration::from_millis(5));
        }
        drop(held);
        server.freeze(cluster.receiver)?;
        // Readers of the server itself only share, so a shared lock that cannot be had means that
        // a writer is in its critical section, and the one writer there is stands still. Looked at
        // twice: the kernel may still be granting the lock.
        let locked = || -> Step<bool> { Ok(server.try_lock(LockMode::Shared)?.is_none()) };
        if locked()? && locked()? {
            check.note(format!(
                "receiver {} is stopped in its append, try {tries}",
                cluster.receiver
            ));
            return Ok(());
        }
        server.signal(cluster.receiver, Signal::SIGCONT)?;
        client.heard_so_far();
    }
    fail(
        "a receiver holds the log exclusively while it appends",
        format!("stopped {tries} times while its client talked, it never did"),
    )
}

fn clients_exclude_each_other(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let (mut alice, first) = server.join_with_cluster("alice")?;
    let (mut bob, second) = server.join_with_cluster("bob")?;
    catch_in_append(check, &server, &mut alice, &first)?;
    let before = server.log_content()?.len();
    bob.say("bob waits his turn")?;
    // Where the system tells who waits, the wait itself is seen; then and elsewhere, that nothing
    // is appended.
    let mut waits = false;
    check.throughout(
        Duration::from_millis(400),
        "while one receiver is stopped in its append, no other appends",
        || {
            waits |= lock_waiters(server.log()).is_ok_and(|pids| pids.contains(&second.receiver));
            Ok(server.log_content()?.len() == before)
        },
        || "bob's line is in the log although alice's receiver holds the lock".into(),
    )?;
    if platform::lock_waiters(0).is_ok() {
        ensure(waits, "bob's receiver waits for the lock", || {
            format!("receiver {} was never seen waiting", second.receiver)
        })?;
    }
    server.signal(first.receiver, Signal::SIGCONT)?;
    finish_talking(&mut alice)?;
    hears_line_among_others(check, &mut bob, b"bob waits his turn\n")
}

/// Waits until everything that `client` has queued is in the chat.
fn finish_talking(client: &mut Client) -> Outcome {
    client.barrier()
}

fn hears_line_among_others(check: &Check, client: &mut Client, line: &[u8]) -> Outcome {
    check.until(
        Duration::from_secs(10),
        &format!("{} hears {}", client.name.clone(), crate::harness::excerpt(line)),
        || Ok(client.heard_so_far().split_inclusive(|&byte| byte == b'\n').any(|l| l == line)),
        || "the client does not hear the line".into(),
    )
}

fn private_read_position(check: &mut Check) -> Outcome {
    let history = lines("history", 3_000, 100);
    let log = check.log_path()?;
    check.lay(&log, &history.concat())?;
    let server = check.server_with(Options::new().replay(2_000))?;
    let mut clients: Vec<Client> =
        (0..16).map(|n| server.enter(&format!("client-{n}"))).collect::<Result<_, _>>()?;
    let expected = history[1_000..].concat();
    for client in &mut clients {
        client.hears_bytes(&expected)?;
    }
    for round in 0..10 {
        let line = format!("and now {round}");
        clients[round].say(&line)?;
        for client in &mut clients {
            client.hears(&line)?;
        }
    }
    Ok(())
}

fn lock_freed_by_death(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    let mut bob = server.join("bob")?;

    let holder = locking_process(check, server.log())?;
    bob.say("said while a program that will be killed held the lock")?;
    server.signal(holder, Signal::SIGKILL)?;
    hears_line_among_others(
        check,
        &mut bob,
        b"said while a program that will be killed held the lock\n",
    )?;

    catch_in_append(check, &server, &mut alice, &cluster)?;
    bob.say("said while a stopped receiver held the lock")?;
    server.signal(cluster.receiver, Signal::SIGKILL)?;
    hears_line_among_others(check, &mut bob, b"said while a stopped receiver held the lock\n")
}

/// Another process that holds the log exclusively until it is killed.
fn locking_process(check: &Check, log: &Path) -> Step<i32> {
    // SAFETY: this process has one thread.
    match unsafe { fork() }.or_error("fork")? {
        ForkResult::Child => {
            let held = check.lock(log, LockMode::Exclusive);
            if held.is_ok() {
                loop {
                    pause();
                }
            }
            // SAFETY: ends the process without running what its parent registered.
            unsafe { libc::_exit(1) }
        }
        ForkResult::Parent { child } => {
            check.until(
                Duration::from_secs(5),
                "another program can lock the log",
                || Ok(check.try_lock(log, LockMode::Shared)?.is_none()),
                || "the other program could not".into(),
            )?;
            Ok(Pid::as_raw(child))
        }
    }
}

fn idle_holds_no_lock(check: &mut Check) -> Outcome {
    let history = remembered(check, &lines("history", 3, 40))?;
    let server = check.server()?;
    let mut alice = server.enter("alice")?;
    alice.hears_bytes(&history)?;
    is_unlocked(check, &server, "before anyone has spoken")?;
    alice.say("then silence")?;
    alice.hears("then silence")?;
    is_unlocked(check, &server, "after someone has spoken")
}

fn is_unlocked(check: &Check, server: &Server, when: &str) -> Outcome {
    const EXPECTED: &str = "the log of an idle server can be locked at any time";
    let held = || format!("someone holds a lock {when}, while nobody speaks");
    drop(check.lock(server.log(), LockMode::Exclusive)?);
    // Whoever was kept waiting by that lock reads now, and a second signal for the same line makes
    // another look: a short one is no matter. What is held while the server waits lasts.
    let free = || Ok(server.try_lock(LockMode::Exclusive)?.is_some());
    let soon = || check.until(Duration::from_secs(1), EXPECTED, free, held);
    check.throughout(Duration::from_millis(100), EXPECTED, || soon().map(|()| true), held)
}

fn slow_client_holds_no_lock(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let mut carol = server.join("carol")?;
    let (bob, ..) = blocked_client(check, &server, &mut alice, "bob")?;
    drop(check.lock(server.log(), LockMode::Exclusive)?);
    carol.barrier()?;
    for number in 0..20 {
        let line = format!("past the slow one {number}");
        alice.say(&line)?;
        carol.hears(&line)?;
    }
    drop(bob);
    Ok(())
}

fn lock_not_lost_by_close(check: &mut Check) -> Outcome {
    use std::os::unix::fs::MetadataExt;
    let server = check.server()?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    catch_in_append(check, &server, &mut alice, &cluster)?;
    let inode = std::fs::metadata(server.log()).or_error(server.log().display())?.ino();
    // Other programs' locks come and go while the table is read, and an entry may be passed over.
    let held = std::cell::RefCell::new(Vec::new());
    check.until(
        Duration::from_secs(5),
        "the lock that keeps others out is the receiver's, in the system's table",
        || {
            let table = platform::lock_table().map_err(Stop::NotRun)?;
            *held.borrow_mut() = table
                .into_iter()
                .filter(|lock| lock.inode == inode && lock.pid == cluster.receiver && !lock.waiting)
                .collect();
            Ok(!held.borrow().is_empty())
        },
        || "no lock of the receiver's on the log is seen".into(),
    )?;
    let held = held.into_inner();
    // That nobody else could have a shared one was seen above.
    ensure(
        matches!(held.as_slice(), [lock] if lock.kind == "FLOCK" && lock.exclusive != Some(false)),
        "the receiver's lock on the log is an exclusive flock, which closing does not drop",
        || {
            let held: Vec<String> = held.iter().map(Lock::words).collect();
            format!("the receiver holds {}", held.join(", "))
        },
    )?;
    server.signal(cluster.receiver, Signal::SIGCONT)?;
    finish_talking(&mut alice)
}

fn log_rotated(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut crowd = server.crowd(3)?;
    let said = lines("through rotation", 600, 60);
    let mut files = Vec::new();
    for (number, part) in said.chunks(200).enumerate() {
        // Half of it is under way while the log changes its name.
        for line in part {
            crowd.clients[number].queue(line);
        }
        let rotated = server.log().with_extension(format!("log.{number}"));
        std::fs::rename(server.log(), &rotated).or_error("rename")?;
        files.push(rotated);
        let next = format!("after rotation {number}\n").into_bytes();
        crowd.clients[number].queue(&next);
        let mut expected = part.to_vec();
        expected.push(next);
        crowd.hear_everything_in_one_order(&expected)?;
        ensure(server.log().exists(), "an append after the rotation creates the log anew", || {
            "there is no file of its name: everything still goes into the renamed one".into()
        })?;
    }
    files.push(server.log().to_owned());
    let mut kept = Vec::new();
    for file in &files {
        kept.extend(server.as_owner(|_| std::fs::read(file))?.or_error(file.display())?);
    }
    for line in &said {
        let count = kept.windows(line.len()).filter(|window| window == line).count();
        ensure(count == 1, "the files together hold every line once", || {
            format!("{} stands there {count} times", crate::harness::excerpt(line))
        })?;
    }
    Ok(())
}

fn one_daemon_per_log(check: &mut Check) -> Outcome {
    let first = check.server()?;
    let log = first.log().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let launched = check.launch(Options::new())?;
    let Some(second) = launched.server else {
        return ensure(
            launched.failed() && launched.output.contains(&log),
            "a second daemon that refuses exits non-zero and names the log",
            || format!("{}: {}", launched.outcome(), launched.output.trim()),
        );
    };
    let mut alice = first.join("alice")?;
    let mut bob = second.join("bob")?;
    alice.barrier()?;
    for number in 0..20 {
        let line = format!("from the first {number}");
        alice.say(&line)?;
        bob.hears(&line)?;
        alice.hears(&line)?;
        let line = format!("from the second {number}");
        bob.say(&line)?;
        alice.hears(&line)?;
        bob.hears(&line)?;
    }
    // It ends its own clients' processes, and nobody else's.
    second.end()?;
    alice.say("after the end of the second")?;
    alice.hears("after the end of the second")
}
