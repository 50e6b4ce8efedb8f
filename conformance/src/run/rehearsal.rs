//! The rehearsal: before a foreign server is checked, its manifest is tried.
//!
//! A server that never starts, that cannot be understood, or that does not end as its manifest says
//! would fail every requirement for a reason that is none of theirs. So all of them are `error`
//! then, with the one reason, and nothing is counted against the server.

use crate::harness::Check;
use crate::stop::{Outcome, Stop};

/// Starts the server, lets two clients in and one of them speak. What comes after it, the server's
/// end, is part of every check.
pub fn rehearse(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let mut bob = server.join("bob")?;
    alice.barrier()?;
    alice.say("a rehearsal")?;
    bob.hears("a rehearsal")?;
    alice.hears("a rehearsal")
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
