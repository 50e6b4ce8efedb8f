//! Signals
use crate::catalogue::{Level, Requirement};
use crate::harness::Check;
use crate::needs::Need;
use crate::verdict::Outcome;

/// x
pub const REQUIREMENTS: &[Requirement] = &[Requirement {
    id: "signals/handler-persists",
    title: "The 2nd, 3rd and 100th messages arrive",
    level: Level::Must,
    clause: "POSIX.1-2024, sigaction: without SA_RESETHAND the disposition stays",
    trap: "SA_RESETHAND xxxxxxxxxxxxx",
    fix: "xxxxxxxxxxxxxxxxxxxxxxxx",
    needs: &[Need::ProcessTable],
    exclusive: false,
    check: handler_persists,
}];

fn handler_persists(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let mut bob = server.join("bob")?;
    for number in 1..=100 {
        let line = format!("message {number}");
        alice.say(&line)?;
        bob.hears(&line)?;
    }
    Ok(())
}
