//! processes/ : clients that take little at a time.

use super::super::situations::lines;
use crate::harness::Check;
use crate::requirement::{Controls, Requirement, by};
use crate::stop::Outcome;
use crate::subject::Claim;
use forkproof_report::Level;

pub(in crate::requirements) const REQUIREMENTS: &[Requirement] = &[Requirement {
    id: "processes/short-writes-to-clients",
    title: "A client whose system takes little at a time is sent every byte",
    level: Level::Must,
    clause: "POSIX.1-2024, send, write: fewer bytes than asked for may be taken, by a socket that does not block or when a signal comes; [EAGAIN]",
    trap: "the count that send returns is not looked at, or EAGAIN is taken for sent: what did not fit is missing in the middle, and only for clients on slow lines",
    fix: "go on with the rest until all is sent, and wait for room by poll in between",
    needs: &[],
    claims: &[Claim::Lines],
    controls: Controls::By(&[by("drops-when-full", "hears"), by("write-loses-tail=512", "hears")]),
    exclusive: false,
    check: short_writes_to_clients,
}];

fn short_writes_to_clients(check: &mut Check) -> Outcome {
    /// A window of the first telephone modems' time.
    const BUFFER: usize = 4096;
    let server = check.server()?;
    let mut alice = server.join_narrow("alice", BUFFER)?;
    // More than the server's own buffers take, so that it meets the client's.
    let said = lines("for a narrow client", 6_000, 1024);
    if !check.has(Claim::Broadcast) {
        alice.queue(&said.concat());
        return alice.hears_bytes(&said.concat());
    }
    let mut bob = server.join("bob")?;
    bob.queue(&said.concat());
    bob.hears_bytes(&said.concat())?;
    alice.hears_bytes(&said.concat())
}
