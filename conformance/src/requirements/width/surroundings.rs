//! width/ : systems that are older than the program, and clocks that are ahead of it.

use std::time::Duration;

use crate::harness::{Check, Options, Server};
use crate::platform;
use crate::requirement::{Controls, Requirement, by};
use crate::requirements::situations::{auth_timeout, both_are_served};
use crate::stop::{Outcome, ensure};
use crate::subject::Claim;
use forkproof_report::Level;

pub(in crate::requirements) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "width/old-seccomp-filter",
        title: "The server works where new system calls fail with EPERM instead of ENOSYS",
        level: Level::Should,
        clause: "seccomp(2), SECCOMP_RET_ERRNO: a filter answers what it likes; container runtimes before 2021 answered EPERM for calls that they did not know",
        trap: "ENOSYS is expected of an old kernel, and EPERM taken for final: with 64-bit time on 32-bit systems, close_range, faccessat2, openat2 or epoll_pwait2 the server dies in an old container runtime",
        fix: "fall back on the older call after EPERM as after ENOSYS; or ask for a newer runtime (libseccomp 2.4.4, Docker 20.10.10)",
        references: &["moby/moby#42680", "alpinelinux/docker-alpine#150", "seccomp/libseccomp#228"],
        needs: &[],
        claims: &[],
        controls: Controls::By(&[by("close-range-only", "is let in|is served|closed")]),
        exclusive: false,
        check: old_seccomp_filter,
    },
    Requirement {
        id: "width/time-past-2038",
        title: "The server starts, serves and keeps its time-outs when the clock is past 2038",
        level: Level::Must,
        clause: "POSIX.1-2024, sys/types.h: time_t shall be an integer type of at least 64 bits; clock_gettime: [EOVERFLOW]",
        trap: "a 32-bit time_t: clock_gettime fails with EOVERFLOW and nobody looks, or the time is kept in an int and is in 1901: time-outs never come, or always",
        fix: "build with _TIME_BITS=64 and keep times in time_t or 64 bits; durations by CLOCK_MONOTONIC",
        references: &[],
        needs: &[],
        claims: &[],
        controls: Controls::By(&[by("time32,wall-clock-timeouts", "is let in|starts|closed")]),
        exclusive: false,
        check: time_past_2038,
    },
];

/// Two clients, served twice with a while between, and a third.
fn serves(check: &Check, server: &Server) -> Outcome {
    let mut alice = server.join("alice")?;
    let mut bob = server.join("bob")?;
    both_are_served(check, &mut alice, &mut bob, "once")?;
    drop(server.join("carol")?);
    check.let_pass(Duration::from_millis(1200));
    both_are_served(check, &mut bob, &mut alice, "again")
}

fn old_seccomp_filter(check: &mut Check) -> Outcome {
    if let Some(stop) = platform::descriptor_filter_missing() {
        return Err(stop);
    }
    let server = check.server_with(Options::new().under("old-seccomp"))?;
    serves(check, &server)
}

fn time_past_2038(check: &mut Check) -> Outcome {
    let server = check.server_with(Options::new().under("past-2038"))?;
    serves(check, &server)?;
    if !check.has(Claim::AuthTimeout) {
        return Ok(());
    }
    let mut silent = server.connect("silent")?;
    let limit = check.scaled(auth_timeout(check) + Duration::from_secs(2));
    ensure(
        silent.time_to_end(limit)?.is_some(),
        format!("a client that says nothing is closed after {:?}", auth_timeout(check)),
        || format!("it is still there after {limit:.1?}"),
    )
}
