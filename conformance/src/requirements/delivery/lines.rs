//! A line's speaker: who speaks at once hears itself, and nobody's words continue another's line.

use std::time::Duration;

use super::PROTOCOL;
use crate::harness::{Check, Options, excerpt};
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{Outcome, ensure};
use crate::subject::Claim;
use forkproof_report::Level;

pub(in crate::requirements) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "delivery/first-line-comes-back",
        title: "A client that speaks as soon as it is connected hears its first line, once, even without any replay",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "one process appends the client's first line before another one has noted where the log ends, and that one follows from behind the line: the client takes a line that was stored for lost",
        fix: "do not read from a client until the process that writes to it knows where in the log it begins",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Echo],
        controls: Controls::By(&[by("no-handshake,slow-child=100", "its first line")]),
        exclusive: false,
        check: first_line_comes_back,
    },
    Requirement {
        id: "delivery/no-line-within-another",
        title: "When a client pauses or leaves in the middle of a line, nobody else's bytes continue it",
        level: Level::Must,
        clause: "CWE-117: words that follow another speaker's name are taken for that speaker's",
        trap: "half a line is passed on after a while, and what the next client says is glued to it: `admin: bob: pay 10`",
        fix: "hold a line back until it has ended; end with a newline what has to be passed on without its end",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Echo, Claim::WholeLines],
        controls: Controls::By(&[by("ends-unseen", "on a line of its own")]),
        exclusive: false,
        check: no_line_within_another,
    },
];

fn first_line_comes_back(check: &mut Check) -> Outcome {
    /// Many at once, and again: while the machine is idle hardly anything comes in between.
    const CLIENTS: usize = 16;
    const ROUNDS: usize = 2;
    // That it serves clients at all is another one's matter.
    let server = check.server()?;
    server.join("somebody")?;
    server.end()?;
    let options = match check.target().manifest.options.replay {
        Some(_) => Options::new().replay(0),
        None => Options::new(),
    };
    let server = check.server_with(options)?;
    for round in 1..=ROUNDS {
        let first = |number: usize| format!("the first line of client {round}-{number}");
        let mut clients = Vec::new();
        for number in 1..=CLIENTS {
            let mut client = server.enter(&format!("client-{round}-{number}"))?;
            client.say(&first(number))?;
            clients.push(client);
        }
        for (client, number) in clients.iter_mut().zip(1..) {
            check.until(
                Duration::from_secs(5),
                "a client that speaks as soon as it is connected hears its first line",
                || Ok(times(client.heard_so_far(), &first(number)) > 0),
                || format!("its first line does not come back to client {number} of {CLIENTS}"),
            )?;
        }
        // What the last one says comes after all of that, to everyone.
        let mut last = server.enter("the last one")?;
        last.say(&first(0))?;
        for (client, number) in clients.iter_mut().zip(1..) {
            check.until(
                Duration::from_secs(5),
                "a client hears what one says who came later",
                || Ok(times(client.heard_so_far(), &first(0)) > 0),
                || format!("client {number} of {CLIENTS} does not"),
            )?;
            let times = times(client.heard_so_far(), &first(number));
            ensure(times == 1, "a client hears its first line once", || {
                format!("its first line comes {times} times")
            })?;
        }
    }
    server.end()
}

fn no_line_within_another(check: &mut Check) -> Outcome {
    /// For a server that passes half a line on after a while. Others have nothing to do.
    const A_WHILE: Duration = Duration::from_millis(500);
    let server = check.server()?;
    let mut bob = server.join("bob")?;
    for (what, stays) in [("pauses", true), ("leaves", false)] {
        let mut alice = server.join("alice")?;
        let half = format!("alice {what} in the middle of a");
        alice.send(half.as_bytes())?;
        let alice = stays.then_some(alice);
        check.reaches(A_WHILE, || Ok(holds(bob.heard_so_far(), &half)))?;
        let whole = format!("bob, when alice {what}");
        bob.say(&whole)?;
        check.until(
            Duration::from_secs(5),
            "bob hears himself",
            || {
                let heard = bob.heard_so_far();
                Ok(holds(heard, &whole) && heard.ends_with(b"\n"))
            },
            || "he does not".into(),
        )?;
        stands_alone(&whole, what, "bob hears", bob.heard_so_far())?;
        if check.has(Claim::ChatLog) {
            stands_alone(&whole, what, "the log holds", &server.log_content()?)?;
        }
        if let Some(mut alice) = alice {
            alice.say(" line")?;
        }
    }
    bob.barrier()
}

fn stands_alone(whole: &str, what: &str, place: &str, content: &[u8]) -> Outcome {
    ensure(
        times(content, whole) == 1,
        format!(
            "while alice {what} in the middle of a line, what bob says stands on a line of its own"
        ),
        || {
            let mut lines = content.split(|&byte| byte == b'\n');
            match lines.find(|line| holds(line, whole)) {
                Some(line) => format!("{place} {}", excerpt(line)),
                None => format!("{place} it nowhere"),
            }
        },
    )
}

/// How often `line` is among the lines of `content`.
fn times(content: &[u8], line: &str) -> usize {
    content.split(|&byte| byte == b'\n').filter(|&one| one == line.as_bytes()).count()
}

fn holds(content: &[u8], part: &str) -> bool {
    content.windows(part.len()).any(|window| window == part.as_bytes())
}
