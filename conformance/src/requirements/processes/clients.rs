//! processes/ : clients that take little at a time, and strangers that take places.

use super::super::situations::lines;
use super::only_the_daemon_is_left;
use crate::harness::{Check, Client, Crowd, Options};
use crate::requirement::{Controls, Requirement, by};
use crate::requirements::situations::{says_until_the_server_waits, slow_clients_are_apart};
use crate::stop::{Outcome, ensure};
use crate::subject::Claim;
use forkproof_report::Level;

pub(in crate::requirements) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "processes/short-writes-to-clients",
        title: "A client whose system takes little at a time is sent every byte",
        level: Level::Must,
        clause: "POSIX.1-2024, send, write: fewer bytes than asked for may be taken, by a socket that does not block or when a signal comes; [EAGAIN]",
        trap: "the count that send returns is not looked at, or EAGAIN is taken for sent: what did not fit is missing in the middle, and only for clients on slow lines",
        fix: "go on with the rest until all is sent, and wait for room by poll in between",
        references: &[],
        needs: &[],
        claims: &[Claim::Lines],
        controls: Controls::By(&[
            by("drops-when-full", "hears"),
            by("write-loses-tail=512", "hears"),
        ]),
        exclusive: false,
        check: short_writes_to_clients,
    },
    Requirement {
        id: "processes/limits-before-authentication",
        title: "Clients without the key take no places from those who have it",
        level: Level::Must,
        clause: "CWE-770: allocation of resources without limits; CWE-400: uncontrolled resource consumption",
        trap: "clients are counted when they connect: as many silent connections as there are places, from anyone, keep everybody out for as long as they are renewed (sshd's MaxStartups, slots that superusers keep in postgres)",
        fix: "count those who have shown the key and those who have not apart, each with a limit, and close the oldest stranger when a new one comes",
        references: &[],
        needs: &[],
        claims: &[Claim::Key, Claim::MaxClients],
        controls: Controls::By(&[by("keys-checked-by-daemon", "is let in")]),
        exclusive: false,
        check: limits_before_authentication,
    },
];

fn short_writes_to_clients(check: &mut Check) -> Outcome {
    /// A window of the first telephone modems' time.
    const BUFFER: usize = 4096;
    let server = check.server()?;
    let mut alice = server.join_narrow("alice", BUFFER)?;
    // More than the server's own buffers take, so that it meets the client's.
    let said = lines("for a narrow client", 6_000, 1024);
    if !check.has(Claim::Broadcast) {
        says_until_the_server_waits(check, &server, &mut alice, &said.concat())?;
        return alice.hears_bytes(&said.concat());
    }
    let mut bob = server.join("bob")?;
    bob.queue(&said.concat());
    if !slow_clients_are_apart(check) {
        // One process may wait for alice, and for a witness: everyone reads along.
        server.dismiss_witness();
        return Crowd { clients: vec![alice, bob] }.hear_everything_in_one_order(&said);
    }
    bob.hears_bytes(&said.concat())?;
    alice.hears_bytes(&said.concat())
}

fn limits_before_authentication(check: &mut Check) -> Outcome {
    const PLACES: usize = 3;
    let server = check.server_with(Options::new().max_clients(PLACES))?;
    // All of them are accepted before whoever comes next.
    let strangers: Vec<Client> = (0..4 * PLACES)
        .map(|number| server.connect(&format!("stranger-{number}")))
        .collect::<Result<_, _>>()?;
    let mut clients = Vec::new();
    for number in 0..PLACES {
        let mut client = server.enter(&format!("client-{number}"))?;
        let token = client.start_barrier()?;
        ensure(
            client.is_let_in(&token)?,
            format!(
                "a client that has the key is let in beside strangers, {number} of {PLACES} places taken"
            ),
            || "it is closed".into(),
        )?;
        clients.push(client);
    }
    // At the end of the check there must be a place for one more.
    drop((strangers, clients));
    only_the_daemon_is_left(check, &server)
}
