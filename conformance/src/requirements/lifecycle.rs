//! lifecycle/ : what a running server is told: read your configuration again, open your log anew,
//! execute your program anew, come to an end.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Begun, Check, Client, Load, Server};
use crate::needs::Need;
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{OrError, Outcome, Step, Stop, ensure, fail};
use crate::subject::{Claim, SignalName};
use forkproof_report::Level;

/// How long new workers may take to come and old ones to go, beside what is promised.
const CHANGE: Duration = Duration::from_secs(5);

pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "lifecycle/reload-loses-no-request",
        title: "While the configuration is read again every client is let in and answered, and new workers take over",
        level: Level::Must,
        clause: "POSIX.1-2024, close: what waits in the queue of a listening socket is lost with its last descriptor; RFC 9112, 9.5",
        trap: "the socket is closed and bound anew, so that some are refused; or old workers end with connections that they have accepted and not looked at: a few 502 at each reload, seen only under load",
        fix: "keep the listening socket; start new workers first; let old ones stop accepting, answer what they have accepted, and end then",
        references: &[
            "benoitc/gunicorn#3394",
            "varnish/hitch#285",
            "unbit/uwsgi#1375",
            "Automattic/prefork#1",
        ],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::Reload],
        controls: Controls::By(&[
            by("ends-when-told", "closed the connection|reset the connection"),
            by("signal-default=SIGHUP", "every client is answered|was killed by SIGHUP"),
            by("signal-ignored=SIGHUP", "new workers take over"),
        ]),
        exclusive: true,
        check: reload_loses_no_request,
    },
    Requirement {
        id: "lifecycle/broken-reload-keeps-the-old",
        title: "A reload with a broken configuration changes nothing, and the next one with a good one works",
        level: Level::Must,
        clause: "the promise of a reload: nginx(8), \"checks the syntax validity\"; systemd.service(5), ExecReload=",
        trap: "a typing mistake, and the reload that should have been harmless ends the service: the old configuration is gone when the new one turns out to be wrong",
        fix: "read, check and prepare the new configuration beside the old one; on an error say what is wrong and go on",
        references: &["h2o/h2o#770"],
        needs: &[Need::ProcessTable],
        claims: &[Claim::Reload],
        controls: Controls::By(&[
            by("signal-default=SIGHUP", "the server outlives|was killed by SIGHUP"),
            by("signal-ignored=SIGHUP", "says so"),
        ]),
        exclusive: false,
        check: broken_reload_keeps_the_old,
    },
    Requirement {
        id: "lifecycle/graceful-stop-finishes",
        title: "A request that is under way when a graceful stop begins is answered, and then the server ends",
        level: Level::Must,
        clause: "RFC 9112, 9.6: tear-down; the promise of a graceful stop",
        trap: "workers exit when they are told to, in the middle of whatever they do: each deployment is a handful of broken answers",
        fix: "stop accepting, answer what has begun, close idle connections, and end when none is left",
        references: &["benoitc/gunicorn#1236", "benoitc/gunicorn#2313", "yesodweb/wai#853"],
        needs: &[],
        claims: &[Claim::GracefulStop],
        controls: Controls::By(&[by(
            "ends-when-told",
            "closed the connection|reset the connection",
        )]),
        exclusive: false,
        check: graceful_stop_finishes,
    },
    Requirement {
        id: "lifecycle/graceful-stop-refuses-the-new",
        title: "Clients that connect after a graceful stop has begun are refused at once, not left waiting",
        level: Level::Must,
        clause: "POSIX.1-2024, connect: [ECONNREFUSED]; listen: connections are taken for the process as long as the socket is open",
        trap: "the server accepts no more, but some process has the listening socket open: the system completes connections that nobody will ever serve, and a load balancer does not notice",
        fix: "close the listening socket in every process when the stop begins",
        references: &["programatik29/axum-server#111", "emmett-framework/granian#548"],
        needs: &[],
        claims: &[Claim::GracefulStop],
        controls: Controls::By(&[by("listener-leaks", "is refused")]),
        exclusive: false,
        check: graceful_stop_refuses_the_new,
    },
    Requirement {
        id: "lifecycle/graceful-stop-has-a-limit",
        title: "A client that never finishes delays a graceful stop for no longer than is promised",
        level: Level::Must,
        clause: "the promise of the limit: nginx worker_shutdown_timeout, Apache GracefulShutdownTimeout, gunicorn --graceful-timeout",
        trap: "one connection that is kept open, or half a request, and the old process stays for days; the limit is not applied to some kind of connection",
        fix: "one deadline for all that is under way, after which connections are closed, and one for the master after which it kills",
        references: &[
            "actix/actix-web#929",
            "chobits/ngx_http_proxy_connect_module#203",
            "hasura/graphql-engine#7785",
        ],
        needs: &[],
        claims: &[Claim::GracefulStop, Claim::GracefulLimit],
        controls: Controls::By(&[by("timeouts-never-fire=100", "ends within")]),
        exclusive: false,
        check: graceful_stop_has_a_limit,
    },
    Requirement {
        id: "lifecycle/log-reopened",
        title: "A log that was renamed is opened anew when the server is told so, by every process, and no line is lost",
        level: Level::Must,
        clause: "POSIX.1-2024, rename: descriptors stay with the file; logrotate(8), create and postrotate",
        trap: "the master opens the new file, and workers write to the old one until the disk is full; or the user that workers have become may not open it",
        fix: "open it in the master and pass the descriptor on, or tell each worker; open before the old one is closed",
        references: &["benoitc/gunicorn#346", "sidekiq/sidekiq#1008", "SChernykh/p2pool#362"],
        needs: &[],
        claims: &[Claim::ReopensLogs],
        controls: Controls::By(&[
            by("signal-ignored=SIGUSR1", "is there anew"),
            by("stale-paths", "is there anew"),
        ]),
        exclusive: false,
        check: log_reopened,
    },
    Requirement {
        id: "lifecycle/upgrade-in-place",
        title: "While the server executes its program anew every client is let in and answered",
        level: Level::Must,
        clause: "POSIX.1-2024, exec: descriptors without FD_CLOEXEC remain open, and the process id remains",
        trap: "the new program binds the port itself, and cannot; or the old one is ended before the new one serves; or the socket is lost on the way",
        fix: "hand the listening socket over open, and end the old workers when the new ones serve",
        references: &["benoitc/gunicorn#1267", "benoitc/gunicorn#476"],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::Upgrade, Claim::Workers],
        controls: Controls::By(&[
            by("ends-when-told", "closed the connection|reset the connection"),
            by("signal-default=SIGUSR2", "every client is answered|was killed by SIGUSR2"),
            by("signal-ignored=SIGUSR2", "new workers take over"),
        ]),
        exclusive: true,
        check: upgrade_in_place,
    },
    Requirement {
        id: "lifecycle/strangers-do-not-delay-the-end",
        title: "Neither silent clients nor those that connect during the shutdown keep the server from stopping in time",
        level: Level::Must,
        clause: "the promise of the stop: systemd.service(5), TimeoutStopSec=; PostgreSQL src/test/postmaster/t/003_start_stop.pl",
        trap: "whoever has not said who he is belongs to no list of clients, and is not told of the end; the server waits for him, or for the one who came just then",
        fix: "close the listening socket first; count strangers among the clients; wait for nobody without a limit",
        references: &["denoland/deno#31959", "theforeman/foremanctl#775"],
        needs: &[Need::ProcessTable],
        claims: &[Claim::EndsAll],
        controls: Controls::By(&[by(
            "kill-reaches-nobody=SIGTERM,timeouts-never-fire=900",
            "the server ends within",
        )]),
        exclusive: false,
        check: strangers_do_not_delay_the_end,
    },
];

/// The signal that a claim stands for; the claim says that there is one.
fn told(signal: Option<SignalName>) -> Step<Signal> {
    signal.map(|name| name.0).ok_or_else(|| Stop::Error("the claim comes from a signal".into()))
}

/// The pid of each worker, where the server has a pool; none else.
fn pool_of(check: &Check, server: &Server) -> Step<BTreeSet<i32>> {
    match check.has(Claim::Workers) {
        true => Ok(server.pool()?.into_iter().collect()),
        false => Ok(BTreeSet::new()),
    }
}

fn reload_loses_no_request(check: &mut Check) -> Outcome {
    const TIMES: usize = 3;
    let server = check.server()?;
    let signal = told(check.target().manifest.lifecycle.reload)?;
    server.join("alice")?;
    let mut pool = pool_of(check, &server)?;
    check.act();
    let mut load = server.load(8, "while the configuration is read again");
    for _ in 0..TIMES {
        serve_some(&mut load, 50)?;
        let slow = a_slow_client(&server)?;
        server.signal(server.daemon(), signal)?;
        pool = take_over(check, &server, &mut load, pool, Some(slow))?;
        serve_some(&mut load, 50)?;
    }
    load.finish()?;
    check.remark(format!("{} clients were answered", load.served()));
    server.join("bob").map(drop)
}

/// Goes on until `count` more have been served.
fn serve_some(load: &mut Load<'_>, count: usize) -> Outcome {
    let until = load.served() + count;
    while load.served() < until {
        load.go_on()?;
    }
    Ok(())
}

/// A client that has asked half a question, and since when.
type Slow = (Client, Begun, Instant);

fn a_slow_client(server: &Server) -> Step<Slow> {
    let (client, request) = server.begin("slow")?;
    Ok((client, request, Instant::now()))
}

/// Goes on until none of `old` is a worker any more and as many others are; returns those. Where there
/// are no workers, for a while. A client that is `slow` in asking, since it began, is not forgotten
/// meanwhile.
fn take_over(
    check: &Check,
    server: &Server,
    load: &mut Load<'_>,
    old: BTreeSet<i32>,
    mut slow: Option<Slow>,
) -> Step<BTreeSet<i32>> {
    let begin = Instant::now();
    let deadline = begin + check.scaled(CHANGE + graceful_limit(check));
    // Nobody may be slower than that.
    let patience = waits_for_a_request(check).map(|limit| limit / 2);
    loop {
        load.go_on()?;
        let now: BTreeSet<i32> = server.workers()?.into_iter().collect();
        let are_there = now.difference(&old).count() >= old.len();
        let is_late = |since: &Instant| patience.is_some_and(|most| since.elapsed() > most);
        if are_there || slow.as_ref().is_some_and(|(.., since)| is_late(since)) {
            if let Some((mut client, request, since)) = slow.take() {
                complete_in_time(check, &mut client, &request, since)?;
            }
        }
        if old.is_empty() {
            serve_some(load, 200)?;
            return Ok(old);
        }
        if now.is_disjoint(&old) && now.len() >= old.len() {
            return Ok(now);
        }
        if Instant::now() >= deadline {
            let left = old.intersection(&now).count();
            let new = now.difference(&old).count();
            if left == 0 && new > 0 {
                // A pool that grows and shrinks.
                return Ok(now);
            }
            return fail(
                "new workers take over from the old ones, which end",
                format!("{left} old workers are left and {new} new ones are there"),
            );
        }
    }
}

/// Sends the rest of a request, and waits for its answer. A server may wait no longer for the rest
/// than it promises since `begin`; a machine on which half of that has passed before it is sent is too
/// slow for the check, unless the server has closed the connection earlier than that.
fn complete_in_time(
    check: &Check,
    client: &mut Client,
    request: &Begun,
    begin: Instant,
) -> Outcome {
    let has_ended = client.has_ended();
    let (limit, passed) = (waits_for_a_request(check), begin.elapsed());
    let is_closed_early = has_ended && limit.is_some_and(|limit| passed < limit);
    client.complete(request).map_err(|stop| match (stop, limit) {
        (Stop::Fail(_), Some(limit)) if passed * 2 >= limit && !is_closed_early => {
            Stop::Error(format!(
                "this machine is too slow for the check: {:.1} s have passed before the rest of a \
                 request is sent, and the manifest's [lifecycle] lets the server wait {:.1} s for it",
                passed.as_secs_f64(),
                limit.as_secs_f64()
            ))
        }
        (stop, _) => stop,
    })
}

/// The file that the server reads at a reload.
fn configuration(check: &Check) -> Step<PathBuf> {
    match &check.target().manifest.lifecycle.config {
        Some(config) => check.fill(config).map(PathBuf::from),
        None => Err(Stop::Unsupported(format!(
            "the target {} has no file to break: its manifest names none in lifecycle.config",
            check.target().name
        ))),
    }
}

fn broken_reload_keeps_the_old(check: &mut Check) -> Outcome {
    const BROKEN: &str = "this is no configuration\n";
    let file = configuration(check)?;
    let life = check.target().manifest.lifecycle.clone();
    let broken = life.broken.map_or_else(|| Ok(BROKEN.into()), |text| check.fill(&text))?;
    let server = check.server()?;
    let signal = told(life.reload)?;
    let pool = pool_of(check, &server)?;
    server.join("alice")?;
    check.act();
    let good = check.as_owner_of(&file, || std::fs::read(&file))?.or_error(file.display())?;
    let said = server.output().len();
    rewrite(check, &file, broken.as_encoded_bytes())?;
    let requests = life.log.map(|log| check.fill(&log).map(PathBuf::from)).transpose()?;
    // What is said of clients is not what is asked for.
    let messages =
        || bytes_below(check.dir()).saturating_sub(requests.as_deref().map_or(0, length));
    let written = messages();
    server.signal(server.daemon(), signal)?;
    check.until(
        Duration::from_secs(3),
        "a reload with a broken configuration fails, and the server says so",
        || {
            // There, or in a log of its own.
            let says = server.output().len() > said || messages() > written;
            Ok(says || !server.lives()?)
        },
        || "it says nothing".into(),
    )?;
    // What ends for it does not end at once.
    check.throughout(
        Duration::from_secs(1),
        "the server outlives a reload with a broken configuration",
        || server.lives(),
        || "its daemon has ended".into(),
    )?;
    for number in 0..5 {
        server.join(&format!("bob-{number}"))?;
    }
    rewrite(check, &file, &good)?;
    let mut load = server.load(4, "at the next reload, with a good configuration");
    server.signal(server.daemon(), signal)?;
    take_over(check, &server, &mut load, pool, None)?;
    load.finish()
}

/// How many bytes the files in a directory have together. No link is followed.
fn bytes_below(directory: &Path) -> u64 {
    let mut sum = 0;
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => sum += bytes_below(&entry.path()),
            Ok(kind) if kind.is_file() => sum += entry.metadata().map_or(0, |facts| facts.len()),
            _ => {}
        }
    }
    sum
}

/// Replaces what is in a file that the server was started with, as an editor does. What a server has
/// laid beside it leads no further than the server can go itself.
fn rewrite(check: &Check, file: &Path, content: &[u8]) -> Outcome {
    let draft = file.with_extension("draft");
    check
        .as_owner_of(file, || {
            let mode = std::fs::metadata(file)?.permissions().mode();
            match std::fs::remove_file(&draft) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut fresh = File::options().write(true).create_new(true).mode(mode).open(&draft)?;
            fresh.write_all(content)?;
            std::fs::rename(&draft, file)
        })?
        .or_error(file.display())
}

/// Tells the server to come to an end when it has finished.
fn stop_gracefully(check: &Check, server: &Server) -> Outcome {
    let signal = told(check.target().manifest.lifecycle.graceful)?;
    server.expect_end();
    server.signal(server.daemon(), signal)
}

/// Waits until the address refuses new connections, while `held`, whose request is not whole, is still
/// waited for: an address that nobody listens on any more, since the server has ended, tells nothing.
/// Each connection that is taken stays in the queue, so it is asked a few times only: a full queue
/// answers nobody, on FreeBSD with a refusal.
fn refuses(check: &Check, server: &Server, held: &mut Client) -> Outcome {
    const EXPECTED: &str = "whoever comes after a graceful stop has begun is refused";
    const TRIES: u32 = 12;
    const LONGEST: Duration = Duration::from_millis(250);
    let at = server.address();
    let begin = Instant::now();
    let limit = graceful_limit(check);
    let mut accepted = Duration::ZERO;
    for number in 0..TRIES {
        let asked = begin.elapsed();
        match TcpStream::connect_timeout(&at, check.scaled(Duration::from_secs(1))) {
            Ok(_) => accepted = asked,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                if !held.has_ended() {
                    return Ok(());
                }
                break;
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                return fail(EXPECTED, format!("{at} neither accepts nor refuses a connection"));
            }
            // Accepted by a queue that is closed the next moment.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error).or_error(format!("connecting to {at}")),
        }
        // What the server promises to wait is as long on a slow machine.
        if !limit.is_zero() && begin.elapsed() > limit / 2 {
            break;
        }
        check.let_pass(check.scaled(Duration::from_millis(10 << number).min(LONGEST)));
    }
    // A server that accepts that long after it was told to stop has had its time.
    let enough = if limit.is_zero() { LONGEST / 2 } else { (limit / 4).min(2 * LONGEST) };
    if accepted < check.scaled(enough) {
        return Err(Stop::Error(format!(
            "this machine is too slow for the check: {:.1} s after the server was told to stop it can \
             not be said whether it still accepts connections",
            begin.elapsed().as_secs_f64()
        )));
    }
    let still = if held.has_ended() { " until its last client has gone" } else { "" };
    fail(EXPECTED, format!("{at} accepts connections{still}"))
}

fn graceful_stop_finishes(check: &mut Check) -> Outcome {
    const MOMENT: Duration = Duration::from_millis(300);
    let server = check.server()?;
    server.join("alice")?;
    check.act();
    let (mut bob, request) = server.begin("bob")?;
    let begin = Instant::now();
    stop_gracefully(check, &server)?;
    // Time for the stop to come to all who serve. That new clients are refused shows it, but whoever
    // is at a request may be the last to close the socket.
    let limit = graceful_limit(check);
    let moment = if limit.is_zero() { MOMENT } else { MOMENT.min(limit / 4) };
    while begin.elapsed() < moment && TcpStream::connect_timeout(&server.address(), MOMENT).is_ok()
    {
        check.let_pass(Duration::from_millis(10));
    }
    complete_in_time(check, &mut bob, &request, begin)?;
    drop(bob);
    server.ends_within(Duration::ZERO, "its last request was answered")
}

fn graceful_stop_refuses_the_new(check: &mut Check) -> Outcome {
    let server = check.server()?;
    server.join("alice")?;
    check.act();
    // Somebody to wait for.
    let (mut bob, _request) = server.begin("bob")?;
    stop_gracefully(check, &server)?;
    refuses(check, &server, &mut bob)?;
    drop(bob);
    server.ends_within(graceful_limit(check), "its last client has left")
}

/// How long a server waits for the rest of a request, as far as its manifest tells: a worker that sits
/// longer before one may be taken for hung.
fn waits_for_a_request(check: &Check) -> Option<Duration> {
    let life = &check.target().manifest.lifecycle;
    [life.graceful_limit, life.health].into_iter().flatten().map(|limit| limit.duration()).min()
}

fn graceful_limit(check: &Check) -> Duration {
    let limit = check.target().manifest.lifecycle.graceful_limit;
    limit.map_or(Duration::ZERO, |limit| limit.duration())
}

fn graceful_stop_has_a_limit(check: &mut Check) -> Outcome {
    let server = check.server()?;
    server.join("alice")?;
    check.act();
    let (_bob, _request) = server.begin("bob")?;
    stop_gracefully(check, &server)?;
    server.ends_within(graceful_limit(check), "a graceful stop, with a client that never finishes")
}

fn log_reopened(check: &mut Check) -> Outcome {
    let life = check.target().manifest.lifecycle.clone();
    let signal = told(life.reopen)?;
    let Some(log) = life.log else { return Err(Stop::Error("lifecycle.log is missing".into())) };
    let log = PathBuf::from(check.fill(&log)?);
    let server = check.server()?;
    let served = || -> Outcome {
        // More than a worker each.
        for number in 0..check.up_to(24) {
            let mut client = server.enter(&format!("bob-{number}"))?;
            let token = client.start_barrier()?;
            ensure(client.is_let_in(&token)?, "clients are served", || "one is not".into())?;
        }
        Ok(())
    };
    served()?;
    check.until(
        CHANGE,
        "a client that is served is in the log",
        || Ok(length(&log) > 0),
        || format!("{} is empty", log.display()),
    )?;
    let old = log.with_extension("1");
    check.as_owner_of(&log, || std::fs::rename(&log, &old))?.or_error(log.display())?;
    server.signal(server.daemon(), signal)?;
    check.until(
        CHANGE,
        "the log is there anew when the server was told so",
        || {
            // Some open it for the next line only.
            served()?;
            Ok(log.exists())
        },
        || format!("there is no {}", file_name(&log)),
    )?;
    // Each process does it in its own time; and then none may write to the old one.
    let mut last = (length(&old), Instant::now());
    check.until(
        CHANGE,
        "every process writes to the new log",
        || {
            let before = length(&log);
            served()?;
            let now = length(&old);
            if now != last.0 {
                last = (now, Instant::now());
            }
            Ok(length(&log) > before && last.1.elapsed() > Duration::from_millis(300))
        },
        || format!("lines are still added to {}, the old one", file_name(&old)),
    )
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |facts| facts.len())
}

fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn upgrade_in_place(check: &mut Check) -> Outcome {
    let life = check.target().manifest.lifecycle.clone();
    let signal = told(life.upgrade)?;
    // Some do so in the background only, where nobody waits for the old daemon.
    let mode = check.launch_modes().pop().unwrap_or_default();
    let server = check.server_with(mode)?;
    server.join("alice")?;
    let old: BTreeSet<i32> = server.pool()?.into_iter().collect();
    let mut former = None;
    let mut load = server.load(8, "while the server executes its program anew");
    serve_some(&mut load, 50)?;
    let slow = a_slow_client(&server)?;
    server.signal(server.daemon(), signal)?;
    if let Some(finish) = life.finish {
        let deadline = Instant::now() + check.scaled(CHANGE);
        while !server.has_successor(old.len())? {
            load.go_on()?;
            if Instant::now() >= deadline {
                return fail(
                    "new workers take over from the old ones, which end",
                    "there is no second daemon with workers of its own",
                );
            }
        }
        // Its workers have still to come to their work.
        serve_some(&mut load, 100)?;
        former = Some((server.hand_over(finish.0)?, finish.0));
    }
    take_over(check, &server, &mut load, old, Some(slow))?;
    let deadline = Instant::now() + check.scaled(CHANGE);
    while let Some((pid, finish)) = former {
        load.go_on()?;
        if server.is_gone(pid)? {
            break;
        }
        if Instant::now() >= deadline {
            return fail(
                "new workers take over from the old ones, which end",
                format!("the old daemon is still there after {}", finish.as_str()),
            );
        }
    }
    serve_some(&mut load, 50)?;
    load.finish()?;
    check.remark(format!("{} clients were answered", load.served()));
    server.join("bob").map(drop)
}

fn strangers_do_not_delay_the_end(check: &mut Check) -> Outcome {
    let server = check.server()?;
    drop(server.join("alice")?);
    check.act();
    let mut strangers: Vec<Client> = Vec::new();
    for number in 0..check.up_to(8) {
        strangers.push(server.connect(&format!("stranger-{number}"))?);
    }
    let signal = check.target().manifest.stop.signal.0;
    server.expect_end();
    server.signal(server.daemon(), signal)?;
    // Some come while it ends, and stay.
    let at = server.address();
    let mut late = Vec::new();
    for _ in 0..8 {
        match TcpStream::connect_timeout(&at, Duration::from_millis(200)) {
            Ok(stranger) => late.push(stranger),
            Err(_) => break,
        }
        check.let_pass(Duration::from_millis(5));
    }
    server.ends_within(Duration::ZERO, "it was told to end, with strangers connected")
}
