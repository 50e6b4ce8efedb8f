//! signals/ : what comes at the wrong moment: an end between fork and a child's dispositions, an end
//! for whoever stands still, a clock that is set.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Check, Client, Options, Server};
use crate::needs::Need;
use crate::requirement::{Controls, Requirement, by};
use crate::requirements::situations::auth_timeout;
use crate::stop::{Outcome, Step, Stop, ensure, fail};
use crate::subject::Claim;
use forkproof_report::Level;

pub(in crate::requirements) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "signals/fork-window",
        title: "A server told to stop while a child is starting ends that child too",
        level: Level::Must,
        clause: "POSIX.1-2024, fork: the child has its parent's handlers and mask, and no pending signals",
        trap: "until it sets its own dispositions a new child runs its parent's handlers: they note the signal in a copy that nobody reads, the child carries on, and the daemon waits for it",
        fix: "block the signals across fork and unblock them in the child once its own dispositions are set; and repeat SIGTERM to whatever is left",
        references: &["benoitc/gunicorn#1910"],
        needs: &[Need::ProcessTable],
        claims: &[Claim::EndsAll],
        controls: Controls::By(&[by(
            "told-once,fork-loses-signals",
            "ends within|had just been forked",
        )]),
        exclusive: false,
        check: fork_window,
    },
    Requirement {
        id: "signals/stop-then-term",
        title: "A stopped client process also ends when the server is told to stop",
        level: Level::Should,
        clause: "POSIX.1-2024, 2.4.3: a stopped process acts on no signal but SIGKILL until it is continued",
        trap: "SIGTERM alone stays pending in a child that was stopped (by a debugger, by SIGSTOP, by the terminal): the daemon waits for it, or leaves it behind with the connection",
        fix: "send SIGCONT after SIGTERM, and after a while SIGKILL to whatever is left",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::EndsAll],
        controls: Controls::By(&[by("told-once", "ends within|that was stopped ends")]),
        exclusive: false,
        check: stop_then_term,
    },
    Requirement {
        id: "signals/clock-jump-survived",
        title: "Service and time-outs go on when the wall clock jumps by hours, ahead and back",
        level: Level::Must,
        clause: "POSIX.1-2024, clock_gettime: CLOCK_REALTIME can be set, CLOCK_MONOTONIC cannot; clock_settime",
        trap: "time-outs measured by time() or gettimeofday(): a step ahead closes every client at once, a step back keeps them for hours or hangs the loop",
        fix: "measure with CLOCK_MONOTONIC whatever is a duration",
        references: &["CESNET/libnetconf2#43", "sysrepo/sysrepo#3627"],
        needs: &[],
        claims: &[],
        controls: Controls::By(&[by(
            "wall-clock-timeouts",
            "is let in|is closed after|closed the connection",
        )]),
        exclusive: true,
        check: clock_jump_survived,
    },
];

/// Why this is not asked of a server that has no process but its daemon, if it has none.
fn has_children(check: &Check) -> Outcome {
    if check.has(Claim::ProcessPerClient) || check.has(Claim::Workers) {
        return Ok(());
    }
    Err(Stop::Unsupported(format!(
        "the target {} serves its clients without processes beside its daemon",
        check.target().name
    )))
}

/// Ends the server at once; no process may be left, and `whose` says which it would be.
fn all_end(check: &Check, server: &Server, whose: &str) -> Outcome {
    server.end_now()?;
    let left = || -> Step<Vec<String>> {
        Ok(server.processes()?.iter().map(ToString::to_string).collect())
    };
    check.until(
        check.target().manifest.stop.limit.duration(),
        &format!("{whose} ends with the server"),
        || Ok(left()?.is_empty()),
        || format!("{} go on", left().unwrap_or_default().join(", ")),
    )
}

fn fork_window(check: &mut Check) -> Outcome {
    /// After its fork a process stands still for so long at first; longer where the machine is slow.
    const WINDOW: Duration = Duration::from_millis(300);
    const TRIES: u32 = 4;
    has_children(check)?;
    let first = check.scaled(WINDOW).max(WINDOW);
    for attempt in 0..TRIES {
        let window = first * (1 << attempt);
        let slow = Options::new().under(format!("slow-child={}", window.as_millis()));
        let server = check.server_with(slow).map_err(|stop| match stop {
            // A script that starts it forks, too, again and again.
            Stop::Fail(failure) | Stop::Blocked(failure) => Stop::Unsupported(format!(
                "it does not start in time where each process runs only {} ms after its fork: {}",
                window.as_millis(),
                failure.actual
            )),
            other => other,
        })?;
        let (forked_after, _alice) = forks(check, &server)?;
        // What is sent before half of that time is over meets the window.
        let is_within = forked_after.elapsed() < window / 2;
        all_end(check, &server, "a process that had just been forked")?;
        if is_within {
            return check.came_to("slow-child");
        }
    }
    Err(Stop::Error(
        "this machine is too busy to signal a process that has just been forked".into(),
    ))
}

/// Makes the server fork: for a client, or in place of a worker that is killed. Returns a time before
/// the fork, and the client, if there is one.
fn forks(check: &Check, server: &Server) -> Step<(Instant, Option<Client>)> {
    // A server may have served whoever found out that it is ready.
    check.reaches(Duration::from_secs(5), || server.is_back_to(0))?;
    let pids = || -> Step<BTreeSet<i32>> {
        Ok(server.processes()?.iter().map(|process| process.pid).collect())
    };
    let before = pids()?;
    let mut forked_after = Instant::now();
    let client = if !check.has(Claim::ProcessPerClient) {
        let Some(&worker) = server.pool()?.first() else {
            return Err(Stop::Error("the server has no workers".into()));
        };
        server.signal(worker, Signal::SIGKILL)?;
        None
    } else if check.target().manifest.wire.greeting.is_some() {
        // Who waits for the greeting is too late.
        Some(server.connect("alice")?)
    } else {
        // With its key, so that only the signal can end its process.
        Some(server.enter("alice")?)
    };
    let has_begun = check.reaches(Duration::from_secs(5), || {
        let now = Instant::now();
        let has_begun = pids()?.difference(&before).next().is_some();
        if !has_begun {
            forked_after = now;
        }
        Ok(has_begun)
    })?;
    match (has_begun, &client) {
        (true, _) => {}
        (false, Some(_)) => return fail("a process begins for a client", "none does"),
        (false, None) => {
            return Err(Stop::Unsupported(
                "nobody soon takes the place of a worker that was killed".into(),
            ));
        }
    }
    Ok((forked_after, client))
}

fn stop_then_term(check: &mut Check) -> Outcome {
    has_children(check)?;
    let server = check.server()?;
    let (_alice, cluster) = server.join_with_cluster("alice")?;
    for &pid in cluster.pids() {
        server.freeze_at_rest(pid)?;
    }
    all_end(check, &server, "a process that was stopped")
}

fn clock_jump_survived(check: &mut Check) -> Outcome {
    let server = check.server_with(Options::new().under("clock-jump=230"))?;
    let mut alice = server.join("alice")?;
    for round in 0..4 {
        // Two jumps or three while she is idle; never as many for long as bring the time back.
        check.let_pass(Duration::from_millis(550 + 60 * round));
        alice.barrier()?;
        server.join(&format!("bob-{round}"))?;
    }
    if !check.has(Claim::AuthTimeout) {
        return Ok(());
    }
    // One begins before each jump, and one after it.
    let mut silent = Vec::new();
    for number in 0..6 {
        silent.push(server.connect(&format!("silent-{number}"))?);
        check.let_pass(Duration::from_millis(115));
    }
    let limit = check.scaled(auth_timeout(check) + Duration::from_secs(2));
    for client in &mut silent {
        let ends = client.time_to_end(limit)?.is_some();
        ensure(
            ends,
            format!("a client that says nothing is closed after {:?}", auth_timeout(check)),
            || format!("{} is still there {limit:.1?} later", client.name),
        )?;
    }
    alice.barrier()
}
