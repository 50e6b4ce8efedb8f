//! delivery/ : everything that is said, to everyone, once, in one order, unchanged.

pub(super) mod lines;

use std::time::Duration;

use super::situations::{blocked_client, lines, slow_clients_are_apart};
use crate::harness::{Check, Client, Options, Server, excerpt};
use crate::needs::Need;
use crate::requirement::{Control, Controls, Requirement, by};
use crate::stop::{Outcome, Stop, ensure, fail};
use crate::subject::Claim;
use forkproof_report::Level;

const PROTOCOL: &str = "papaya line protocol: on success the server sends the last lines of the chat log, then every byte appended to it";
const ONE_ORDER_TRAP: &str = "a wake-up lost or a read cut short under load; counting bytes hides it, since a loss and a repetition cancel out";
const ONE_ORDER_FIX: &str = "read the log to its end after each wake, at a position of one's own, and write out all that was read";

const ONE_ORDER_CONTROLS: &[Control] =
    &[by("sends-whole-buffer", "hears exactly|hears only what was said")];

pub(super) const REQUIREMENTS: &[Requirement] = &[
    everyone(
        "delivery/everyone-hears-everything-2",
        "Two clients hear everything once and in one order, whoever speaks, at 0, 10 and 50 ms",
        everyone_2,
    ),
    everyone(
        "delivery/everyone-hears-everything-8",
        "8 clients hear everything once and in one order, whoever speaks, at 0, 10 and 50 ms",
        everyone_8,
    ),
    everyone(
        "delivery/everyone-hears-everything-32",
        "32 clients hear everything once and in one order, whoever speaks, at 0, 10 and 50 ms",
        everyone_32,
    ),
    everyone(
        "delivery/everyone-hears-everything-64",
        "64 clients hear everything once and in one order, whoever speaks, at 0, 10 and 50 ms",
        everyone_64,
    ),
    Requirement {
        id: "delivery/bytes-intact",
        title: "Every byte value arrives unchanged: NUL, invalid UTF-8, and a last byte without newline",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "buffers handled as C strings: cut at the first NUL, the last byte overwritten by a terminator, text decoded and encoded again",
        fix: "carry lengths, not terminators",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Transparent],
        controls: Controls::By(&[by("nul-last-byte", "hears")]),
        exclusive: false,
        check: bytes_intact,
    },
    Requirement {
        id: "delivery/nothing-foreign",
        title: "Clients and log get no byte that no client sent",
        level: Level::Must,
        clause: "CWE-200, CWE-908: use of uninitialised resource",
        trap: "sizeof(buffer) written instead of what was read: old messages or uninitialised memory, a key perhaps, go to everyone",
        fix: "write exactly as many bytes as were read",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::ChatLog],
        controls: Controls::By(&[by("sends-whole-buffer", "hears")]),
        exclusive: false,
        check: nothing_foreign,
    },
    Requirement {
        id: "delivery/replay-last-lines",
        title: "A new client first gets exactly the last N lines: with fewer there, with long ones, without a final newline, with an empty log",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "off by one at the file's first line or its missing last newline; a fixed buffer for the whole replay",
        fix: "search backwards in pieces for the Nth newline before the last line's end",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Replay, Claim::ChatLog],
        controls: Controls::By(&[by("short-reads=4096", "of the bytes come within")]),
        exclusive: false,
        check: replay_last_lines,
    },
    Requirement {
        id: "delivery/missed-messages-on-return",
        title: "A client that returns gets what was said meanwhile, and then what follows, without a gap",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "replay and following begin at different positions: what is said between the two is lost or comes twice",
        fix: "follow from the very position at which the replay ended",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Replay],
        controls: Controls::By(&[by("greets-first", "lines before the end")]),
        exclusive: false,
        check: missed_messages_on_return,
    },
    Requirement {
        id: "delivery/joining-amid-traffic",
        title: "A client that joins while others speak gets replay and news without a gap or a repetition",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "the signal handler installed after the replay was read: a message in between wakes nobody",
        fix: "be ready for the signal first, then look at the log",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast],
        controls: Controls::By(&[by("greets-first", "hears")]),
        exclusive: false,
        check: joining_amid_traffic,
    },
    Requirement {
        id: "delivery/chunk-boundaries",
        title: "Messages around 4096, 8192 and 65536 bytes arrive whole",
        level: Level::Must,
        clause: "POSIX.1-2024, recv and read: a count short of the buffer's size, or equal to it",
        trap: "a message that just fills the buffer: off by one, or a full read taken for the end",
        fix: "read until there is nothing more; a full buffer says nothing",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast],
        controls: Controls::By(&[by("short-reads=4096", "hears exactly")]),
        exclusive: false,
        check: chunk_boundaries,
    },
    Requirement {
        id: "delivery/slow-reader-catches-up",
        title: "A client that reads late gets all of it, in order",
        level: Level::Must,
        clause: "POSIX.1-2024, send: EAGAIN or a short count when there is no room",
        trap: "a short write to a full socket taken as complete",
        fix: "keep the rest and wait until there is room",
        references: &[],
        needs: &[Need::ProcessTable, Need::ProcessorTime],
        claims: &[Claim::Lines],
        controls: Controls::By(&[by("drops-when-full", "for a client that does not read")]),
        exclusive: false,
        check: slow_reader_catches_up,
    },
    Requirement {
        id: "delivery/half-close-gets-its-echo",
        title: "A client that closes its sending half still hears what it said, then the end",
        level: Level::Should,
        clause: "POSIX.1-2024, shutdown(SHUT_WR); RFC 9293, 3.6: a half-closed connection still receives",
        trap: "end of file from the client ends its cluster at once: `echo hi | nc` never sees its line, and cannot know whether it was taken",
        fix: "at end of file let the sender write out what the log holds before it ends",
        references: &[],
        needs: &[],
        claims: &[Claim::HalfClose, Claim::Echo],
        controls: Controls::By(&[by("half-close-ends", "closed its sending half")]),
        exclusive: false,
        check: half_close_gets_its_echo,
    },
    Requirement {
        id: "delivery/history-after-restart",
        title: "The log outlives the server: after a restart new clients get its last lines",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "O_TRUNC at the start",
        fix: "open the log with O_APPEND and O_CREAT only",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Replay, Claim::ChatLog],
        controls: Controls::By(&[by("truncates-on-open", "bob hears")]),
        exclusive: false,
        check: history_after_restart,
    },
];

const fn everyone(
    id: &'static str,
    title: &'static str,
    check: fn(&mut Check) -> Outcome,
) -> Requirement {
    Requirement {
        id,
        title,
        level: Level::Must,
        clause: PROTOCOL,
        trap: ONE_ORDER_TRAP,
        fix: ONE_ORDER_FIX,
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast],
        controls: Controls::By(ONE_ORDER_CONTROLS),
        exclusive: false,
        check,
    }
}

fn everyone_2(check: &mut Check) -> Outcome {
    everyone_hears_everything(check, 2)
}

fn everyone_8(check: &mut Check) -> Outcome {
    everyone_hears_everything(check, 8)
}

fn everyone_32(check: &mut Check) -> Outcome {
    everyone_hears_everything(check, 32)
}

fn everyone_64(check: &mut Check) -> Outcome {
    everyone_hears_everything(check, 64)
}

fn everyone_hears_everything(check: &mut Check, size: usize) -> Outcome {
    let server = check.server()?;
    check.act();
    let mut crowd = server.crowd(size)?;
    for (pause, rounds) in [(0, 20), (10, 6), (50, 3)] {
        let pause = Duration::from_millis(pause);
        // One speaks for all.
        let said = lines(&format!("one speaker at {pause:?}"), rounds, 50);
        for line in &said {
            crowd.clients[0].queue(line);
            check.let_pass(pause);
        }
        crowd.hear_everything_in_one_order(&said)?;
        // Everyone speaks.
        let said = lines(&format!("everyone at {pause:?}"), size * 2, 50);
        for half in said.chunks(size) {
            for (client, line) in crowd.clients.iter_mut().zip(half) {
                client.queue(line);
            }
            check.let_pass(pause);
        }
        crowd.hear_everything_in_one_order(&said)?;
    }
    Ok(())
}

fn bytes_intact(check: &mut Check) -> Outcome {
    check.act();
    let server = check.server()?;
    let mut crowd = server.crowd(2)?;
    let every_value: Vec<u8> = (0..=255).collect();
    let messages: [&[u8]; 5] = [
        &every_value,
        b"NUL \0 in the middle\n",
        b"\xff\xfe\xc3\x28 invalid UTF-8 \xf0\x28\x8c\x28\n",
        b"a last byte that is no newline!",
        b"\0",
    ];
    for message in messages {
        crowd.clients[0].send(message)?;
        for client in &mut crowd.clients {
            client.hears_bytes(message)?;
        }
    }
    Ok(())
}

fn nothing_foreign(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut crowd = server.crowd(2)?;
    let before = server.log_content()?.len();
    let mut said = Vec::new();
    // Long ones first: what a short one leaves of them in a buffer must not follow it.
    for length in (1..=300).rev().step_by(7).chain([5000, 1, 4096, 2, 100, 1]) {
        let mut message = vec![b'a' + (length % 26) as u8; length];
        message.push(b'\n');
        crowd.clients[0].send(&message)?;
        crowd.clients[1].hears_bytes(&message)?;
        said.extend(message);
    }
    let log = server.log_content()?;
    ensure(log[before..] == said, "the log holds exactly what was said", || {
        format!("it holds {} bytes instead of {}", log.len() - before, said.len())
    })
}

fn replay_last_lines(check: &mut Check) -> Outcome {
    let long = "x".repeat(70_000);
    let cases: [(&str, String, usize, String); 7] = [
        ("exactly N", "1\n2\n3\n".into(), 3, "1\n2\n3\n".into()),
        ("more than N", "1\n2\n3\n4\n".into(), 3, "2\n3\n4\n".into()),
        ("fewer than N", "1\n2\n".into(), 3, "1\n2\n".into()),
        ("no final newline", "1\n2\n3\n4".into(), 3, "2\n3\n4".into()),
        ("an empty log", String::new(), 3, String::new()),
        ("long lines", format!("1\n{long}\n{long}\n{long}\n"), 2, format!("{long}\n{long}\n")),
        ("empty lines", "1\n\n\n\n".into(), 2, "\n\n".into()),
    ];
    for (number, (name, content, replay, expected)) in cases.into_iter().enumerate() {
        let log = check.dir().join(format!("chat-{number}.log"));
        check.lay(&log, content.as_bytes())?;
        let server = check.server_with(Options::new().log(log).replay(replay))?;
        let mut alice = server.enter("alice")?;
        alice.hears_bytes(expected.as_bytes())?;
        // Then nothing more: the next that comes is what alice says. A server may end first what
        // somebody else has left without its end.
        alice.say("what alice says")?;
        let unfinished = !content.is_empty() && !content.ends_with('\n');
        check.until(
            Duration::from_secs(5),
            "alice hears what she says",
            || Ok(!alice.heard_so_far().is_empty()),
            || "she hears nothing".into(),
        )?;
        if unfinished && alice.heard_so_far().starts_with(b"\n") {
            alice.hears_bytes(b"\n")?;
        }
        alice.hears_bytes(b"what alice says\n").map_err(|stop| in_case(stop, name))?;
        drop(alice);
        server.end()?;
    }
    no_replay(check)
}

/// With no line of replay, a client hears nothing of what was said before it came.
fn no_replay(check: &mut Check) -> Outcome {
    let log = check.dir().join("chat-none.log");
    check.lay(&log, b"before\nbefore\n")?;
    let server = check.server_with(Options::new().log(log).replay(0))?;
    let mut alice = server.enter("alice")?;
    // Nothing tells when alice is in, so someone speaks until she hears it.
    let mut bob = server.enter("bob")?;
    check.until(
        Duration::from_secs(5),
        "with no replay a client hears what is said after it came",
        || {
            bob.say("after")?;
            Ok(!alice.heard_so_far().is_empty())
        },
        || "it hears nothing".into(),
    )?;
    alice.hears("after").map_err(|stop| in_case(stop, "no replay"))?;
    // At the end of the check a client has to hear itself, which takes a replay.
    server.end()
}

fn in_case(stop: crate::stop::Stop, case: &str) -> crate::stop::Stop {
    match stop {
        crate::stop::Stop::Fail(mut failure) => {
            failure.actual = format!("with {case}: {}", failure.actual);
            crate::stop::Stop::Fail(failure)
        }
        other => other,
    }
}

fn missed_messages_on_return(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let bob = server.join("bob")?;
    alice.barrier()?;
    drop(bob);
    let lines = check.target().manifest.wire.replay;
    let mut expected: Vec<String> =
        (1..=lines).map(|number| format!("while bob was away {number}")).collect();
    for line in &expected {
        alice.say(line)?;
        alice.hears(line)?;
    }
    let mut bob = server.enter("bob, back")?;
    alice.say("welcome back")?;
    expected.push("welcome back".into());
    // Bob's return and the greeting meet in either order: the last of the lines that are replayed
    // may already be the greeting.
    let first = bob.next_line(check.scaled(Duration::from_secs(5)))?.unwrap_or_default();
    let begin = expected.iter().take(2).position(|line| line.as_bytes() == first);
    let Some(begin) = begin else {
        return crate::stop::fail(
            format!("the replay begins {lines} lines before the end"),
            format!("it begins with {}", excerpt(&first)),
        );
    };
    bob.hears_all(&expected[begin + 1..])?;
    alice.say("and on")?;
    bob.hears("and on")
}

fn joining_amid_traffic(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let mut late = Vec::new();
    const LINES: usize = 400;
    for number in 0..LINES {
        alice.queue(format!("{number}\n").as_bytes());
        if number % 20 == 10 {
            late.push(server.enter(&format!("joined-at-{number}"))?);
        }
    }
    alice.barrier()?;
    for client in &mut late {
        // Whatever line comes first, from there on every one follows, to the last.
        let heard = client.lines_until_barrier()?;
        let Some(first) = heard.first() else { continue }; // joined after the last line
        let number = |line: &[u8]| -> Option<usize> {
            std::str::from_utf8(line).ok()?.strip_suffix('\n')?.parse().ok()
        };
        let Some(begin) = number(first).filter(|begin| *begin < LINES) else {
            return fail(
                "a late client hears whole lines that were said",
                format!("{} hears {}", client.name, excerpt(first)),
            );
        };
        for (line, expected) in heard.iter().zip(begin..) {
            ensure(
                number(line) == Some(expected),
                format!("a late client hears line {expected} after line {}", expected.max(1) - 1),
                || format!("{} hears {}", client.name, excerpt(line)),
            )?;
        }
        ensure(
            begin + heard.len() == LINES,
            "a late client hears every line up to the last",
            || {
                format!(
                    "the last that {} hears is {}",
                    client.name,
                    excerpt(&heard[heard.len() - 1])
                )
            },
        )?;
    }
    Ok(())
}

fn chunk_boundaries(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut crowd = server.crowd(2)?;
    for boundary in [4096usize, 8192, 65536] {
        for length in boundary - 2..=boundary + 2 {
            let said = lines("boundary", 1, length);
            crowd.clients[0].queue(&said[0]);
            crowd.hear_everything_in_one_order(&said)?;
        }
    }
    Ok(())
}

fn slow_reader_catches_up(check: &mut Check) -> Outcome {
    if !slow_clients_are_apart(check) {
        return Err(Stop::Unsupported(
            "where one process serves all, it may wait for a client that does not read".into(),
        ));
    }
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let (mut bob, _, said) = blocked_client(check, &server, &mut alice, "bob")?;
    if check.has(Claim::Broadcast) {
        alice.say("and one more")?;
    } else {
        bob.say_without_reading(b"and one more\n");
    }
    bob.hears_bytes(&said)?;
    bob.hears("and one more")?;
    if check.has(Claim::Broadcast) {
        // Who has read exactly as much as it can when it is held up reads on in any case.
        for length in [2048, 2048 - 100] {
            behind_line_by_line(&server, &mut alice, length)?;
        }
    }
    Ok(())
}

/// Each line comes alone, and wakes whoever passes it on. Whoever is in the middle of writing then has to
/// look again when there is room, since nobody wakes it any more.
fn behind_line_by_line(server: &Server, speaker: &mut Client, length: usize) -> Outcome {
    let mut carol = server.join_narrow("carol", 4096)?;
    speaker.barrier()?;
    carol.barrier()?;
    // Afterwards the send buffer grows no more. As long as it does, much is read at once when there is
    // room, and who has read as much as it can reads on in any case.
    let at_once = lines("all at once", 800, 8 * 1024).concat();
    speaker.queue(&at_once);
    speaker.hears_bytes(&at_once)?;
    carol.hears_bytes(&at_once)?;
    // More than the largest send buffers of today's systems (Linux: tcp_wmem, 4 MiB).
    let said = lines("line by line", 4_500_000 / length, length);
    for line in &said {
        speaker.send(line)?;
        speaker.hears_bytes(line)?;
    }
    carol.hears_bytes(&said.concat())
}

fn half_close_gets_its_echo(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut bob = server.join("bob")?;
    let bob_hears = check.has(Claim::Broadcast);
    for ending in ["\n", ""] {
        let mut alice = server.enter("alice")?;
        let said = format!("said before closing{ending}");
        alice.send(said.as_bytes())?;
        alice.finish_sending()?;
        let heard = alice.hears_end()?;
        // Who does not promise to pass on bytes as they are may end the last line itself.
        let ends_lines = ending.is_empty() && !check.has(Claim::Transparent);
        let ends: &[&str] = if ends_lines { &["", "\n", "\r\n"] } else { &[""] };
        ensure(
            ends.iter().any(|end| heard.ends_with(format!("{said}{end}").as_bytes())),
            "a client that closed its sending half hears what it said, then the end",
            || format!("it hears {}", excerpt(&heard[heard.len().saturating_sub(50)..])),
        )?;
        if bob_hears {
            bob.hears_bytes(said.as_bytes())?;
        }
    }
    bob.barrier()
}

fn history_after_restart(check: &mut Check) -> Outcome {
    let first = check.server()?;
    let mut alice = first.join("alice")?;
    for number in 1..=10 {
        alice.say(&format!("before the restart {number}"))?;
    }
    alice.barrier()?;
    first.end()?;
    let replay = usize::from(check.target().manifest.wire.replay);
    let expected: Vec<u8> = {
        let log = first.log_content()?;
        let all: Vec<&[u8]> = log.split_inclusive(|&byte| byte == b'\n').collect();
        all[all.len() - replay.min(all.len())..].concat()
    };
    let second = check.server()?;
    let mut bob = second.enter("bob")?;
    bob.hears_bytes(&expected)
}
