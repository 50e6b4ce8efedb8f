//! listen/ : what a service manager does for a server, and is told by it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Check, Options, free_port};
use crate::needs::Need;
use crate::platform;
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{OrError, Outcome, Step, Stop, ensure, fail};
use crate::subject::Claim;
use forkproof_report::{Failure, Level};

pub(in crate::requirements) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "listen/socket-activation",
        title: "A listening socket passed to the server is served, survives a reload, does not leak to clients' processes, and is left alone if meant for another process",
        level: Level::Must,
        clause: "sd_listen_fds(3): descriptors from 3 on are the caller's if LISTEN_PID is its own id",
        trap: "LISTEN_PID is not compared, and a child of an activated service takes its parent's descriptors for its own; the socket is shut down at the end, or held by clients' processes",
        fix: "compare LISTEN_PID with getpid(), set FD_CLOEXEC and unset the variables; close, never shut down, what was handed",
        references: &["lucab/libsystemd-rs#155", "dotnet/aspnetcore#29189"],
        needs: &[Need::ProcessTable],
        claims: &[Claim::SocketActivation],
        controls: Controls::By(&[by("listen-pid-believed", "is left alone|Connection refused")]),
        exclusive: false,
        check: socket_activation,
    },
    Requirement {
        id: "listen/readiness-means-listening",
        title: "READY=1 is sent once the server listens, not earlier and not if it cannot, to a path and to an abstract name",
        level: Level::Must,
        clause: "sd_notify(3): READY=1, service start-up is finished; NOTIFY_SOCKET begins with / or with @",
        trap: "READY=1 before bind: the next service to start is refused, and a failed start is reported as a success; or @ is taken for part of a file name",
        fix: "send READY=1 after the last listen() has succeeded; a leading @ stands for a NUL byte",
        references: &["AdguardTeam/AdGuardHome#7824"],
        needs: &[],
        claims: &[Claim::Notifies],
        controls: Controls::By(&[by("no-unix-sockets", "says READY=1")]),
        exclusive: false,
        check: readiness_means_listening,
    },
];

fn socket_activation(check: &mut Check) -> Outcome {
    let socket = Arc::new(TcpListener::bind("127.0.0.1:0").or_error("bind")?);
    let at = socket.local_addr().or_error("local address")?;
    for _ in 0..2 {
        // The socket outlives each server: the second one gets it as the first one left it.
        let server = check.server_with(Options::new().handed(&socket))?;
        let (_alice, cluster) = server.join_with_cluster("alice")?;
        if check.has(Claim::ProcessPerClient) {
            for &pid in cluster.pids() {
                check.until(
                    Duration::from_secs(1),
                    "the handed socket is the daemon's alone",
                    || Ok(!server.ask(pid, |pid| platform::listens(pid, at.port()))?),
                    || format!("process {pid} of a client has it open"),
                )?;
            }
        }
        if check.has(Claim::Sighup) {
            server.signal(server.daemon(), Signal::SIGHUP)?;
            server.join_at("bob, after SIGHUP", at)?;
        }
        server.end()?;
    }
    let server = check.server_with(Options::new().handed_to_another(&socket));
    let server = server.map_err(|stop| match stop {
        Stop::Fail(failure) => Stop::Fail(Failure {
            expected: "the server listens where it is told when LISTEN_PID is another process's"
                .into(),
            ..failure
        }),
        other => other,
    })?;
    ensure(
        server.address() != at,
        "a socket whose LISTEN_PID is another process's is left alone",
        || format!("the server listens on it, {at}, and not where it is told"),
    )?;
    server.join("carol").map(drop)
}

fn readiness_means_listening(check: &mut Check) -> Outcome {
    let path = check.dir().join("notify");
    let socket = UnixDatagram::bind(&path).or_error(path.display())?;
    let name = format!("forkproof-{}", std::process::id());
    let mut places = vec![(path.into_os_string(), socket)];
    match platform::abstract_datagram(&name) {
        Ok(socket) => places.push((format!("@{name}").into(), socket)),
        Err(reason) => check.note(reason),
    }
    for (place, socket) in places {
        let at = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let told = || Options::new().listen(at).notify(place.clone());
        let shown = place.to_string_lossy().into_owned();
        // Another program has the port.
        let owner = TcpListener::bind(at).or_error("bind")?;
        let launched = check.launch(told())?;
        let word = heard(&socket, Duration::from_millis(100))?;
        drop(owner);
        ensure(
            launched.server.is_some() || word.is_none(),
            format!("a server that cannot listen does not say READY=1 ({shown})"),
            || format!("it says so, and then {}", launched.outcome()),
        )?;
        // A start may take its time, and the word come at its end.
        let start = check.target().manifest.ready.limit.duration();
        let watch = connect_when_ready(&socket, at, check.scaled(start + Duration::from_secs(5)))?;
        let server = check.server_with(told().under("slow-listen"))?;
        match watch.join() {
            Ok(Ok(Some(None))) => {}
            Ok(Ok(Some(Some(why)))) => {
                return fail(
                    format!("the server listens when it says READY=1 ({shown})"),
                    format!("a connection made then is refused: {why}"),
                );
            }
            Ok(Ok(None)) => {
                return fail(
                    format!("the server says READY=1 ({shown})"),
                    format!(
                        "it listens, and has said nothing of the kind: {}",
                        server.output().trim()
                    ),
                );
            }
            Ok(Err(stop)) => return Err(stop),
            Err(_) => return Err(Stop::Error("the thread that waits for READY=1".into())),
        }
        server.join("alice")?;
        server.end()?;
    }
    check.came_to("slow-listen")
}

/// The first message with READY=1 that comes within `limit`.
fn heard(socket: &UnixDatagram, limit: Duration) -> Step<Option<String>> {
    socket.set_read_timeout(Some(limit)).or_error("SO_RCVTIMEO")?;
    let mut buffer = [0; 4096];
    while let Ok(count) = socket.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        if text.lines().any(|line| line == "READY=1") {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Waits for READY=1 and connects at once, beside the start that is waited for elsewhere. Gives why
/// that failed, if it did.
#[allow(clippy::type_complexity)]
fn connect_when_ready(
    socket: &UnixDatagram,
    at: SocketAddr,
    limit: Duration,
) -> Step<JoinHandle<Step<Option<Option<String>>>>> {
    let socket = socket.try_clone().or_error("notify socket")?;
    Ok(std::thread::spawn(move || {
        let Some(_) = heard(&socket, limit)? else { return Ok(None) };
        Ok(Some(TcpStream::connect_timeout(&at, limit).err().map(|error| error.to_string())))
    }))
}
