//! The rehearsal: before a foreign server is checked, its manifest is tried.
//!
//! A server that never starts, that cannot be understood, or that does not end as its manifest says
//! would fail every requirement for a reason that is none of theirs. So all of them are `error`
//! then, with the one reason, and nothing is counted against the server.

use super::finding::Manners;
use crate::harness::Check;
use crate::stop::{Step, Stop};
use crate::subject::Claim;

/// Prepares what the manifest wants prepared once; starts the server, lets two clients in, one after
/// the other and side by side as far as it serves two, and measures what only a running server tells.
pub fn rehearse(check: &mut Check) -> Step<Manners> {
    check.prepare_once()?;
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    if check.up_to(2) == 2 {
        let mut bob = server.join("bob")?;
        if check.has(Claim::Broadcast) {
            alice.barrier()?;
            alice.say("a rehearsal")?;
            bob.hears("a rehearsal")?;
            alice.hears("a rehearsal")?;
        }
        bob.barrier()?;
    }
    alice.barrier()?;
    drop(alice);
    let measured = server.measure()?;
    let ends = server.what_ends()?;
    Ok(Manners { measured, ends })
}

/// A server that is not as its manifest says has failed no requirement.
pub fn as_error(stop: Stop) -> Stop {
    match stop {
        Stop::Fail(failure) | Stop::Blocked(failure) => {
            Stop::Error(format!("expected: {}; actual: {}", failure.expected, failure.actual))
        }
        other => other,
    }
}

/// What a rehearsal of the target `name` says that did not go well.
pub fn in_words(name: &str, why: &str) -> String {
    format!("the target {name} cannot be checked, since it is not as its manifest says: {why}")
}
