//! signals/ : dispositions, masks, interrupted calls and coalescing.
//!
//! One file however long, as each area's: the code of an id is found by its area.

pub(super) mod surroundings;

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::situations::{
    blocked_client, both_are_served, idle_cost, lines, slow_clients_are_apart,
};
use crate::harness::{Check, Crowd, Ending, LockMode, Options, Server, lock_waiters};
use crate::needs::Need;
use crate::platform::{self, SignalState, State, signal_names, signal_set};
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{OrError, Outcome, Step, Stop, ensure, fail};
use crate::subject::Claim;
use crate::subject::SignalName;
use forkproof_report::Level;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "signals/daemon-survives-multicast",
        title: "SIGUSR1 ends neither the daemon nor a receiver",
        level: Level::Must,
        clause: "POSIX.1-2024, <signal.h>: the default action of SIGUSR1 is to terminate the process",
        trap: "a multicast to the process group reaches the daemon and the receivers too, and without a disposition of their own they die of it",
        fix: "ignore or catch SIGUSR1 in every process of the group before the first client is accepted",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::MulticastSignal],
        controls: Controls::By(&[by(
            "signal-default=SIGUSR1",
            "alice brought|closed the connection",
        )]),
        exclusive: false,
        check: daemon_survives_multicast,
    },
    Requirement {
        id: "signals/handler-persists",
        title: "The 2nd, 3rd and 100th messages arrive as the first one does",
        level: Level::Must,
        clause: "POSIX.1-2024, sigaction: a handler stays installed unless SA_RESETHAND is set",
        trap: "the handler is reset after the first signal: sa_flags was never initialised and holds SA_RESETHAND by accident on one distribution or compiler, or signal() has System V semantics; the second SIGUSR1 then kills the sender",
        fix: "initialise the whole sigaction structure (memset or a designated initialiser) and set sa_flags yourself; don't use signal()",
        references: &[],
        needs: &[],
        claims: &[Claim::Again],
        controls: Controls::By(&[
            by("sysv-signals", "\"message "),
            by("uninitialised-sa-flags", "\"message "),
        ]),
        exclusive: false,
        check: handler_persists,
    },
    Requirement {
        id: "signals/no-lost-wakeup",
        title: "Two messages 0 to 1000 µs apart both arrive without further traffic",
        level: Level::Must,
        clause: "POSIX.1-2024, sigsuspend and ppoll: the mask is replaced and the wait begun in one step",
        trap: "the signal comes between the check for news and pause(), which then sleeps although there is something to read; FreeBSD 13.2 with libthr: what is pending at the first ppoll after a fork is overlooked",
        fix: "keep SIGUSR1 blocked except inside sigsuspend, pselect or ppoll, and look at the log after each wake; on FreeBSD open and close the mask just before",
        references: &[],
        needs: &[],
        claims: &[Claim::Lines],
        controls: Controls::By(&[by("racing-wait=300", "without further traffic|is let in")]),
        exclusive: false,
        check: no_lost_wakeup,
    },
    Requirement {
        id: "signals/burst-drains",
        title: "Bursts of 64 KiB and 1 MiB arrive whole without further traffic",
        level: Level::Must,
        clause: "POSIX.1-2024, 2.4.1: a pending signal that is generated again may be delivered once only",
        trap: "signals coalesce: many appends may bring one wake, and a sender that reads one bounded piece for each wake leaves the rest until someone speaks again",
        fix: "after each wake read the log to its end",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::Lines],
        controls: Controls::By(&[by("short-reads=16384", "of the bytes come within")]),
        exclusive: false,
        check: burst_drains,
    },
    Requirement {
        id: "signals/children-reaped",
        title: "No zombie is left 1 s after 1, 50 and 200 clients have gone, one by one or all at once",
        level: Level::Must,
        clause: "POSIX.1-2024, waitpid and 2.4.1: several children's ends may bring a single SIGCHLD",
        trap: "one wait() for each SIGCHLD: when signals coalesce some children are never reaped and the process table fills",
        fix: "call waitpid(-1, …, WNOHANG) in a loop until nothing is left to reap",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::ProcessPerClient],
        controls: Controls::By(&[by("reaps-one", "zombies")]),
        exclusive: false,
        check: children_reaped,
    },
    Requirement {
        id: "signals/accept-survives-sigchld",
        title: "A client that connects during a storm of children's exits is served",
        level: Level::Must,
        clause: "POSIX.1-2024, accept: [EINTR] the function was interrupted by a signal before a valid connection arrived",
        trap: "EINTR from accept (or poll) taken as fatal, or the connection dropped for it; SA_RESTART does not restart every call on every system",
        fix: "EINTR is not an error: handle the signal and accept again",
        references: &[],
        needs: &[],
        claims: &[Claim::ProcessPerClient],
        controls: Controls::By(&[by("accept-loop-ends", "newcomer-|leaving-")]),
        exclusive: false,
        check: accept_survives_sigchld,
    },
    Requirement {
        id: "signals/reader-survives-multicast",
        title: "A receiver that waits for its client goes on after signals",
        level: Level::Must,
        clause: "POSIX.1-2024, read and recv: [EINTR]",
        trap: "EINTR from read taken as the end of the client, which is then cut off when someone else speaks",
        fix: "retry a read that a signal interrupted",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::MulticastSignal],
        controls: Controls::By(&[by(
            "signal-default=SIGUSR1",
            "alice brought|closed the connection",
        )]),
        exclusive: false,
        check: reader_survives_multicast,
    },
    Requirement {
        id: "signals/waiting-for-lock-survives-signal",
        title: "Several SIGUSR1 during the wait for the log's lock end nothing",
        level: Level::Must,
        clause: "flock(2), Linux and FreeBSD: EINTR while waiting to acquire a lock",
        trap: "EINTR from flock taken as an error, or worse as success: the message is lost or written without the lock",
        fix: "retry flock after EINTR",
        references: &[],
        needs: &[Need::ProcessTable, Need::LockWaiters],
        claims: &[Claim::MulticastSignal, Claim::LogLock],
        controls: Controls::By(&[by(
            "lock-wait-ends-at-signal",
            "alice's sender, once woken, waits",
        )]),
        exclusive: false,
        check: waiting_for_lock_survives_signal,
    },
    Requirement {
        id: "signals/writing-survives-signal",
        title: "A sender that is blocked on a slow client survives signals, and the client later gets everything",
        level: Level::Must,
        clause: "POSIX.1-2024, write and send: [EINTR], and a count short of what was asked for",
        trap: "EINTR or a partial write to the socket taken as an error or as complete: bytes are lost in the middle of the stream",
        fix: "keep count of what was written and go on with the rest, also after EINTR",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::MulticastSignal],
        controls: Controls::By(&[by("drops-when-full", "for a client that does not read")]),
        exclusive: false,
        check: writing_survives_signal,
    },
    Requirement {
        id: "signals/sigterm-ends-all",
        title: "SIGTERM to the daemon ends everything within 2 s with exit status 0, and clients see the close",
        level: Level::Must,
        clause: "daemon(7) (Linux), rc(8) (FreeBSD): SIGTERM is how a service manager ends a daemon",
        trap: "only the daemon ends; receivers and senders live on without it, hold the port or the log, and clients sit on dead connections",
        fix: "on SIGTERM end every cluster and wait for it, then exit with status 0",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::EndsAll],
        controls: Controls::By(&[by("signal-default=SIGTERM", "exits with status 0")]),
        exclusive: false,
        check: sigterm_ends_all,
    },
    Requirement {
        id: "signals/sigint-ends-all",
        title: "SIGINT ends everything as SIGTERM does",
        level: Level::Must,
        clause: "POSIX.1-2024, 11.1.9: the INTR character sends SIGINT to the foreground process group only",
        trap: "Ctrl-C reaches the daemon's group only: clusters in a group of their own stay behind",
        fix: "handle SIGINT as SIGTERM",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::EndsAll, Claim::Sigint],
        controls: Controls::By(&[by("signal-default=SIGINT", "closes the connection")]),
        exclusive: false,
        check: sigint_ends_all,
    },
    Requirement {
        id: "signals/sigterm-under-load",
        title: "SIGTERM in the middle of a busy chat ends everything in time and leaves the log whole",
        level: Level::Must,
        clause: "POSIX.1-2024, write: an append of one write is not torn by signals that are caught",
        trap: "processes killed in the middle of an append leave half a line, or a process that waits for the lock misses the signal and stays",
        fix: "let each process finish or give up its append, and repeat the signal until all are gone",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::EndsAll, Claim::ChatLog],
        controls: Controls::By(&[by("signal-default=SIGTERM", "exits with status 0")]),
        exclusive: false,
        check: sigterm_under_load,
    },
    Requirement {
        id: "signals/sighup-survived",
        title: "SIGHUP ends neither the daemon nor the chat",
        level: Level::Should,
        clause: "POSIX.1-2024, <signal.h>: the default action of SIGHUP is to terminate; daemon(7): reload",
        trap: "the default action: closing the terminal or a service manager's reload ends the server; and an orphaned process group with a stopped member is sent SIGHUP by the kernel",
        fix: "catch SIGHUP in the daemon (reload or nothing) and ignore it in its children",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::Sighup],
        controls: Controls::By(&[by("signal-default=SIGHUP", "after SIGHUP")]),
        exclusive: false,
        check: sighup_survived,
    },
    Requirement {
        id: "signals/client-reset",
        title: "A client that resets its connection during a write ends only its own cluster",
        level: Level::Must,
        clause: "POSIX.1-2024, send: [EPIPE] and SIGPIPE, [ECONNRESET]",
        trap: "SIGPIPE kills the writer without a word, or the error of one client's socket ends more than that client",
        fix: "ignore SIGPIPE (or send with MSG_NOSIGNAL) and end the one cluster on EPIPE and ECONNRESET",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[],
        controls: Controls::By(&[by(
            "eof-never-comes,signal-default=SIGCHLD",
            "reset its connection",
        )]),
        exclusive: false,
        check: client_reset,
    },
    Requirement {
        id: "signals/inherited-ignored",
        title: "The server works when it was started with SIGCHLD, SIGUSR1, SIGPIPE, SIGHUP, SIGTERM and SIGINT ignored",
        level: Level::Must,
        clause: "POSIX.1-2024, exec: signals set to be ignored in the calling process are ignored in the new one",
        trap: "ignored dispositions survive exec (nohup, cron, a careless parent): with SIGCHLD ignored wait() loses the children, with SIGTERM ignored nothing ends the server",
        fix: "set every disposition that matters explicitly at the start, SIG_DFL included",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[],
        controls: Controls::By(&[by("inherits-ignored", "is let in")]),
        exclusive: false,
        check: inherited_ignored,
    },
    Requirement {
        id: "signals/inherited-blocked",
        title: "The server works when it was started with every signal blocked",
        level: Level::Must,
        clause: "POSIX.1-2024, exec: the signal mask is inherited",
        trap: "the mask survives exec: SIGUSR1, SIGCHLD and SIGTERM stay pending for ever",
        fix: "set the signal mask explicitly at the start",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[],
        controls: Controls::By(&[by("inherits-blocked", "is let in")]),
        exclusive: false,
        check: inherited_blocked,
    },
    Requirement {
        id: "signals/group-is-private",
        title: "The process group of whoever launched the server gets none of its signals",
        level: Level::Must,
        clause: "POSIX.1-2024, kill: pid 0 is every process in the sender's process group",
        trap: "kill(0, SIGUSR1) without setsid or setpgid reaches the launching shell or script, the other programs of a pipeline, or make, and kills them",
        fix: "put the clusters in a process group of their own before the first multicast",
        references: &[],
        needs: &[],
        claims: &[],
        controls: Controls::By(&[by("group-leaks", "process group gets no signal")]),
        exclusive: false,
        check: group_is_private,
    },
    Requirement {
        id: "signals/dispositions-as-documented",
        title: "The kernel's ignored, caught and blocked sets of daemon, receiver and sender are the documented ones",
        level: Level::Should,
        clause: "proc_pid_status(5), SigIgn, SigCgt and SigBlk (Linux); procstat(1) -i and -j (FreeBSD)",
        trap: "flags and masks that differ by compiler, libc or parent process: what the source says is not what the kernel was told",
        fix: "set dispositions and masks in one place for each role, and nowhere else",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::DocumentedDispositions, Claim::ProcessPerClient],
        controls: Controls::By(&[by(
            "sigpipe-default",
            // In the order of their numbers, which differ.
            "ignored USR1,XFSZ|ignored XFSZ,USR1",
        )]),
        exclusive: false,
        check: dispositions_as_documented,
    },
    Requirement {
        id: "signals/foreign-storm",
        title: "10,000 SIGUSR1 from elsewhere leave the server healthy, and then idle",
        level: Level::Must,
        clause: "POSIX.1-2024, kill: any process of the same user may send it",
        trap: "a signal without news taken as an error, or a wake-up counter that runs away and spins",
        fix: "treat SIGUSR1 as a hint: look, find nothing, wait again",
        references: &[],
        needs: &[Need::ProcessTable, Need::ProcessorTime],
        claims: &[Claim::MulticastSignal],
        controls: Controls::By(&[
            by("busy-wait", "after the storm"),
            by("sysv-signals", "the storm"),
        ]),
        exclusive: false,
        check: foreign_storm,
    },
    Requirement {
        id: "signals/stop-and-continue",
        title: "A stopped sender, receiver or daemon catches up after SIGCONT",
        level: Level::Must,
        clause: "POSIX.1-2024, 2.4.3: SIGSTOP and SIGCONT; signal(7) (Linux): some calls return EINTR after SIGCONT",
        trap: "EINTR after SIGCONT, which some systems give even without a handler, ends a wait for good",
        fix: "expect EINTR from every call that waits",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::Again],
        controls: Controls::By(&[by("short-reads=64", "bob stands still|alice is let in")]),
        exclusive: false,
        check: stop_and_continue,
    },
];

fn daemon_survives_multicast(check: &mut Check) -> Outcome {
    check.act();
    let server = check.server()?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    let mut bob = server.join("bob")?;
    for round in 1..=3 {
        server.signal(server.daemon(), Signal::SIGUSR1)?;
        server.signal(cluster.receiver, Signal::SIGUSR1)?;
        let line = format!("after signal {round}");
        alice.say(&line)?;
        bob.hears(&line)?;
        server.join("a newcomer")?;
    }
    Ok(())
}

fn handler_persists(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let mut bob = server.join("bob")?;
    for number in 1..=100 {
        both_are_served(check, &mut alice, &mut bob, &format!("message {number}"))?;
    }
    Ok(())
}

fn no_lost_wakeup(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let mut bob = match check.has(Claim::Broadcast) {
        true => Some(server.join("bob")?),
        false => None,
    };
    for round in 0..3 {
        for gap in (0..=1000).step_by(20) {
            let pair = [format!("{round}: first, {gap} µs"), format!("{round}: second, {gap} µs")];
            alice.say(&pair[0])?;
            // The gap is what is tested; sleeping is not exact enough for it.
            let gap_ends = Instant::now() + Duration::from_micros(gap);
            while Instant::now() < gap_ends {
                std::hint::spin_loop();
            }
            alice.say(&pair[1])?;
            if let Some(bob) = &mut bob {
                bob.hears_all(&pair)?;
            }
            alice.hears_all(&pair)?;
        }
    }
    Ok(())
}

fn burst_drains(check: &mut Check) -> Outcome {
    let server = check.server()?;
    for size in [64 * 1024, 1024 * 1024] {
        let said = lines("burst", size / 64, 64).concat();
        let mut alice = server.join("alice")?;
        if !check.has(Claim::Broadcast) {
            alice.queue(&said);
            alice.hears_bytes(&said)?;
            continue;
        }
        if !check.has(Claim::ProcessPerClient) {
            let bob = server.join("bob")?;
            alice.barrier()?;
            alice.queue(&said);
            // One process may wait for its slowest client: everyone reads along.
            let said = lines("burst", size / 64, 64);
            Crowd { clients: vec![alice, bob] }.hear_everything_in_one_order(&said)?;
            continue;
        }
        let (mut bob, cluster) = server.join_with_cluster("bob")?;
        alice.barrier()?;
        // All of the burst's signals become one for a sender that stands still meanwhile.
        server.freeze_at_rest(cluster.sender)?;
        alice.queue(&said);
        alice.hears_bytes(&said)?;
        server.signal(cluster.sender, Signal::SIGCONT)?;
        bob.hears_bytes(&said)?;
    }
    Ok(())
}

fn children_reaped(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let others = |zombies: bool| -> Step<usize> {
        let table = server.processes()?;
        if zombies {
            return Ok(table.iter().filter(|process| process.state == State::Zombie).count());
        }
        Ok(table.len().saturating_sub(server.process_count(0)))
    };
    let no_zombie = |check: &Check, after: usize| {
        // That the processes end is another requirement, and on a busy machine takes its time.
        check.until(
            Duration::from_secs(5),
            &format!("the processes of {after} clients that have gone end"),
            || Ok(others(false)? == others(true)?),
            || format!("{} are left", others(false).unwrap_or_default()),
        )?;
        check.until(
            Duration::from_secs(1),
            &format!("no zombie is left 1 s after the processes of {after} clients have ended"),
            || Ok(others(false)? == 0),
            || format!("{} zombies", others(true).unwrap_or_default()),
        )
    };
    drop(server.join("one")?);
    no_zombie(check, 1)?;
    for _ in 0..50 {
        drop(server.enter("one by one")?);
    }
    no_zombie(check, 50)?;
    let count = check.up_to(200);
    let mut crowd = Vec::new();
    while crowd.len() < count {
        // No more at once than may wait to be accepted anywhere (listen(2) of FreeBSD: 128).
        for _ in 0..(count - crowd.len()).min(100) {
            crowd.push(server.enter(&format!("client-{}", crowd.len()))?);
        }
        let entered = crowd.len();
        check.until(
            Duration::from_secs(10),
            &format!("{entered} clients are served at a time"),
            || Ok(server.processes()?.len() >= server.process_count(0) + entered),
            || format!("{} processes serve them", others(false).unwrap_or_default()),
        )?;
    }
    drop(crowd);
    no_zombie(check, count)
}

fn accept_survives_sigchld(check: &mut Check) -> Outcome {
    let server = check.server()?;
    for round in 0..8 {
        let leaving: Vec<_> = (0..check.up_to(16))
            .map(|n| server.enter(&format!("leaving-{round}-{n}")))
            .collect::<Result<_, _>>()?;
        drop(leaving);
        server.join(&format!("newcomer-{round}"))?;
    }
    Ok(())
}

fn reader_survives_multicast(check: &mut Check) -> Outcome {
    check.act();
    let server = check.server()?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    let mut bob = server.join("bob")?;
    for number in 0..50 {
        let line = format!("bob speaks {number}");
        bob.say(&line)?;
        alice.hears(&line)?;
        server.signal(cluster.receiver, Signal::SIGUSR1)?;
    }
    alice.say("still here")?;
    for number in 0..50 {
        bob.hears(&format!("bob speaks {number}"))?;
    }
    bob.hears("still here")
}

fn waiting_for_lock_survives_signal(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    let mut bob = server.join("bob")?;
    let held = check.lock(server.log(), LockMode::Exclusive)?;
    alice.say("said while the log was locked")?;
    for _ in 0..5 {
        check.until(
            Duration::from_secs(5),
            "alice's receiver waits for the lock that another program holds",
            || Ok(lock_waiters(server.log())?.contains(&cluster.receiver)),
            || format!("receiver {} does not wait for the lock", cluster.receiver),
        )?;
        for &pid in cluster.pids() {
            server.signal(pid, Signal::SIGUSR1)?;
            // On a busy machine it would still be found waiting as before.
            check.until(
                Duration::from_secs(5),
                "a process that waits for the lock takes SIGUSR1, unless it blocks it",
                || Ok(!has_to_take(pid, Signal::SIGUSR1)),
                || format!("it is still pending for {pid}"),
            )?;
        }
        check.until(
            Duration::from_secs(5),
            "alice's sender, once woken, waits for the lock that another program holds",
            || Ok(lock_waiters(server.log())?.contains(&cluster.sender)),
            || format!("sender {} does not wait for the lock", cluster.sender),
        )?;
    }
    drop(held);
    bob.hears("said while the log was locked")?;
    alice.hears("said while the log was locked")
}

/// Whether a signal is on its way to a process that lets it in. To one that has gone none is.
fn has_to_take(pid: i32, signal: Signal) -> bool {
    platform::signal_state(pid).is_ok_and(|state| {
        let bit = 1 << (signal as i32 - 1);
        state.pending & !state.blocked & bit != 0
    })
}

fn writing_survives_signal(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    // A sender that is interrupted before it has sent anything of a piece has nothing to lose.
    for name in ["bob", "carol"] {
        let (mut client, cluster, said) = blocked_client(check, &server, &mut alice, name)?;
        for _ in 0..50 {
            server.signal(cluster.sender, Signal::SIGUSR1)?;
        }
        ensure(
            server.process(cluster.sender)?.is_some(),
            "a sender that is blocked on its client's socket survives SIGUSR1",
            || format!("sender {} is gone", cluster.sender),
        )?;
        client.hears_bytes(&said)?;
    }
    Ok(())
}

fn sigterm_ends_all(check: &mut Check) -> Outcome {
    let signal = check.target().manifest.stop.signal.0;
    ends_all(check, signal)
}

fn sigint_ends_all(check: &mut Check) -> Outcome {
    ends_all(check, Signal::SIGINT)
}

/// Whether the daemon has ended as it should at `signal`: with the status that its manifest tells, or
/// else with 0 or by that signal, which service managers take for the same (systemd.service(5),
/// `SuccessExitStatus=`).
fn ended_well(check: &Check, how: Ending, signal: Signal) -> Outcome {
    let status = check.target().manifest.stop.status;
    // The manifest's status is that of its signal; for another one a shell's is as good.
    let other = signal != check.target().manifest.stop.signal.0;
    ensure(
        how == Ending::Exit(status.unwrap_or(0).into())
            || (other || status.is_none()) && how == Ending::Signal(signal)
            || other && how == Ending::Exit(128 + signal as i32),
        format!("the daemon exits with status {} at {}", status.unwrap_or(0), signal.as_str()),
        || format!("it {how}"),
    )
}

fn ends_all(check: &mut Check, signal: Signal) -> Outcome {
    let server = check.server()?;
    let mut crowd = server.crowd(check.up_to(5))?;
    check.act();
    if check.has(Claim::Broadcast) {
        crowd.clients[0].say("one last line")?;
        crowd.hear_everything_in_one_order(&[b"one last line\n".to_vec()])?;
    }
    let stranger = server.connect("a stranger who says nothing")?;
    let how = server.end_with(signal)?;
    ended_well(check, how, signal)?;
    for client in crowd.clients.iter_mut().chain([stranger].iter_mut()) {
        client.hears_end()?;
    }
    if !check.has(Claim::ChatLog) {
        return Ok(());
    }
    let log = server.log_content()?;
    ensure(
        log.ends_with(b"one last line\n"),
        "the log ends with the last line that was said",
        || crate::harness::excerpt(&log[log.len().saturating_sub(40)..]),
    )
}

fn sigterm_under_load(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut crowd = server.crowd(8)?;
    let said = lines("load", 20_000, 64);
    for (client, part) in crowd.clients.iter_mut().zip(said.chunks(2_500)) {
        client.queue(&part.concat());
    }
    // In the middle: some of it has come back, and much is still to come.
    let begun = crowd.wait(check.scaled(Duration::from_secs(5)), |clients| {
        clients.iter().all(|client| client.received() > 64 * 1024)
    })?;
    ensure(begun, "a busy chat is carried", || "64 KiB did not come back to every client".into())?;
    let signal = check.target().manifest.stop.signal.0;
    let how = server.end_with(signal)?;
    ended_well(check, how, signal)?;
    let log = server.log_content()?;
    ensure(log.ends_with(b"\n"), "the log ends with a whole line", || {
        crate::harness::excerpt(&log[log.len().saturating_sub(70)..])
    })?;
    let known: std::collections::HashSet<&[u8]> = said.iter().map(Vec::as_slice).collect();
    let strange = log
        .split_inclusive(|&byte| byte == b'\n')
        .find(|line| !line.starts_with(b"=barrier") && !known.contains(line));
    match strange {
        None => Ok(()),
        Some(line) => fail(
            "the log holds whole lines only",
            format!("the log holds {}", crate::harness::excerpt(line)),
        ),
    }
}

fn sighup_survived(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    let mut bob = server.join("bob")?;
    let mut all = cluster.pids().to_vec();
    all.insert(0, server.daemon());
    all.dedup();
    for pid in all {
        server.signal(pid, Signal::SIGHUP)?;
    }
    // Old workers that make room for new ones close connections on which nothing is asked: whoever is
    // slow to ask again is no sign.
    let life = &check.target().manifest.lifecycle;
    let renews = life.reload.is_some_and(|signal| signal.0 == Signal::SIGHUP);
    if !(renews && check.has(Claim::Workers)) {
        both_are_served(check, &mut alice, &mut bob, "after SIGHUP")?;
    }
    drop(bob);
    // A server that takes it as an order to read its configuration may listen anew, and turns away
    // who comes just then: that is for `lifecycle/reload-loses-no-request`.
    let turned_away = RefCell::new(String::new());
    check.until(
        Duration::from_secs(5),
        "a new client is served after SIGHUP",
        || match server.enter("carol").and_then(|mut carol| carol.barrier()) {
            Err(Stop::Fail(failure)) => {
                *turned_away.borrow_mut() = failure.actual;
                Ok(false)
            }
            served => served.map(|()| true),
        },
        || turned_away.take(),
    )
}

/// Linux has a reset after an end told as EPIPE, so that the server's first write raises SIGPIPE; after
/// a reset alone it is the second write, to which many servers do not come.
fn half_closed_client_resets(check: &Check, server: &Server) -> Outcome {
    if check.has(Claim::Broadcast) {
        return Ok(());
    }
    let mut dan = server.join("dan")?;
    // One process for all is to come to it when all has happened; another for each client will.
    let alone = !check.has(Claim::ProcessPerClient) && !check.has(Claim::Workers);
    if alone {
        server.freeze(server.daemon())?;
    }
    let outcome = (|| {
        match check.has(Claim::Lines) {
            true => dan.say_without_reading(&lines("and resets", 16, 64).concat()),
            false => dan.ask_without_reading(1 << 10)?,
        }
        dan.finish_sending()?;
        dan.reset()
    })();
    if alone {
        server.signal(server.daemon(), Signal::SIGCONT)?;
    }
    outcome
}

fn client_reset(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let (bob, cluster) = match slow_clients_are_apart(check) {
        true => {
            let (bob, cluster, _) = blocked_client(check, &server, &mut alice, "bob")?;
            (bob, cluster)
        }
        false => {
            let (mut bob, cluster) = server.join_with_cluster("bob")?;
            // Some of the answers meet a connection that is gone. A server may work off what it
            // has received, so it is little.
            bob.ask_without_reading(1 << 16)?;
            (bob, cluster)
        }
    };
    bob.reset()?;
    half_closed_client_resets(check, &server)?;
    let mut carol = match check.up_to(3) {
        3 => Some(server.join("carol")?),
        _ => None,
    };
    if check.has(Claim::ProcessPerClient) {
        check.until(
            Duration::from_secs(5),
            "the processes of a client that reset its connection end within 5 s",
            || Ok(!server.processes()?.iter().any(|p| cluster.pids().contains(&p.pid))),
            || format!("some of {cluster} are still there"),
        )?;
    }
    alice.barrier()?;
    match &mut carol {
        Some(carol) => both_are_served(check, &mut alice, carol, "and the others go on"),
        None => Ok(()),
    }
}

fn inherited_ignored(check: &mut Check) -> Outcome {
    use Signal::{SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR1};
    let ignored = [SIGCHLD, SIGUSR1, SIGPIPE, SIGHUP, SIGTERM, SIGINT];
    let server = check.server_with(Options::new().ignoring(&ignored))?;
    whole_life(check, &server)
}

fn inherited_blocked(check: &mut Check) -> Outcome {
    let server = check.server_with(Options::new().all_blocked())?;
    whole_life(check, &server)
}

/// A message each way, a client that leaves, one that resets; the end comes with `finish`.
fn whole_life(check: &Check, server: &Server) -> Outcome {
    let mut alice = server.join("alice")?;
    let before = server.living()?;
    let (bob, cluster) = match slow_clients_are_apart(check) {
        true => {
            let (bob, cluster, _) = blocked_client(check, server, &mut alice, "bob")?;
            (bob, cluster)
        }
        false => server.join_with_cluster("bob")?,
    };
    bob.reset()?;
    for number in 0..3 {
        let mut carol = server.join("carol")?;
        both_are_served(check, &mut carol, &mut alice, &format!("message {number}"))?;
    }
    alice.barrier()?;
    if !check.has(Claim::ProcessPerClient) {
        return Ok(());
    }
    check.until(
        Duration::from_secs(1),
        "clients' processes end with their clients and leave no zombie",
        || {
            let table = server.processes()?;
            Ok(table.len() <= before.max(server.process_count(1))
                && !table.iter().any(|p| cluster.pids().contains(&p.pid)))
        },
        || format!("{} processes are left", server.processes().map_or(0, |p| p.len())),
    )
}

/// How many signals the check's own process group was sent; see [`group_is_private`].
static SIGNALS_TO_OUR_GROUP: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count_signal(_signal: libc::c_int) {
    SIGNALS_TO_OUR_GROUP.fetch_add(1, Ordering::Relaxed);
}

fn group_is_private(check: &mut Check) -> Outcome {
    let count =
        SigAction::new(SigHandler::Handler(count_signal), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only counts in an atomic.
        unsafe { sigaction(signal, &count) }.or_error("sigaction")?;
    }
    // As a script starts it (in the script's own group), and in the background.
    for options in check.launch_modes() {
        let server = check.server_with(options)?;
        // A group that everybody has left is no more: who comes then has to found another one.
        for time in ["first", "second"] {
            let mut alice = server.join(&format!("alice, for the {time} time"))?;
            let mut bob = server.join(&format!("bob, for the {time} time"))?;
            for number in 0..20 {
                both_are_served(check, &mut alice, &mut bob, &format!("{time} message {number}"))?;
            }
            drop((alice, bob));
            check.until(
                Duration::from_secs(5),
                "all clients' processes end with their clients",
                || server.is_back_to(0),
                || format!("{} processes are left", server.living().unwrap_or_default()),
            )?;
        }
        server.end()?;
        let count = SIGNALS_TO_OUR_GROUP.load(Ordering::Relaxed);
        ensure(count == 0, "the launcher's process group gets no signal", || {
            format!("it got {count}; a shell or script in it would have been killed")
        })?;
    }
    Ok(())
}

fn dispositions_as_documented(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let (_alice, cluster) = server.join_with_cluster("alice")?;
    let documented = check
        .target()
        .manifest
        .roles
        .clone()
        .ok_or_else(|| Stop::Error("the manifest documents no roles".into()))?;
    let roles = [
        ("daemon", server.daemon(), Some(documented.daemon)),
        ("receiver", cluster.receiver, documented.receiver),
        ("sender", cluster.sender, documented.sender),
    ];
    for (role, pid, documented) in roles {
        let Some(documented) = documented else { continue };
        let set =
            |names: &[SignalName]| signal_set(&names.iter().map(|name| name.0).collect::<Vec<_>>());
        let expected = SignalState {
            ignored: set(&documented.ignored),
            caught: set(&documented.caught),
            // While it waits, as an idle process does, nothing is.
            blocked: 0,
            pending: 0,
        };
        let actual = std::cell::Cell::new(expected);
        check.until(
            Duration::from_secs(5),
            &format!("{role}: {}", in_words(&expected)),
            || {
                actual.set(standard_signals(server.ask(pid, platform::signal_state)?));
                Ok(actual.get() == expected)
            },
            || format!("process {pid}: {}", in_words(&actual.get())),
        )?;
    }
    Ok(())
}

/// Without the real-time signals, of which the C library keeps some for itself.
fn standard_signals(state: SignalState) -> SignalState {
    let standard = signal_set(&Signal::iterator().collect::<Vec<_>>());
    SignalState {
        ignored: state.ignored & standard,
        caught: state.caught & standard,
        blocked: state.blocked & standard,
        pending: state.pending & standard,
    }
}

fn in_words(state: &SignalState) -> String {
    format!(
        "ignored {}; caught {}; blocked {}",
        signal_names(state.ignored),
        signal_names(state.caught),
        signal_names(state.blocked)
    )
}

fn foreign_storm(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    let mut bob = server.join("bob")?;
    check.note("sends 10,000 SIGUSR1 to each of daemon, receiver and sender");
    for _ in 0..10_000 {
        for pid in [server.daemon(), cluster.receiver, cluster.sender] {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGUSR1)
                .or_else(|_| fail("the storm ends no process", format!("process {pid} is gone")))?;
        }
    }
    alice.say("after the storm")?;
    bob.hears("after the storm")?;
    alice.hears("after the storm")?;
    idle_cost(check, &server, "after the storm")
}

fn stop_and_continue(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let (mut alice, speaking) = server.join_with_cluster("alice")?;
    if check.has(Claim::Broadcast) && check.has(Claim::ProcessPerClient) {
        let (mut bob, listening) = server.join_with_cluster("bob")?;
        server.freeze_at_rest(listening.sender)?;
        for number in 0..10 {
            alice.say(&format!("bob stands still {number}"))?;
        }
        alice.barrier()?;
        server.signal(listening.sender, Signal::SIGCONT)?;
        for number in 0..10 {
            bob.hears(&format!("bob stands still {number}"))?;
        }
        server.freeze_at_rest(speaking.receiver)?;
        alice.say("alice stands still")?;
        server.signal(speaking.receiver, Signal::SIGCONT)?;
        bob.hears("alice stands still")?;
    } else {
        server.freeze(speaking.receiver)?;
        let asked = alice.start_barrier()?;
        server.signal(speaking.receiver, Signal::SIGCONT)?;
        ensure(
            alice.is_let_in(&asked)?,
            "a process that was stopped serves its client on",
            || "the server closes the connection".into(),
        )?;
    }
    server.freeze(server.daemon())?;
    let mut carol = server.enter("carol")?;
    server.signal(server.daemon(), Signal::SIGCONT)?;
    carol.barrier()
}
