//! processes/ : who is forked, who dies with whom, and what the server costs.
//!
//! One file however long, as each area's: the code of an id is found by its area.

pub(super) mod clients;
pub(super) mod pid_file;
pub(super) mod surroundings;

use std::cell::Cell;
use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::resource::Resource;
use nix::sys::signal::Signal;

use super::situations::{
    as_user, auth_timeout, both_are_served, cluster_is_gone, idle_cost, names, take_descriptors,
    unused_user,
};
use crate::harness::{Check, Client, Cluster, Options, Server};
use crate::needs::Need;
use crate::platform;
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{OrError, Outcome, Step, Stop, ensure, fail};
use crate::subject::{Claim, Model};
use forkproof_report::Level;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "processes/one-cluster-per-client",
        title: "Each client is served by processes of its own, a receiver and a sender",
        level: Level::Must,
        clause: "the architecture of the papaya chat server: a daemon, and a receiver and a sender per client",
        trap: "a process forked too often (the child goes on in the parent's loop) or one shared by clients",
        fix: "end the child's branch of every fork with _exit",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::ProcessPerClient],
        controls: Controls::By(&[by("forks-twice", "brought")]),
        exclusive: false,
        check: one_cluster_per_client,
    },
    Requirement {
        id: "processes/cluster-ends-with-client",
        title: "A client's processes are gone 1 s after the client, whether it closed or was cut off",
        level: Level::Must,
        clause: "POSIX.1-2024, recv: 0 at the end of the stream; [ECONNRESET]",
        trap: "the sender never learns that its client is gone, since it only waits for signals: one orphan for each client, for ever",
        fix: "tie the two processes together: a pipe whose end tells, or a signal from the one that sees the end",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::ProcessPerClient],
        controls: Controls::By(&[by("eof-never-comes", "it closed the connection")]),
        exclusive: false,
        check: cluster_ends_with_client,
    },
    Requirement {
        id: "processes/receiver-death-ends-cluster",
        title: "When a receiver is killed its sender ends and its client sees the connection close",
        level: Level::Must,
        clause: "POSIX.1-2024, _Exit: a killed process's descriptors are closed; the socket stays open while another process has it",
        trap: "the sender keeps the socket open: the client still hears, and speaks into nothing",
        fix: "let the sender wait for its receiver's end too (a pipe held by the receiver alone)",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::ProcessPerClient],
        controls: Controls::By(&[by("accepted-socket-leaks", "still open")]),
        exclusive: false,
        check: receiver_death_ends_cluster,
    },
    Requirement {
        id: "processes/sender-death-ends-cluster",
        title: "When a sender is killed its receiver ends and its client sees the connection close",
        level: Level::Must,
        clause: "POSIX.1-2024, waitpid and SIGCHLD",
        trap: "a client that can speak but not hear: the paper's server after its sender died of a reset signal handler",
        fix: "let the receiver handle SIGCHLD and end with its sender",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::Clusters],
        controls: Controls::By(&[by("signal-default=SIGCHLD", "still open")]),
        exclusive: false,
        check: sender_death_ends_cluster,
    },
    Requirement {
        id: "processes/other-clients-unharmed-by-a-kill",
        title: "Killing one client's processes leaves the other clients' chat whole",
        level: Level::Must,
        clause: "POSIX.1-2024, kill: a process id is one process, a negative one a group",
        trap: "one cluster's end taken for the group's: a kill of the process group, or a daemon that exits when a child dies by a signal",
        fix: "end exactly the processes of the cluster that broke",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::ProcessPerClient],
        controls: Controls::By(&[by("accept-loop-ends", "carol|its daemon")]),
        exclusive: false,
        check: other_clients_unharmed_by_a_kill,
    },
    Requirement {
        id: "processes/chat-survives-stopped-daemon",
        title: "Clients that are in are served on while the daemon is stopped",
        level: Level::Must,
        clause: "the papaya paper's claim: clusters do not depend on the daemon",
        trap: "messages that pass through the daemon",
        fix: "let clusters wake each other",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::IndependentClients, Claim::Again],
        controls: Controls::By(&[by("multicast-by-daemon", "while the daemon is stopped")]),
        exclusive: false,
        check: chat_survives_stopped_daemon,
    },
    Requirement {
        id: "processes/chat-survives-killed-daemon",
        title: "Clients that are in are served on after the daemon was killed",
        level: Level::Must,
        clause: "the papaya paper's claim; POSIX.1-2024, _Exit: a new orphaned process group is sent SIGHUP when a member is stopped",
        trap: "PR_SET_PDEATHSIG, SIGHUP from the dying session, or a pipe from the daemon takes the clusters along",
        fix: "ignore SIGHUP in the clusters and hold nothing that ends with the daemon",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::IndependentClients, Claim::Again],
        controls: Controls::By(&[
            by("children-die-with-parent", "bob is let in|bob hears"),
            by("multicast-by-daemon", "bob is let in|bob hears"),
        ]),
        exclusive: false,
        check: chat_survives_killed_daemon,
    },
    Requirement {
        id: "processes/old-and-new-clients-meet-after-restart",
        title: "After the daemon was killed and started anew, clients of the old and the new one hear each other",
        level: Level::Must,
        clause: "POSIX.1-2024, kill: kill(0) reaches one process group, and each daemon has its own",
        trap: "the multicast goes to the sender's process group: two daemons' clients write to one log and wake only their own",
        fix: "wake every group that serves the log",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::Generations],
        controls: Controls::By(&[by("record-locks-unseen", "from generation")]),
        exclusive: false,
        check: old_and_new_clients_meet_after_restart,
    },
    Requirement {
        id: "processes/fork-refused",
        title: "When fork fails for want of processes that client is refused, the daemon lives, and later clients are served",
        level: Level::Must,
        clause: "POSIX.1-2024, fork: [EAGAIN]; setrlimit(2), RLIMIT_NPROC",
        trap: "-1 from fork taken for a child's pid (kill(-1) then ends every process of the user), a client left connected to nobody, or exit",
        fix: "close the client's socket, log the refusal, go on accepting",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::ProcessPerClient, Claim::KeepsOpen],
        controls: Controls::By(&[by("fork-fails", "clients are served")]),
        exclusive: true,
        check: fork_refused,
    },
    Requirement {
        id: "processes/descriptors-exhausted",
        title: "When accept fails for want of descriptors the daemon neither ends nor spins, and serves again later",
        level: Level::Must,
        clause: "POSIX.1-2024, accept: [EMFILE], [ENFILE]",
        trap: "EMFILE leaves the connection in the queue: poll says ready at once, again and again, at 100 % processor time; or the daemon exits",
        fix: "keep a spare descriptor to accept and close with, and pause",
        references: &[],
        needs: &[Need::ProcessTable, Need::ProcessorTime, Need::ForeignLimits],
        claims: &[],
        controls: Controls::By(&[by("fd-exhausted=1", "carol")]),
        exclusive: false,
        check: descriptors_exhausted,
    },
    Requirement {
        id: "processes/no-descriptor-leak",
        title: "After 500 connections the daemon has no more descriptors than before",
        level: Level::Must,
        clause: "POSIX.1-2024, fork: parent and child each have the descriptor, and each must close it",
        trap: "the daemon forgets to close the client's socket after fork: at the 1021st client it ends, and no client ever sees its connection close",
        fix: "close the accepted socket in the daemon right after fork",
        references: &[],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[],
        controls: Controls::By(&[by("accepted-socket-leaks", "descriptors open")]),
        exclusive: false,
        check: no_descriptor_leak,
    },
    Requirement {
        id: "processes/no-memory-growth",
        title: "500 more connections leave the daemon's memory as it was",
        level: Level::Must,
        clause: "CWE-401: missing release of memory after effective lifetime",
        trap: "a record kept for each client that ever was",
        fix: "forget a child when it is reaped",
        references: &[],
        needs: &[Need::ProcessTable, Need::ProcessMemory],
        claims: &[],
        controls: Controls::By(&[by("leaks-memory=16", "it has grown")]),
        exclusive: false,
        check: no_memory_growth,
    },
    Requirement {
        id: "processes/idle-is-idle",
        title: "64 clients that say nothing use no processor time",
        level: Level::Must,
        clause: "POSIX.1-2024, sigsuspend, ppoll: a wait costs nothing",
        trap: "senders that look at the log every few milliseconds: 64 clients are a busy machine",
        fix: "wait for signals and sockets, without timeouts",
        references: &[],
        needs: &[Need::ProcessTable, Need::ProcessorTime],
        claims: &[],
        controls: Controls::By(&[by("busy-wait=50", "uses no processor time")]),
        exclusive: false,
        check: idle_is_idle,
    },
    Requirement {
        id: "processes/daemonizes",
        title: "In the background the daemon has a session of its own, no terminal, / as directory and /dev/null as standard descriptors",
        level: Level::Must,
        clause: "daemon(7), \"SysV daemons\"; POSIX.1-2024, setsid and 11.1.3",
        trap: "the terminal's SIGHUP ends it, a mounted directory cannot be unmounted, the launching ssh never returns since its pipe stays open",
        fix: "fork, setsid, fork, chdir(\"/\"), and /dev/null on 0 to 2",
        references: &[],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::Daemon],
        controls: Controls::By(&[by("group-leaks", "session of its own")]),
        exclusive: false,
        check: daemonizes,
    },
    Requirement {
        id: "processes/daemon-leads-no-session",
        title: "In the background the daemon is no session leader, so that no terminal it opens becomes its own",
        level: Level::Should,
        clause: "daemon(7), \"SysV daemons\", step 7; POSIX.1-2024, 11.1.3; daemon(3) forks once",
        trap: "daemon(3) forks once: a daemon that later opens a terminal, as a log or a console, without O_NOCTTY is ended by its hangup",
        fix: "fork again after setsid, or open everything with O_NOCTTY",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::Daemon],
        controls: Controls::By(&[by("single-fork", "it is one")]),
        exclusive: false,
        check: daemon_leads_no_session,
    },
    Requirement {
        id: "processes/launcher-status-is-honest",
        title: "The launcher of a daemon that cannot start exits non-zero and says why, for each reason there is",
        level: Level::Must,
        clause: "POSIX.1-2024, exit status; systemd.service(5), Type=forking: the launcher exits when start-up is complete",
        trap: "the launcher exits 0 right after fork: whatever fails later (port in use, log not writable) only the syslog knows",
        fix: "let the launcher wait, over a pipe, until the daemon listens or has failed",
        references: &[],
        needs: &[],
        claims: &[Claim::StartupErrors],
        controls: Controls::By(&[by("exits-zero", "exits non-zero")]),
        exclusive: false,
        check: launcher_status_is_honest,
    },
    Requirement {
        id: "processes/drops-privileges",
        title: "Started as root with a user, every process is that user's in all three ids and has none of root's groups",
        level: Level::Must,
        clause: "POSIX.1-2024, setuid: with appropriate privileges all three ids are set; initgroups(3)",
        trap: "seteuid (the saved id gives root back), setuid before setgid, or supplementary groups that stay root's",
        fix: "initgroups, setgid, setuid, in this order, and try that root does not come back",
        references: &[],
        needs: &[Need::Root, Need::ProcessTable, Need::Credentials],
        claims: &[Claim::PrivilegeDrop, Claim::ProcessPerClient],
        controls: Controls::By(&[by("setuid-does-nothing", "this system gives root back")]),
        exclusive: false,
        check: drops_privileges,
    },
    Requirement {
        id: "processes/slow-loris-is-bounded",
        title: "A client that sends its key one byte at a time occupies a process no longer than the timeout",
        level: Level::Must,
        clause: "CWE-400: uncontrolled resource consumption; papaya line protocol, auth timeout",
        trap: "a timeout that each byte starts anew",
        fix: "one deadline for the whole key",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::AuthTimeout, Claim::ProcessPerClient],
        controls: Controls::By(&[by("frozen-clock", "still open")]),
        exclusive: false,
        check: slow_loris_is_bounded,
    },
    Requirement {
        id: "processes/clients-are-limited",
        title: "Beyond the configured number of clients further ones are closed at once, and served again when one has left",
        level: Level::Should,
        clause: "CWE-770: allocation of resources without limits",
        trap: "a fork for everyone who connects: strangers fill the process table",
        fix: "count the children and refuse at the limit",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::MaxClients],
        controls: Controls::By(&[by("never-reaps", "a place that became free")]),
        exclusive: false,
        check: clients_are_limited,
    },
];

fn one_cluster_per_client(check: &mut Check) -> Outcome {
    let server = check.server()?;
    check.act();
    let mut clients = Vec::new();
    let mut known: Vec<i32> = Vec::new();
    for number in 0..check.up_to(5) {
        let (client, cluster) = server.join_with_cluster(&format!("client-{number}"))?;
        for pid in cluster.pids() {
            ensure(!known.contains(pid), "no process serves two clients", || {
                format!("process {pid} does")
            })?;
        }
        known.extend(cluster.pids());
        clients.push(client);
    }
    Ok(())
}

fn cluster_ends_with_client(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let (alice, cluster) = server.join_with_cluster("alice")?;
    drop(alice);
    cluster_is_gone(check, &server, &cluster, "it closed the connection")?;
    let (bob, cluster) = server.join_with_cluster("bob")?;
    bob.reset()?;
    cluster_is_gone(check, &server, &cluster, "it reset the connection")
}

fn receiver_death_ends_cluster(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    server.signal(cluster.receiver, Signal::SIGKILL)?;
    alice.hears_end()?;
    cluster_is_gone(check, &server, &cluster, "its receiver was killed")
}

fn sender_death_ends_cluster(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    server.signal(cluster.sender, Signal::SIGKILL)?;
    alice.hears_end()?;
    cluster_is_gone(check, &server, &cluster, "its sender was killed")
}

fn other_clients_unharmed_by_a_kill(check: &mut Check) -> Outcome {
    check.needs_clients(5)?;
    let server = check.server()?;
    let (_first, first) = server.join_with_cluster("first to be killed")?;
    let (_second, second) = server.join_with_cluster("second to be killed")?;
    let mut alice = server.join("alice")?;
    let mut bob = server.join("bob")?;
    alice.barrier()?;
    for (number, pid) in [first.receiver, second.sender].into_iter().enumerate() {
        server.signal(pid, Signal::SIGKILL)?;
        for round in 0..10 {
            let line = format!("after kill {number}, {round}");
            both_are_served(check, &mut alice, &mut bob, &line)?;
        }
    }
    server.join("carol").map(drop)
}

/// The daemon and the processes of a client, with what they are.
fn roles(server: &Server, cluster: &Cluster) -> Vec<(&'static str, i32)> {
    let mut roles = vec![("daemon", server.daemon())];
    for &pid in cluster.pids() {
        roles.push(match pid {
            pid if cluster.receiver == cluster.sender => ("client's process", pid),
            pid if pid == cluster.receiver => ("receiver", pid),
            pid => ("sender", pid),
        });
    }
    roles
}

/// Two clients that are served, and hear each other where it is a chat.
fn they_go_on(check: &Check, first: &mut Client, second: &mut Client, when: &str) -> Outcome {
    for round in 0..3 {
        both_are_served(check, first, second, &format!("{when}, {round}, first"))?;
        both_are_served(check, second, first, &format!("{when}, {round}, second"))?;
    }
    Ok(())
}

fn chat_survives_stopped_daemon(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let mut bob = server.join("bob")?;
    alice.barrier()?;
    bob.barrier()?;
    server.freeze(server.daemon())?;
    they_go_on(check, &mut alice, &mut bob, "while the daemon is stopped")?;
    server.signal(server.daemon(), Signal::SIGCONT)
}

fn chat_survives_killed_daemon(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let (mut bob, cluster) = server.join_with_cluster("bob")?;
    alice.barrier()?;
    // With a stopped member the orphaned process group is sent SIGHUP and SIGCONT.
    server.freeze_at_rest(cluster.sender)?;
    server.kill_daemon()?;
    server.signal(cluster.sender, Signal::SIGCONT)?;
    bob.barrier()?;
    they_go_on(check, &mut alice, &mut bob, "after the daemon was killed")?;
    drop(alice);
    bob.barrier()
}

fn old_and_new_clients_meet_after_restart(check: &mut Check) -> Outcome {
    let old = check.server()?;
    let mut alice = old.join("alice")?;
    old.kill_daemon()?;
    let middle = check.server()?;
    let mut bob = middle.join("bob")?;
    middle.kill_daemon()?;
    let new = check.server()?;
    let mut carol = new.join("carol")?;
    for client in [&mut alice, &mut bob, &mut carol] {
        client.barrier()?;
    }
    // Three generations, each of which has to hear the others.
    for round in 0..5 {
        for speaker in 0..3 {
            let line = format!("{round} from generation {speaker}");
            let all = [&mut alice, &mut bob, &mut carol];
            all[speaker].say(&line)?;
            for client in all {
                client.hears(&line)?;
            }
        }
    }
    Ok(())
}

fn fork_refused(check: &mut Check) -> Outcome {
    const CLIENTS: u64 = 4;
    let root = nix::unistd::geteuid().is_root();
    let used = if root { 0 } else { platform::processes_of_user().map_err(Stop::NotRun)? };
    let measured = check.target().measured;
    let (idle, each) = (measured.idle as u64, measured.per_client.max(1) as u64);
    let mut options = Options::new().limit(Resource::RLIMIT_NPROC, used + idle + each * CLIENTS);
    if root {
        // Root is exempt from the limit.
        options = as_user(check, options, unused_user()?)?;
    }
    let server = check.server_with(options)?;
    let mut clients = Vec::new();
    let mut refused = false;
    // What the limit counts may be less than was counted here: it is the namespace's.
    for number in 0..4 * CLIENTS + used / each {
        let mut client = server.enter(&format!("client-{number}"))?;
        let token = client.start_barrier()?;
        refused = !client.is_let_in(&token)?;
        if refused {
            break;
        }
        clients.push(client);
    }
    ensure(refused, "at the limit of processes a client is refused", || {
        format!("{} clients were served under a limit for {CLIENTS} or little more", clients.len())
    })?;
    ensure(!clients.is_empty(), "below the limit clients are served", || "none was".into())?;
    let kept = clients.len();
    check.note("lets all clients go");
    drop(clients);
    check.until(
        Duration::from_secs(5),
        "the daemon outlives a failed fork, and its children end",
        || Ok(server.is_back_to(0)? && server.lives()?),
        || match server.lives() {
            Ok(true) => "children are left".into(),
            _ => "the daemon has ended".into(),
        },
    )?;
    // A child counts until it is reaped, and when that is, is the server's affair here: whoever
    // comes too early may be refused once more.
    let mut later = Vec::new();
    for number in 0..kept.min(2) {
        check.until(
            Duration::from_secs(5),
            "clients that come after the others have left are served",
            || {
                let mut client = server.enter(&format!("later-{number}"))?;
                let token = client.start_barrier()?;
                let is_let_in = client.is_let_in(&token)?;
                if is_let_in {
                    later.push(client);
                }
                Ok(is_let_in)
            },
            || "every one of them is refused".into(),
        )?;
    }
    Ok(())
}

fn descriptors_exhausted(check: &mut Check) -> Outcome {
    const WATCHED: Duration = Duration::from_millis(500);
    // In that time, of five clients that wait, nobody has so much to say.
    const FLOOD: u64 = 1 << 20;
    const NO_SPIN: &str = "the daemon does not spin while it has no descriptors";
    const LOOKS: usize = 20;
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let acceptors = server.acceptors()?;
    let mut before = Vec::new();
    for &pid in &acceptors {
        before.push(server.ask(pid, |pid| take_descriptors(check, pid))?);
    }
    check.note("takes the daemon's right to any further descriptor");
    let used = || -> Step<Duration> {
        let mut total = 0;
        for &pid in &acceptors {
            match server.ask(pid, platform::processor_time) {
                Ok(nanoseconds) => total += nanoseconds,
                // A worker may end, if another one takes its place.
                Err(Stop::Fail(_)) if check.has(Claim::Workers) => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(Duration::from_nanos(total))
    };
    let used_before = used()?;
    let begin = Instant::now();
    // That a daemon is gone which cannot be connected to is seen below.
    let count = check.up_to(6).max(2) - 1;
    let _waiting: Vec<Client> =
        (0..count).flat_map(|n| server.connect(&format!("waiting-{n}"))).collect();
    let (looks, active) = (Cell::new(0), Cell::new(0));
    let said_before = server.output_length();
    let look = || {
        // On a slow machine that is watched for long, and a flood would fill the disk.
        let said = server.output_length().saturating_sub(said_before);
        let as_long = begin.elapsed().div_duration_f64(WATCHED).max(1.0);
        ensure((said as f64) < FLOOD as f64 * as_long, NO_SPIN, || {
            format!("the daemon spins: it said {said} bytes in {:.1?}", begin.elapsed())
        })?;
        let table = server.processes()?;
        let is_active = |p: &platform::Process| {
            acceptors.contains(&p.pid) && p.state == platform::State::Active
        };
        looks.set(looks.get() + 1);
        active.set(active.get() + usize::from(table.iter().any(is_active)));
        let daemon = table.iter().find(|process| process.pid == server.daemon());
        Ok(daemon.is_some_and(|process| process.state != platform::State::Zombie))
    };
    const OUTLIVES: &str = "the daemon outlives EMFILE from accept";
    check.throughout(WATCHED, OUTLIVES, look, || "it ended".into())?;
    // Where a look takes long there were few, which tell nothing.
    while looks.get() < LOOKS {
        ensure(look()?, OUTLIVES, || "it ended".into())?;
    }
    let spent = used()?.saturating_sub(used_before);
    // Held against the time that was watched, which is longer on a slow or busy machine.
    let watched = begin.elapsed();
    ensure(spent < watched / 5, NO_SPIN, || {
        format!("the daemon spins: it used {spent:.1?} of processor time in {watched:.1?}")
    })?;
    // On a busy machine one that spins gets little, but wants to run all the time.
    ensure(active.get() * 4 < looks.get() * 3, NO_SPIN, || {
        format!("the daemon spins: ready to run at {} of {} looks", active.get(), looks.get())
    })?;
    // Whose process is another one has descriptors of its own.
    let apart = check.has(Claim::ProcessPerClient) && check.has(Claim::Again);
    if apart || check.has(Claim::Broadcast) {
        alice.barrier()?;
    }
    for (&pid, &limit) in acceptors.iter().zip(&before) {
        match server.ask(pid, |pid| platform::limit_descriptors_of(pid, limit)) {
            Ok(_) => {}
            Err(Stop::Fail(_)) if check.has(Claim::Workers) => {}
            Err(stop) => return Err(stop),
        }
    }
    // Descriptors become free when clients leave: a server may wait for that.
    drop(alice);
    server.join("carol, afterwards").map(drop)
}

/// 500 connections: strangers, wrong keys, and clients that are let in.
fn many_connections(server: &Server) -> Outcome {
    for number in 0..50 {
        for _ in 0..8 {
            drop(server.come("a stranger")?);
        }
        if !server.key().is_empty() {
            let mut wrong = server.connect("a wrong key")?;
            wrong.send(&vec![b'0'; server.key().len()])?;
            wrong.hears_end()?;
        }
        drop(server.join(&format!("client-{number}"))?);
    }
    Ok(())
}

fn only_the_daemon_is_left(check: &Check, server: &Server) -> Outcome {
    check.until(
        Duration::from_secs(5),
        "all clients' processes end with their clients",
        || server.is_back_to(0),
        || {
            format!(
                "{} processes are left, and {} are there without clients",
                server.living().unwrap_or_default(),
                server.process_count(0)
            )
        },
    )
}

/// The most that `look` tells of a process that can accept a client. Not the sum: a pool may grow, and
/// may replace one by another meanwhile.
fn most_of_acceptors(
    check: &Check,
    server: &Server,
    look: fn(i32) -> Result<u64, String>,
) -> Step<u64> {
    let mut most = 0;
    for pid in server.acceptors()? {
        match server.ask(pid, look) {
            Ok(told) => most = most.max(told),
            Err(Stop::Fail(_)) if check.has(Claim::Workers) => {}
            Err(stop) => return Err(stop),
        }
    }
    Ok(most)
}

fn no_descriptor_leak(check: &mut Check) -> Outcome {
    /// One for every tenth connection is no accident.
    const BEYOND_DOUBT: u64 = 50;
    let count = |pid| platform::descriptor_count(pid).map(|count| count as u64);
    let server = check.server()?;
    let wave = || -> Outcome {
        many_connections(&server)?;
        only_the_daemon_is_left(check, &server)?;
        // What a daemon still has to close of them it closes when it wakes next.
        drop(server.join("one alone")?);
        only_the_daemon_is_left(check, &server)
    };
    // The first ones may leave something open that is used again.
    wave()?;
    let mut counts = vec![most_of_acceptors(check, &server, count)?];
    // A leak grows each time. One more may be what the last client has left.
    for _ in 0..2 {
        wave()?;
        let before = counts[counts.len() - 1];
        let mut after = 0;
        // A server that does not fork closes them in its own time.
        let is_back = check.reaches(Duration::from_secs(5), || {
            after = most_of_acceptors(check, &server, count)?;
            Ok(after <= before)
        })?;
        if is_back {
            return Ok(());
        }
        counts.push(after);
        if after >= before + BEYOND_DOUBT {
            break;
        }
    }
    let shown: Vec<String> = counts.iter().map(u64::to_string).collect();
    fail(
        "500 more connections leave the daemon as many descriptors as before",
        format!("it has more descriptors open each time: {}", shown.join(", ")),
    )
}

fn no_memory_growth(check: &mut Check) -> Outcome {
    /// A page here and there; a record for each of 500 clients would be more.
    const ALLOWED: u64 = 16 * 1024;
    /// What a record for each client grows, it grows every time; what an allocator keeps settles.
    const ROUNDS: usize = 4;
    /// As long as it grows less and less, it may be settling.
    const MOST_ROUNDS: usize = 10;
    /// No allocator keeps 8 KiB for each client twice in a row.
    const BEYOND_DOUBT: u64 = 500 * 8 * 1024;
    let server = check.server()?;
    let mut sizes: Vec<u64> = Vec::new();
    while sizes.len() <= ROUNDS || sizes.len() <= MOST_ROUNDS && settles(&sizes) {
        many_connections(&server)?;
        only_the_daemon_is_left(check, &server)?;
        let enough = sizes.last().map(|before| before + ALLOWED);
        sizes.push(settled_memory(check, &server, enough)?);
        // The first ones grow what is then used again.
        if let [.., before, after] = sizes.as_slice() {
            if *after <= before + ALLOWED {
                return Ok(());
            }
        }
        if let [.., first, second, third] = sizes.as_slice() {
            if *second > first + BEYOND_DOUBT && *third > second + BEYOND_DOUBT {
                break;
            }
        }
    }
    let shown: Vec<String> = sizes.iter().map(|size| (size / 1024).to_string()).collect();
    fail(
        "500 more connections leave the daemon's memory as it was",
        format!("it has grown each time, in KiB: {}", shown.join(", ")),
    )
}

/// Whether what it grew by at last is less than half of what it grew by at first.
fn settles(sizes: &[u64]) -> bool {
    match sizes {
        [first, second, .., before, after] => {
            after.saturating_sub(*before) * 2 < second.saturating_sub(*first)
        }
        _ => false,
    }
}

/// The acceptors' memory. Where threads serve, they end in their own time, and their stacks with
/// them: then it may take a while to be `enough`.
fn settled_memory(check: &Check, server: &Server, enough: Option<u64>) -> Step<u64> {
    let mut size = most_of_acceptors(check, server, platform::anonymous_memory)?;
    if let Some(enough) =
        enough.filter(|_| check.target().manifest.processes.model == Model::Threads)
    {
        check.reaches(Duration::from_secs(5), || {
            size = most_of_acceptors(check, server, platform::anonymous_memory)?;
            Ok(size <= enough)
        })?;
    }
    Ok(size)
}

fn idle_is_idle(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let count = check.up_to(64);
    let _crowd = server.crowd(count)?;
    idle_cost(check, &server, &format!("for {count} clients"))
}

fn daemonizes(check: &mut Check) -> Outcome {
    let options = Options::new().daemon();
    let server = check.server_with(match check.has(Claim::Syslog) {
        true => options.syslog(),
        false => options,
    })?;
    server.join("alice")?;
    let pid = server.daemon();
    let daemon = server.process(pid)?.ok_or_else(|| Stop::Error("no such process".into()))?;
    let own = nix::unistd::getsid(None).or_error("getsid")?.as_raw();
    ensure(daemon.session != own, "the daemon is in a session of its own", || {
        "the daemon is in its launcher's session".into()
    })?;
    ensure(!daemon.has_terminal, "the daemon has no controlling terminal", || {
        "the daemon has a controlling terminal".into()
    })?;
    let directory = server.ask(pid, platform::working_directory)?;
    ensure(directory == std::path::Path::new("/"), "the daemon's directory is /", || {
        format!("the daemon's directory is {}", directory.display())
    })?;
    let descriptors = server.ask(pid, platform::standard_descriptors)?;
    ensure(
        descriptors.iter().all(|target| target.as_deref() == Some("/dev/null")),
        "standard input, output and error are /dev/null",
        || {
            let names = descriptors.iter().map(|target| target.as_deref().unwrap_or("closed"));
            format!(
                "the daemon's standard descriptors are {}",
                names.collect::<Vec<_>>().join(", ")
            )
        },
    )?;
    Ok(())
}

fn daemon_leads_no_session(check: &mut Check) -> Outcome {
    let server = check.server_with(Options::new().daemon())?;
    let pid = server.daemon();
    let daemon = server.process(pid)?.ok_or_else(|| Stop::Error("no such process".into()))?;
    ensure(
        daemon.session != pid,
        "the daemon is no session leader, which could acquire a terminal by opening one",
        || "it is one".into(),
    )
}

fn launcher_status_is_honest(check: &mut Check) -> Outcome {
    let dir = check.dir().to_owned();
    let at = |name: &str| dir.join(name);
    let taken = TcpListener::bind("127.0.0.1:0").or_error("bind")?;
    let taken_address = taken.local_addr().or_error("local address")?.to_string();
    let mut cases: Vec<(&str, Options, String)> =
        vec![("a port in use", Options::new().listen(&taken_address), taken_address)];
    if check.has(Claim::Key) {
        let length = check.target().manifest.key_length();
        std::fs::write(at("short.key"), vec![b'k'; length - 1]).or_error("short.key")?;
        std::fs::write(at("newline.key"), [&vec![b'k'; length][..], b"\n"].concat())
            .or_error("newline.key")?;
        let too_short = format!("{} bytes", length - 1);
        for (what, name, named) in [
            ("a missing key file", "no.key", "no.key"),
            ("a key that is too short", "short.key", &too_short),
            ("a key with a newline", "newline.key", "newline"),
            ("a key file that is a directory", "directory", "directory"),
        ] {
            cases.push((what, Options::new().key_file(at(name)), named.to_owned()));
        }
    }
    if check.has(Claim::ChatLog) {
        for (what, name, named) in [
            ("a log that is a directory", "directory", "directory"),
            ("a log in a directory that is not there", "no/chat.log", "no/chat.log"),
        ] {
            cases.push((what, Options::new().log(at(name)), named.to_owned()));
        }
    }
    if check.has(Claim::ConfigErrors) {
        std::fs::write(at("bad.toml"), "replay = 7\nprot = 7722\n").or_error("bad.toml")?;
        for (what, name, named) in [
            ("an unknown configuration key", "bad.toml", "bad.toml"),
            ("a configuration file that is not there", "no.toml", "no.toml"),
        ] {
            cases.push((what, Options::new().config(at(name)), named.to_owned()));
        }
    }
    cases.push((
        "a ready file that cannot be written",
        Options::new().ready_file(at("no/ready")),
        "no/ready".to_owned(),
    ));
    std::fs::create_dir(at("directory")).or_error("directory")?;
    let mut tried = 0;
    for (what, options, named) in cases {
        let mut modes = vec![options.clone()];
        if check.launch_modes().len() > 1 {
            modes.push(options.daemon());
        }
        for options in modes {
            let launched = match check.launch(options) {
                // What the server cannot be told, it cannot be told wrongly.
                Err(Stop::Unsupported(reason)) => {
                    check.note(reason);
                    continue;
                }
                launched => launched?,
            };
            tried += 1;
            ensure(
                launched.server.is_none() && launched.failed(),
                format!("with {what} the launcher exits non-zero"),
                || launched.outcome(),
            )?;
            ensure(
                names(check, &launched.output, &named),
                format!("with {what} the launcher's message names it ({named})"),
                || format!("the launcher says: {}", launched.output.trim()),
            )?;
        }
    }
    match tried {
        0 => Err(Stop::Unsupported(format!(
            "the target {} can be told nothing that would keep it from starting",
            check.target().name
        ))),
        _ => Ok(()),
    }
}

fn drops_privileges(check: &mut Check) -> Outcome {
    let user = nix::unistd::User::from_name("nobody")
        .or_error("user database")?
        .ok_or_else(|| Stop::NotRun("needs a user `nobody`".into()))?;
    // The private directory may be passed through, as /var/lib may; the files in it are root's.
    std::fs::set_permissions(check.dir(), Permissions::from_mode(0o711)).or_error("chmod")?;
    // Root's supplementary groups differ between systems and logins; here it has its own.
    let options = Options::new().groups(&[0]).user("nobody");
    let server = check.server_with(options)?;
    let (mut alice, cluster) = server.join_with_cluster("alice")?;
    let wanted = user.uid.as_raw();
    for (role, pid) in roles(&server, &cluster) {
        let (ids, groups) = server.ask(pid, platform::credentials)?;
        ensure(
            ids == [wanted; 3],
            format!("the {role}'s real, effective and saved ids are {wanted}"),
            || format!("the {role}'s ids are {}, {} and {}", ids[0], ids[1], ids[2]),
        )?;
        ensure(!groups.contains(&0), format!("the {role} is in none of root's groups"), || {
            let names: Vec<String> = groups.iter().map(u32::to_string).collect();
            format!("its groups are {}", names.join(", "))
        })?;
    }
    alice.barrier()
}

fn slow_loris_is_bounded(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let key = server.key().to_vec();
    let mut strangers: Vec<Client> =
        (0..40).map(|n| server.connect(&format!("loris-{n}"))).collect::<Result<_, _>>()?;
    let mut alice = server.join("alice")?;
    let timeout = auth_timeout(check);
    let limit = check.scaled(timeout + Duration::from_secs(2));
    // A byte now and then: at this pace the key would take three times as long as all of this may.
    let pace = limit * 3 / key.len() as u32;
    let mut sent = 0;
    let all_closed = |strangers: &mut Vec<Client>| strangers.iter_mut().all(Client::has_ended);
    let begin = std::time::Instant::now();
    while !all_closed(&mut strangers) && begin.elapsed() < limit {
        for stranger in &mut strangers {
            stranger.queue(&key[sent..=sent]);
        }
        sent += 1;
        check.let_pass(pace);
    }
    if !all_closed(&mut strangers) {
        return fail(
            format!(
                "a client whose key comes too slowly is closed after the timeout of {timeout:?}"
            ),
            format!("some are still open after {:.1} s", limit.as_secs_f64()),
        );
    }
    drop(strangers);
    check.until(
        Duration::from_secs(1),
        "their processes are gone",
        || server.is_back_to(1),
        || format!("{} processes are left", server.living().unwrap_or_default()),
    )?;
    alice.barrier()
}

fn clients_are_limited(check: &mut Check) -> Outcome {
    let server = check.server_with(Options::new().max_clients(3))?;
    let mut crowd = server.crowd(3)?;
    let mut fourth = server.enter("the fourth of three")?;
    let heard = fourth.hears_end()?;
    // Many protocols have a word for it.
    ensure(
        heard.is_empty() || !check.has(Claim::Broadcast),
        "the fourth of three clients is closed without a byte",
        || crate::harness::excerpt(&heard),
    )?;
    crowd.clients.pop();
    check.until(
        Duration::from_secs(2),
        "a place that became free is given again",
        || {
            let mut next = server.enter("the next")?;
            let token = next.start_barrier()?;
            next.is_let_in(&token)
        },
        || "nobody is let in".into(),
    )?;
    // Two are in; at the end of the check there must be a place for one more.
    drop(crowd);
    only_the_daemon_is_left(check, &server)
}
