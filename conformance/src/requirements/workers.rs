//! workers/ : a master and its workers: who dies, who stands still, and who takes whose place.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::resource::Resource;
use nix::sys::signal::Signal;

use super::situations::{as_user, take_descriptors, unused_user};
use crate::harness::{Check, Client, Options, Server};
use crate::needs::Need;
use crate::platform;
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{OrError, Outcome, Step, Stop, ensure, fail};
use crate::subject::Claim;
use forkproof_report::Level;

/// How long a worker that has gone may be missing, on an ordinary machine.
const REPLACED: Duration = Duration::from_secs(5);

pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "workers/killed-worker-is-replaced",
        title: "A worker that is killed is replaced, and its master reaps it",
        level: Level::Must,
        clause: "POSIX.1-2024, waitpid and 2.4.1: SIGCHLD tells that a child has ended, once for several",
        trap: "the out-of-memory killer ends a worker, and nobody notices: the service has one less until it has none; or SIGKILL is taken for somebody's wish",
        fix: "wait for children in a loop until there is none left to report, and fill every empty place, whatever ended its worker",
        references: &["squid-cache/squid#1035", "spraints/resqued#38", "cnpm/cnpmjs.org#239"],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::Workers],
        controls: Controls::By(&[
            by("forks-run-out=3", "a worker that has gone is replaced"),
            by("never-reaps", "left as a zombie"),
        ]),
        exclusive: false,
        check: killed_worker_is_replaced,
    },
    Requirement {
        id: "workers/all-workers-killed",
        title: "When all workers are killed at once, all are replaced, and clients that connect meanwhile are then served",
        level: Level::Must,
        clause: "POSIX.1-2024, listen: connections wait in the queue of the socket, which the master has open; 2.4.1: signals coalesce",
        trap: "a master that takes the end of the last worker for the end of its work, or for a start that has failed, and ends; one SIGCHLD for four children, and one is replaced",
        fix: "keep the listening socket open in the master, and start workers as long as it is not told to end",
        references: &["puma/puma#188"],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::Workers],
        controls: Controls::By(&[
            by("forks-run-out=3", "a worker that has gone is replaced"),
            by("children-end-all", "exited with status 1"),
        ]),
        exclusive: false,
        check: all_workers_killed,
    },
    Requirement {
        id: "workers/a-kill-harms-its-own-requests-only",
        title: "When a worker is killed the clients of the others stay connected and are served",
        level: Level::Must,
        clause: "POSIX.1-2024, kill: the signal is sent to one process; close: a connection ends with its last descriptor",
        trap: "one dead worker makes the pool a broken one: all others are ended with it, and every request under way is lost",
        fix: "replace the one that has died; leave the others alone",
        references: &[
            "skypilot-org/skypilot#6256",
            "cdrx/faktory_worker_python#42",
            "temporalio/sdk-python#245",
        ],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::Workers],
        controls: Controls::By(&[by("one-for-all", "closed the connection|reset the connection")]),
        exclusive: false,
        check: a_kill_harms_its_own_requests_only,
    },
    Requirement {
        id: "workers/crash-loop-is-throttled",
        title: "Workers that die right after their start are not restarted without a pause",
        level: Level::Should,
        clause: "POSIX.1-2024, fork: each start costs a process; CWE-400: uncontrolled resource consumption",
        trap: "a library that is missing, a wrong configuration: each worker dies at its first step, and its master starts the next at once. A processor is busy with it, the log fills the disk",
        fix: "wait before a place is filled whose last workers did not live long, twice as long each time, up to some limit",
        references: &["resque/resque-pool#108", "cyrusimap/cyrus-imapd#1516"],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::Workers],
        controls: Controls::By(&[by("no-back-off", "starts a second")]),
        exclusive: true,
        check: crash_loop_is_throttled,
    },
    Requirement {
        id: "workers/stopped-worker-blocks-nobody",
        title: "While one worker is stopped, the others serve every new client",
        level: Level::Must,
        clause: "POSIX.1-2024, accept: extracts the first connection of the queue for whoever calls it; <signal.h>: SIGSTOP",
        trap: "workers that take turns with a lock around accept, or that are given connections in turn: the one that hangs takes the lock, or every fourth client, with it",
        fix: "let the system wake one worker of those that wait in accept; hold no lock meanwhile; give nothing to a worker that has not asked for it",
        references: &["cyrusimap/cyrus-imapd#343"],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::Workers],
        controls: Controls::By(&[by("accept-waits-for=turn", "is served while worker")]),
        exclusive: false,
        check: stopped_worker_blocks_nobody,
    },
    Requirement {
        id: "workers/hung-worker-is-replaced",
        title: "A worker that hangs is ended and replaced within the promised time",
        level: Level::Must,
        clause: "sd_notify(3), WATCHDOG=1: who is silent has failed; POSIX.1-2024, kill: SIGKILL cannot be caught, and ends what is stopped",
        trap: "only workers that have ended are replaced: one that hangs is a child in good health; or it is sent SIGTERM, which it does not come to",
        fix: "have each worker tell from its own loop that it lives, and end with SIGKILL the one that has not for too long",
        references: &["puma/puma#362"],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::Workers, Claim::HealthChecks],
        controls: Controls::By(&[by("kill-reaches-nobody", "a worker that hangs is ended")]),
        exclusive: false,
        check: hung_worker_is_replaced,
    },
    Requirement {
        id: "workers/master-killed-workers-end",
        title: "When the master is killed its workers end, so that the next one finds its port free",
        level: Level::Should,
        clause: "POSIX.1-2024, _exit: children of a process that ends go on; bind: [EADDRINUSE]",
        trap: "workers that nobody watches any more serve on with the old configuration, keep the port, and are not found by whoever starts the server again",
        fix: "let workers see the end of a pipe or socket whose other end the master alone has; prctl(PR_SET_PDEATHSIG) and procctl(PROC_PDEATHSIG_CTL) do the same",
        references: &[
            "gofiber/fiber#501",
            "bumptech/stud#13",
            "ClusterLabs/resource-agents#1553",
            "LearnBoost/cluster#174",
        ],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::Workers],
        controls: Controls::By(&[by("eof-never-comes", "workers go on")]),
        exclusive: false,
        check: master_killed_workers_end,
    },
    Requirement {
        id: "workers/master-stopped-service-goes-on",
        title: "Clients are served while the master is stopped",
        level: Level::Must,
        clause: "POSIX.1-2024, <signal.h>: SIGSTOP stops one process; accept needs no other one",
        trap: "every connection passes through the master, or each worker waits for its word: a debugger, a slow log or a full pipe at the master stops the whole service",
        fix: "let workers accept by themselves, and never wait for the master",
        references: &[],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::Workers],
        controls: Controls::By(&[by(
            "accept-waits-for=master",
            "is served while the master stands still",
        )
        .but_not_on(
            "freebsd",
            "it asks Linux's proc_pid_stat(5) whether the master stands still",
        )]),
        exclusive: false,
        check: master_stopped_service_goes_on,
    },
    Requirement {
        id: "workers/every-worker-works",
        title: "Many clients at a time are spread over all workers",
        level: Level::Should,
        clause: "FreeBSD setsockopt(2): SO_REUSEPORT_LB balances, SO_REUSEPORT does not; Linux socket(7), SO_REUSEPORT",
        trap: "SO_REUSEPORT where it gives every connection to the socket that was bound last: one worker does everything, and the others are there for nothing",
        fix: "share one listening socket, or use SO_REUSEPORT_LB where there is one",
        references: &["pgbouncer/pgbouncer#504", "varnish/hitch#142", "libevent/libevent#1656"],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::Workers],
        controls: Controls::By(&[by("accept-waits-for=first", "every worker serves")]),
        exclusive: false,
        check: every_worker_works,
    },
    Requirement {
        id: "workers/unknown-children-reaped",
        title: "A master reaps a child that it has not started, and goes on",
        level: Level::Must,
        clause: "POSIX.1-2024, exec: the children of the process remain its children; waitpid",
        trap: "a shell script that has started something becomes the server by exec: the master finds a process id that it does not know, and takes it for a worker or dies of it; or waits for its own workers by name, and the stranger stays a zombie",
        fix: "wait for any child, and look it up: who is not known is reaped and forgotten",
        references: &[
            "benoitc/gunicorn#3566",
            "rails/solid_queue#442",
            "pyinstaller/pyinstaller#2966",
        ],
        needs: &[Need::ProcessTable],
        claims: &[Claim::Workers],
        controls: Controls::By(&[by("never-reaps", "is reaped")]),
        exclusive: false,
        check: unknown_children_reaped,
    },
    Requirement {
        id: "workers/respawn-without-processes",
        title: "A worker that dies when no process can be started is replaced when one can, and the others serve on",
        level: Level::Must,
        clause: "POSIX.1-2024, fork: [EAGAIN]; getrlimit, RLIMIT_NPROC",
        trap: "the exception of the failed fork ends the master, and with it all workers that were well",
        fix: "take a failed fork for a worker that could not start: tell it, wait, and try again",
        references: &["seomoz/qless-py#32"],
        needs: &[Need::ProcessTable, Need::DescriptorTable, Need::Root, Need::ForeignLimits],
        claims: &[Claim::Workers],
        controls: Controls::By(&[by("want-is-fatal", "the master survives")]),
        exclusive: false,
        check: respawn_without_processes,
    },
    Requirement {
        id: "workers/respawn-without-descriptors",
        title: "A worker that dies when the master has no descriptor left is replaced when there is one, and the others serve on",
        level: Level::Must,
        clause: "POSIX.1-2024, pipe, socketpair, open: [EMFILE]; getrlimit, RLIMIT_NOFILE",
        trap: "the pipe or the file for the next worker cannot be made: the exception ends the master, and with it all workers that were well",
        fix: "take it for a worker that could not start: tell it, wait, and try again",
        references: &[],
        needs: &[Need::ProcessTable, Need::DescriptorTable, Need::ForeignLimits],
        claims: &[Claim::Workers],
        controls: Controls::By(&[by("want-is-fatal", "the master survives")]),
        exclusive: false,
        check: respawn_without_descriptors,
    },
    Requirement {
        id: "workers/privileges-are-dropped",
        title: "No worker has root's rights when the server is told a user, nor has the one that takes a dead one's place",
        level: Level::Must,
        clause: "POSIX.1-2024, setuid, setgid; setgroups(2); CWE-250: execution with unnecessary privileges",
        trap: "the user id is changed and the groups stay root's; or a worker that is started again, by another way than the first ones, is root",
        fix: "setgroups, setgid, setuid in this order, in each worker before it serves, and make sure that root does not come back",
        references: &["benoitc/gunicorn#367"],
        needs: &[Need::ProcessTable, Need::DescriptorTable, Need::Root, Need::Credentials],
        claims: &[Claim::Workers, Claim::PrivilegeDrop],
        controls: Controls::By(&[by(
            "setuid-does-nothing",
            "has the rights of|starts and listens",
        )]),
        exclusive: false,
        check: privileges_are_dropped,
    },
];

fn killed_worker_is_replaced(check: &mut Check) -> Outcome {
    const TIMES: usize = 2;
    let server = check.server()?;
    server.join("alice")?;
    let mut pool = server.pool()?;
    check.act();
    for _ in 0..TIMES {
        let (victim, count) = (pool[0], pool.len());
        let begin = Instant::now();
        server.kill_workers(&[victim])?;
        pool = server.replaced(&[victim], count, REPLACED)?;
        check.remark(format!("replaced after {:.2} s", begin.elapsed().as_secs_f64()));
        server.join("bob")?;
    }
    Ok(())
}

fn all_workers_killed(check: &mut Check) -> Outcome {
    let server = check.server()?;
    server.join("alice")?;
    let pool = server.pool()?;
    check.act();
    for &pid in &pool {
        server.signal(pid, Signal::SIGKILL)?;
    }
    check.until(
        Duration::from_secs(5),
        "workers end at SIGKILL",
        || {
            let ended = |process: &platform::Process| process.state == platform::State::Zombie;
            let all = server.processes()?;
            Ok(all.iter().all(|process| ended(process) || !pool.contains(&process.pid)))
        },
        || "some are still there".into(),
    )?;
    // Nobody is there to accept him, or new ones are: he waits in the queue, or does not wait.
    let mut bob = server.enter("bob")?;
    let token = bob.start_barrier()?;
    server.replaced(&pool, pool.len(), REPLACED)?;
    ensure(
        bob.is_let_in(&token)?,
        "whoever connects when all workers have died is served by those that take their places",
        || "he is cut off".into(),
    )?;
    server.join("carol").map(drop)
}

fn a_kill_harms_its_own_requests_only(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let pool = server.pool()?;
    if pool.len() < 2 {
        return Err(Stop::Unsupported("it takes two workers, and there is one".into()));
    }
    let (mut clients, mut hosts): (Vec<Client>, Vec<i32>) = (Vec::new(), Vec::new());
    // Who serves whom is the system's choice.
    for number in 0..check.up_to(40) {
        let (client, cluster) = server.join_with_cluster(&format!("client-{number}"))?;
        if pool.contains(&cluster.receiver) {
            clients.push(client);
            hosts.push(cluster.receiver);
        }
        if hosts.iter().any(|host| *host != hosts[0]) {
            break;
        }
    }
    if hosts.is_empty() {
        return Err(Stop::NotRun("no worker was found to have a client's connection open".into()));
    }
    let Some(&victim) = hosts.last().filter(|victim| hosts.iter().any(|host| host != *victim))
    else {
        return Err(Stop::NotRun(format!(
            "all of {} clients came to the same worker, so that there is nobody to be spared",
            clients.len()
        )));
    };
    check.act();
    server.kill_workers(&[victim])?;
    // At once: a server may close a connection on which nothing is asked for long.
    for (client, host) in clients.iter_mut().zip(&hosts) {
        if *host != victim {
            client.barrier()?;
        }
    }
    let now = server.replaced(&[victim], pool.len(), REPLACED)?;
    for (client, host) in clients.iter_mut().zip(&hosts) {
        if *host != victim && !now.contains(host) {
            client.barrier()?;
        }
    }
    server.join("carol").map(drop)
}

fn crash_loop_is_throttled(check: &mut Check) -> Outcome {
    /// Long enough for pauses to have grown.
    const SPAN: Duration = Duration::from_secs(4);
    /// What is counted.
    const LAST: Duration = Duration::from_secs(2);
    /// Starts a second that are too many, for each worker of the pool.
    const MOST: f64 = 2.0;
    let server = check.server()?;
    let count = server.pool()?.len();
    check.act();
    let begin = Instant::now();
    let (mut known, mut late) = (BTreeSet::new(), 0_usize);
    // A worker dies when it comes to rest for the first time: it has started, and waits.
    while begin.elapsed() < SPAN {
        let mut workers = server.processes()?;
        workers.retain(|process| process.parent == server.daemon());
        for process in workers {
            if known.insert(process.pid) {
                late += usize::from(begin.elapsed() > SPAN - LAST);
            }
            if process.state == platform::State::Sleeping {
                server.signal(process.pid, Signal::SIGKILL)?;
            }
        }
        check.let_pass(Duration::from_millis(1));
    }
    ensure(server.lives()?, "the master outlives workers that die again and again", || {
        "it has ended".into()
    })?;
    let rate = late as f64 / LAST.as_secs_f64();
    check.remark(format!("{} workers died in {:.0} s", known.len(), SPAN.as_secs_f64()));
    ensure(
        rate <= MOST * count as f64,
        "a worker whose predecessors died at once is started after a pause",
        || {
            format!(
                "{rate:.1} starts a second, for {count} workers, after {:?} of dying",
                SPAN - LAST
            )
        },
    )?;
    // However long the pauses are by now, they have an end; what remains is ended by the check's end.
    check.until(
        Duration::from_secs(10),
        "workers that live are started again after the others have died",
        || Ok(!server.workers()?.is_empty()),
        || "there is none".into(),
    )
}

fn stopped_worker_blocks_nobody(check: &mut Check) -> Outcome {
    const ROUNDS: usize = 4;
    let server = check.server()?;
    let pool = server.pool()?;
    if pool.len() < 2 {
        return Err(Stop::Unsupported("it takes two workers, and there is one".into()));
    }
    check.act();
    // Whatever is passed round is in the hands of the one that is stopped only now and then.
    for round in 0..ROUNDS {
        for place in 0..pool.len().min(4) {
            let pid = server.replaced(&[], pool.len(), REPLACED)?[place];
            let what = format!("worker {pid} stands still");
            server.freeze(pid)?;
            let frozen = Instant::now();
            for _ in 0..3 + round {
                let begin = Instant::now();
                served_while(&server, &what)?;
                let now = server.process(pid)?;
                if now.is_some_and(|process| process.state == platform::State::Stopped) {
                    continue;
                }
                // A master that ends what hangs is right; that somebody had to wait for it is not.
                let waited = begin.elapsed();
                ensure(
                    waited < Duration::from_secs(1).max(frozen.elapsed() / 2),
                    format!("a new client is served while {what}"),
                    || {
                        let waited = waited.as_secs_f64();
                        format!("he waits for {waited:.1} s, until that worker has been ended")
                    },
                )?;
                break;
            }
            server.signal(pid, Signal::SIGCONT)?;
            served_while(&server, "all workers go on")?;
        }
    }
    Ok(())
}

/// A new client comes and is served.
fn served_while(server: &Server, what: &str) -> Outcome {
    let mut client = server.enter("bob")?;
    let token = client.start_barrier()?;
    match client.is_let_in(&token) {
        Ok(true) => Ok(()),
        Ok(false) => fail(format!("a new client is served while {what}"), "it is cut off"),
        Err(Stop::Fail(failure)) => {
            fail(format!("a new client is served while {what}"), failure.actual)
        }
        Err(other) => Err(other),
    }
}

fn hung_worker_is_replaced(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let pool = server.pool()?;
    let health = check.target().manifest.lifecycle.health;
    let health = health.map_or(Duration::ZERO, |health| health.duration());
    check.act();
    let victim = pool[0];
    let begin = Instant::now();
    server.freeze(victim)?;
    check.until(
        health * 3 + Duration::from_secs(2),
        "a worker that hangs is ended by its master",
        || Ok(server.process(victim)?.is_none()),
        || format!("worker {victim} is still there"),
    )?;
    server.replaced(&[victim], pool.len(), REPLACED)?;
    check.remark(format!("replaced after {:.2} s", begin.elapsed().as_secs_f64()));
    server.join("carol").map(drop)
}

fn master_killed_workers_end(check: &mut Check) -> Outcome {
    let server = check.server()?;
    server.join("alice")?;
    server.pool()?;
    check.act();
    server.kill_daemon()?;
    let mut left = Vec::new();
    let limit = check.target().manifest.stop.limit.duration() + Duration::from_secs(3);
    check
        .until(
            limit,
            "workers end when their master has been killed",
            || {
                left = server.processes()?;
                left.retain(|process| process.state != platform::State::Zombie);
                Ok(left.is_empty())
            },
            || "workers go on".into(),
        )
        .or_else(|stop| {
            // Nobody else ends them, and they are no news after this.
            for process in &left {
                server.signal(process.pid, Signal::SIGKILL)?;
            }
            Err(stop)
        })?;
    check.server_with(Options::new().listen(server.address()))?.join("bob").map(drop)
}

fn master_stopped_service_goes_on(check: &mut Check) -> Outcome {
    let server = check.server()?;
    server.pool()?;
    check.act();
    server.freeze(server.daemon())?;
    for _ in 0..20 {
        served_while(&server, "the master stands still")?;
    }
    server.signal(server.daemon(), Signal::SIGCONT)
}

fn every_worker_works(check: &mut Check) -> Outcome {
    /// So often are as many clients let in as there are places, or many of them.
    const ROUNDS: usize = 6;
    /// As many in each round.
    const CLIENTS: usize = 24;
    let server = check.server()?;
    let pool: BTreeSet<i32> = server.pool()?.into_iter().collect();
    check.act();
    let mut idle = pool.clone();
    for round in 0..ROUNDS {
        let clients = come(check, &server, CLIENTS, &format!("client-{round}"))?;
        // Whoever has a connection open has taken it from the queue.
        check.reaches(Duration::from_secs(2), || {
            let mut taken = 0;
            for &pid in &pool {
                let count = taken_by(&server, pid, &clients)?;
                taken += count;
                if count > 0 {
                    idle.remove(&pid);
                }
            }
            Ok(idle.is_empty() || taken >= clients.len())
        })?;
        if idle.is_empty() {
            return Ok(());
        }
    }
    // One may be quick enough for all. So each other one is left alone with some. A master may soon put
    // others in the place of those that stand still meanwhile.
    let mut working: BTreeSet<i32> = pool.difference(&idle).copied().collect();
    while let Some(pid) = server.workers()?.into_iter().find(|pid| !working.contains(pid)) {
        let alone = alone_for_a_while(check, &server, pid, CLIENTS)?;
        if alone.works {
            working.insert(pid);
            if working.len() >= 2 * pool.len() {
                break;
            }
            continue;
        }
        if alone.lasted < check.scaled(Duration::from_millis(300)) {
            return Err(Stop::Error(format!(
                "this machine is too slow for the check: the server has replaced the workers that \
                 were stopped after {:.1} s",
                alone.lasted.as_secs_f64()
            )));
        }
        return fail(
            "every worker serves some of many clients",
            format!(
                "worker {pid}, one of {}, served none of {} clients, nor of {} while the others \
                 were stopped",
                pool.len(),
                ROUNDS * check.up_to(CLIENTS),
                check.up_to(CLIENTS)
            ),
        );
    }
    Ok(())
}

/// What a worker did while the others were stopped.
struct Alone {
    works: bool,
    /// For how long it had nobody beside it.
    lasted: Duration,
}

/// Stops all workers but `pid`, and lets `count` clients come, until it serves one or is no longer
/// alone, but not for long.
fn alone_for_a_while(check: &Check, server: &Server, pid: i32, count: usize) -> Step<Alone> {
    let others: BTreeSet<i32> =
        server.workers()?.into_iter().filter(|&other| other != pid).collect();
    others.iter().try_for_each(|&other| server.signal(other, Signal::SIGSTOP))?;
    let begin = Instant::now();
    let (mut works, mut lasted) = (false, Duration::ZERO);
    let outcome = come(check, server, count, "alone").and_then(|clients| {
        check.reaches(Duration::from_secs(2), || {
            works = taken_by(server, pid, &clients)? > 0;
            let now: BTreeSet<i32> =
                server.workers()?.into_iter().filter(|&other| other != pid).collect();
            let is_alone = now == others;
            if is_alone {
                lasted = begin.elapsed();
            }
            Ok(works || !is_alone)
        })
    });
    // Those that have been replaced are not there any more.
    for &other in &others {
        if server.process(other)?.is_some() {
            server.signal(other, Signal::SIGCONT)?;
        }
    }
    outcome.map(|_| Alone { works, lasted })
}

/// That many clients, which say nothing.
fn come(check: &Check, server: &Server, count: usize, name: &str) -> Step<Vec<Client>> {
    (0..check.up_to(count)).map(|number| server.connect(&format!("{name}-{number}"))).collect()
}

/// How many of the clients a worker has accepted.
fn taken_by(server: &Server, pid: i32, clients: &[Client]) -> Step<usize> {
    let ours: BTreeSet<SocketAddr> =
        clients.iter().filter_map(|client| client.stream().local_addr().ok()).collect();
    let peers = server.ask(pid, |pid| platform::peers(pid, server.address()))?;
    Ok(peers.into_iter().filter(|peer| ours.contains(peer)).count())
}

fn unknown_children_reaped(check: &mut Check) -> Outcome {
    if check.target().manifest.launch.background {
        return Err(Stop::Unsupported(
            "what goes into the background by itself leaves the children that it finds behind"
                .into(),
        ));
    }
    let server = check.server_with(Options::new().with_an_unknown_child())?;
    let stranger = |server: &Server| -> Step<Option<platform::Process>> {
        let mut all = server.processes()?;
        all.retain(|process| process.parent == server.daemon() && process.name == "sleep");
        Ok(all.pop())
    };
    let pool = server.pool()?.len();
    let Some(child) = stranger(&server)? else {
        return Err(Stop::Error("the child that the master should have from the start".into()));
    };
    server.signal(child.pid, Signal::SIGKILL)?;
    check.until(
        Duration::from_secs(5),
        "a child that the master has not started is reaped when it ends",
        || Ok(stranger(&server)?.is_none()),
        || match stranger(&server) {
            Ok(Some(process)) => format!("it is left as {process}"),
            _ => "it is left".into(),
        },
    )?;
    ensure(
        server.lives()?,
        "the master outlives the end of a child that it does not know",
        || "it has ended".into(),
    )?;
    ensure(
        server.workers()?.len() <= pool,
        "the end of an unknown child starts no worker",
        || "there is one worker more than before".into(),
    )?;
    server.join("alice").map(drop)
}

fn respawn_without_processes(check: &mut Check) -> Outcome {
    // Root is exempt from the limit.
    let user = unused_user()?;
    let server = check.server_with(as_user(check, Options::new(), user)?)?;
    respawns_after_a_want(check, &server, "process", |pid, limit| {
        platform::limit_of(pid, Resource::RLIMIT_NPROC, limit.unwrap_or(1))
    })
}

fn respawn_without_descriptors(check: &mut Check) -> Outcome {
    let server = check.server()?;
    server.join("alice")?;
    respawns_after_a_want(check, &server, "descriptor", |pid, limit| match limit {
        None => take_descriptors(check, pid),
        Some(limit) => platform::limit_descriptors_of(pid, limit),
    })
}

/// A worker dies while its master can have no further `what`; then it can. `limit` sets the master's
/// limit, to none at all or to what it was, and returns what it was.
fn respawns_after_a_want(
    check: &Check,
    server: &Server,
    what: &str,
    limit: impl Fn(i32, Option<u64>) -> Result<u64, String>,
) -> Outcome {
    /// Time for a few tries.
    const WATCHED: Duration = Duration::from_millis(800);
    let pool = server.pool()?;
    let daemon = server.daemon();
    check.act();
    let before = server.ask(daemon, |pid| limit(pid, None))?;
    check.note(format!("takes the master's right to any further {what}"));
    let victim = pool[0];
    server.signal(victim, Signal::SIGKILL)?;
    check.throughout(
        WATCHED,
        &format!("the master survives when no {what} is available for a new worker"),
        || server.lives(),
        || "it has ended".into(),
    )?;
    if pool.len() > 1 {
        served_while(server, &format!("the master can have no {what}"))?;
    }
    server.ask(daemon, |pid| limit(pid, Some(before)))?;
    check.note("gives it back");
    server.replaced(&[victim], pool.len(), REPLACED)?;
    server.join("carol").map(drop)
}

fn privileges_are_dropped(check: &mut Check) -> Outcome {
    // Some servers look for a group of the user's name.
    const NAME: &str = "daemon";
    let user = nix::unistd::User::from_name(NAME).or_error("the users of this system")?;
    let Some(user) = user else {
        return Err(Stop::NotRun(format!("this system has no user `{NAME}`")));
    };
    let server = check.server_with(Options::new().user(&user.name).groups(&[0]))?;
    let pool = server.pool()?;
    // A fresh one is on its way to the user.
    let drops = |pids: &[i32]| -> Outcome {
        let wrong = Cell::new(None);
        check.until(
            Duration::from_secs(5),
            &format!("a worker has the rights of {} and no others", user.name),
            || {
                for &pid in pids {
                    let (ids, groups) = server.ask(pid, platform::credentials)?;
                    if groups.contains(&0) || ids.iter().any(|id| *id != user.uid.as_raw()) {
                        wrong.set(Some(format!(
                            "worker {pid} has user ids {ids:?} and groups {groups:?}"
                        )));
                        return Ok(false);
                    }
                }
                Ok(true)
            },
            || wrong.take().unwrap_or_default(),
        )
    };
    drops(&pool)?;
    server.kill_workers(&pool[..1])?;
    drops(&server.replaced(&pool[..1], pool.len(), REPLACED)?)
}
