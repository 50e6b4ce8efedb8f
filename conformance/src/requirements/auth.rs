//! auth/ : the key, and what comes before it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::situations::{auth_timeout, lines, remembered};
use crate::harness::{Check, Client, Options, Server, excerpt};
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{OrError, Outcome, Stop, ensure, fail};
use crate::subject::Claim;
use forkproof_report::Level;

const PROTOCOL: &str = "papaya line protocol: the client sends exactly the key's bytes; a missing or wrong key gets the connection closed without a byte";

pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "auth/exact-key",
        title: "The exact key, sent in one piece, lets a client in",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "a key compared as a C string, or with the newline of its file",
        fix: "compare exactly the key's bytes, and their number",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Key],
        controls: Controls::By(&[by("truncated-reads=64", "alice hears")]),
        exclusive: false,
        check: exact_key,
    },
    Requirement {
        id: "auth/key-in-pieces",
        title: "A key that arrives in pieces (64+64, 127+1, byte by byte) within the timeout lets a client in",
        level: Level::Must,
        clause: "POSIX.1-2024, recv on a stream socket: message boundaries are not kept; a read may return any part",
        trap: "one read() taken for the whole key: works on loopback, fails on a network that splits it",
        fix: "read until the key's length is there or the time is over",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Key],
        controls: Controls::By(&[by("short-read-is-end", "is let in|the connection")]),
        exclusive: false,
        check: key_in_pieces,
    },
    Requirement {
        id: "auth/wrong-key-refused",
        title: "A key that differs in its first, middle or last byte is refused",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "a comparison that stops early: at a NUL, at the length of a prefix, or one byte short",
        fix: "compare all bytes, in constant time",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Key],
        controls: Controls::By(&[by("any-key", "it is let in")]),
        exclusive: false,
        check: wrong_key_refused,
    },
    Requirement {
        id: "auth/short-key-refused",
        title: "A key that lacks its last byte is refused, also when the client closes after it",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "comparing as many bytes as came",
        fix: "refuse whatever is not as long as the key when the time is over or the client closes",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Key, Claim::AuthTimeout],
        controls: Controls::By(&[by("any-key", "it is let in")]),
        exclusive: false,
        check: short_key_refused,
    },
    Requirement {
        id: "auth/long-key-refused",
        title: "The key behind one more byte is refused",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "searching for the key in what came instead of comparing",
        fix: "compare the first bytes of the connection, as many as the key has",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Key],
        controls: Controls::By(&[by("any-key", "it is let in")]),
        exclusive: false,
        check: long_key_refused,
    },
    Requirement {
        id: "auth/upper-cased-key-refused",
        title: "The key in capital letters is refused",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "strcasecmp and friends",
        fix: "compare bytes, not letters",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Key],
        controls: Controls::By(&[by("any-key", "it is let in")]),
        exclusive: false,
        check: upper_cased_key_refused,
    },
    Requirement {
        id: "auth/nul-filled-key-refused",
        title: "A key of NUL bytes, or one that is NUL after its first byte, is refused",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "strcmp or strncmp end at the first NUL: an empty string may equal a key buffer that was never filled",
        fix: "compare with memcmp's semantics, in constant time",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Key],
        controls: Controls::By(&[by("any-key", "it is let in")]),
        exclusive: false,
        check: nul_filled_key_refused,
    },
    Requirement {
        id: "auth/nothing-before-auth",
        title: "A client without the key never gets a byte of the log",
        level: Level::Must,
        clause: PROTOCOL,
        trap: "the sender started, or the replay sent, before the key was checked",
        fix: "open the log for a client only once its key is right",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Key, Claim::AuthTimeout],
        controls: Controls::By(&[by("greets-first", "without a byte")]),
        exclusive: false,
        check: nothing_before_auth,
    },
    Requirement {
        id: "auth/silent-client-times-out",
        title: "A client that sends nothing, or half a key, is closed between 1 and 2 s after it connected",
        level: Level::Must,
        clause: "papaya line protocol: the key must arrive within the auth timeout (1 s)",
        trap: "no timeout, one that starts anew with each byte, or SO_RCVTIMEO taken as a limit for several reads",
        fix: "fix the deadline when the connection is accepted, and wait for what is left of it",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::AuthTimeout],
        controls: Controls::By(&[by("timeouts-never-fire", "still open")]),
        exclusive: false,
        check: silent_client_times_out,
    },
    Requirement {
        id: "auth/late-key-accepted",
        title: "A key that is complete after 0.9 s lets a client in",
        level: Level::Must,
        clause: "papaya line protocol: the key must arrive within the auth timeout (1 s)",
        trap: "timeouts in whole seconds of a coarse clock: alarm(1), time() differences",
        fix: "use a monotonic clock with sub-second resolution",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::AuthTimeout],
        controls: Controls::By(&[by("short-read-is-end", "alice is let in|the connection")]),
        exclusive: true,
        check: late_key_accepted,
    },
    Requirement {
        id: "auth/bytes-after-key-are-a-message",
        title: "What follows the key in the same packet is a message, and is delivered",
        level: Level::Must,
        clause: "POSIX.1-2024, recv: a stream has no message boundaries",
        trap: "one large read for the key throws away what came with it",
        fix: "read no more than the key, or keep the rest",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::Key],
        controls: Controls::By(&[by("truncated-reads=128", "right behind the key")]),
        exclusive: false,
        check: bytes_after_key_are_a_message,
    },
    Requirement {
        id: "auth/idle-strangers-block-nobody",
        title: "200 connections that send nothing keep nobody from joining",
        level: Level::Must,
        clause: "papaya line protocol, auth timeout",
        trap: "the daemon reads the key itself, before it forks: each stranger costs everyone a second",
        fix: "check keys in the client's own process",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::AuthTimeout],
        controls: Controls::By(&[by("keys-checked-by-daemon", "alice|stranger-")]),
        exclusive: false,
        check: idle_strangers_block_nobody,
    },
    Requirement {
        id: "auth/key-never-logged",
        title: "Neither the key nor a key that was offered appears in the server's messages or the chat log",
        level: Level::Must,
        clause: "CWE-532: insertion of sensitive information into log file",
        trap: "a debug line with the buffer in it; the wrong key of a user who mistyped is nearly the right one",
        fix: "log that a key was refused, never the key",
        references: &[],
        needs: &[],
        claims: &[Claim::Broadcast, Claim::AuthTimeout],
        controls: Controls::By(&[by("echoes-input", "they hold 16 bytes")]),
        exclusive: false,
        check: key_never_logged,
    },
    Requirement {
        id: "auth/key-file-permissions",
        title: "A key file that every user of the machine can read is warned about, a private one is not",
        level: Level::Should,
        clause: "CWE-732: incorrect permission assignment for critical resource; ssh(1) does the same for its keys",
        trap: "a key with the default umask's mode 0644 is no secret",
        fix: "look at the mode when reading the key, and say what to do",
        references: &[],
        needs: &[],
        claims: &[Claim::KeyFileWarnings],
        controls: Controls::By(&[by("modes-unreported", "is warned about")]),
        exclusive: false,
        check: key_file_permissions,
    },
];

/// A server whose log has something to leak, if it has one.
fn server_with_history(check: &mut Check) -> Result<Server, crate::stop::Stop> {
    if check.target().has(Claim::ChatLog) {
        remembered(check, &lines("a secret", 7, 40))?;
    }
    check.server()
}

/// The first half of the key.
fn half_of(server: &Server) -> &[u8] {
    &server.key()[..server.key().len() / 2]
}

/// Fails unless the server closes the connection without a byte.
fn is_refused(client: &mut Client, what: &str) -> Outcome {
    let heard = client.hears_first()?;
    ensure(heard.is_empty(), format!("{what} gets the connection closed without a byte"), || {
        format!("it is let in: the server sends {}", excerpt(&heard))
    })
}

/// Offers `key`, expecting a refusal.
fn refused(server: &Server, what: &str, key: &[u8]) -> Outcome {
    let mut stranger = server.connect(what)?;
    stranger.send(key)?;
    is_refused(&mut stranger, what)
}

fn exact_key(check: &mut Check) -> Outcome {
    if !(check.target().has(Claim::ChatLog) && check.target().has(Claim::Replay)) {
        let server = check.server()?;
        check.act();
        return server.join("alice").map(drop);
    }
    let history = remembered(check, &lines("a secret", 7, 40))?;
    let server = check.server()?;
    let mut alice = server.enter("alice")?;
    alice.hears_bytes(&history)
}

fn key_in_pieces(check: &mut Check) -> Outcome {
    let server = server_with_history(check)?;
    let key = server.key().to_vec();
    let splits: [(&str, Vec<&[u8]>); 3] = [
        ("in halves", vec![&key[..key.len() / 2], &key[key.len() / 2..]]),
        ("but one, and one", vec![&key[..key.len() - 1], &key[key.len() - 1..]]),
        ("byte by byte", key.chunks(1).collect()),
    ];
    // A machine so busy that the key takes longer than the server waits for it tells nothing.
    const TRIES: usize = 10;
    let limit = auth_timeout(check).mul_f64(0.9);
    for (name, pieces) in splits {
        for number in 1..=TRIES {
            let begin = Instant::now();
            let mut alice = server.connect(name)?;
            let said = says_in_pieces(&server, &mut alice, &pieces);
            let took = begin.elapsed();
            if took > limit {
                check.note(format!("too late: the key took {took:.3?}"));
                if number < TRIES {
                    continue;
                }
                return Err(Stop::Error(format!(
                    "this machine is too busy to send a key {name} within {limit:.1?}"
                )));
            }
            said?;
            alice.barrier()?;
            break;
        }
    }
    Ok(())
}

/// The next piece leaves when the server has had the chance to see this one alone: when the daemon
/// has answered someone else.
fn says_in_pieces(server: &Server, alice: &mut Client, pieces: &[&[u8]]) -> Outcome {
    for piece in pieces {
        alice.send(piece)?;
        if piece.len() > 1 {
            server.join("someone else")?;
        }
    }
    Ok(())
}

fn wrong_key_refused(check: &mut Check) -> Outcome {
    let server = server_with_history(check)?;
    let length = server.key().len();
    for at in [0, length / 2, length - 1] {
        let mut key = server.key().to_vec();
        key[at] ^= 1;
        refused(&server, &format!("a key with byte {at} wrong"), &key)?;
    }
    Ok(())
}

fn short_key_refused(check: &mut Check) -> Outcome {
    let server = server_with_history(check)?;
    let short = &server.key()[..server.key().len() - 1];
    let mut closing = server.connect("a short key and the end")?;
    closing.send(short)?;
    closing.finish_sending()?;
    is_refused(&mut closing, "a short key and the end")?;
    refused(&server, "a short key", short)
}

fn long_key_refused(check: &mut Check) -> Outcome {
    let server = server_with_history(check)?;
    refused(&server, "a key with a byte before it", &[b"x", server.key()].concat())
}

fn upper_cased_key_refused(check: &mut Check) -> Outcome {
    let server = server_with_history(check)?;
    refused(&server, "a key in capitals", &server.key().to_ascii_uppercase())
}

fn nul_filled_key_refused(check: &mut Check) -> Outcome {
    let server = server_with_history(check)?;
    let length = server.key().len();
    refused(&server, "a key of NUL bytes", &vec![0; length])?;
    let mut key = vec![0; length];
    key[0] = server.key()[0];
    refused(&server, "a key that is NUL after its first byte", &key)
}

fn nothing_before_auth(check: &mut Check) -> Outcome {
    let server = server_with_history(check)?;
    let mut alice = server.join("alice")?;
    let mut silent = server.connect("silent")?;
    let mut half = server.connect("half a key")?;
    half.send(half_of(&server))?;
    for number in 0..10 {
        alice.say(&format!("not for strangers {number}"))?;
    }
    alice.barrier()?;
    is_refused(&mut silent, "a client that says nothing")?;
    is_refused(&mut half, "half a key")
}

fn silent_client_times_out(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let begin = Instant::now();
    let silent = server.connect("silent")?;
    let mut half = server.connect("half a key")?;
    half.send(half_of(&server))?;
    let timeout = auth_timeout(check);
    let latest = check.scaled(timeout + Duration::from_secs(1));
    check.act();
    // One that shows a part of its key again and again: the time is for the whole of it.
    let slow = server.connect("a byte now and then")?;
    let mut bytes = half_of(&server).iter();
    let mut due = Duration::ZERO;
    let mut all = [(silent, None), (half, None), (slow, None)];
    check.reaches(timeout + Duration::from_secs(1), || {
        if begin.elapsed() >= due {
            due += timeout / 4;
            if let (Some(byte), None) = (bytes.next(), all[2].1) {
                all[2].0.queue(&[*byte]);
            }
        }
        for (client, ended) in &mut all {
            if ended.is_none() && client.has_ended() {
                *ended = Some(begin.elapsed());
            }
        }
        Ok(all.iter().all(|(_, ended)| ended.is_some()))
    })?;
    for (client, ended) in all {
        ensure(
            ended.is_some_and(|after| after + Duration::from_millis(10) >= timeout),
            format!(
                "{} is closed between {} and {:.1} s after it connected",
                client.name,
                timeout.as_secs_f64(),
                latest.as_secs_f64()
            ),
            || match ended {
                Some(after) => format!("it is closed after {:.2} s", after.as_secs_f64()),
                None => format!("it is still open after {:.2} s", latest.as_secs_f64()),
            },
        )?;
    }
    Ok(())
}

fn late_key_accepted(check: &mut Check) -> Outcome {
    let timeout = auth_timeout(check);
    // The time itself is what is tested. On a machine so busy that this process comes too late
    // itself, nothing was tested, and it is tried again.
    for _ in 0..10 {
        let server = check.server()?;
        let begin = Instant::now();
        let mut alice = server.connect("alice")?;
        let (first, rest) = server.key().split_at(server.key().len() / 2);
        alice.send(first)?;
        check.let_pass(timeout.mul_f64(0.9).saturating_sub(begin.elapsed()));
        let sent = alice.send(rest);
        let sent_after = begin.elapsed();
        if sent_after > timeout.mul_f64(0.96) {
            check.note(format!("too late: the key was complete after {sent_after:.3?}"));
            server.end()?;
            continue;
        }
        sent?;
        return alice.barrier();
    }
    Err(Stop::Error(format!(
        "this machine is too busy to send anything {:?} after connecting",
        timeout.mul_f64(0.9)
    )))
}

fn bytes_after_key_are_a_message(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.connect("alice")?;
    alice.send(&[server.key(), b"right behind the key\n"].concat())?;
    alice.hears("right behind the key")?;
    let mut bob = server.enter("bob")?;
    if check.target().has(Claim::Replay) {
        bob.hears("right behind the key")?;
    } else {
        bob.barrier()?;
        alice.barrier()?;
    }
    bob.say("and something else")?;
    alice.hears("and something else")
}

fn idle_strangers_block_nobody(check: &mut Check) -> Outcome {
    // A machine may stand still for a while; strangers who are in the way are so each time.
    const TRIES: usize = 2;
    // Each group is taken out of the queue before the next one comes, since those before a client are:
    // FreeBSD resets what finds its queue full, which holds 192 there.
    const GROUPS: usize = 2;
    const GROUP: usize = 100;
    // One stranger costs a second when strangers are in the way; nothing else here takes long.
    let limit = check.scaled(Duration::from_secs(3));
    let mut took = Duration::MAX;
    let mut strangers: Vec<Client> = Vec::new();
    for _ in 0..TRIES {
        let server = check.server()?;
        strangers.clear();
        for group in 0..GROUPS {
            for _ in 0..GROUP {
                strangers.push(server.connect(&format!("stranger-{}", strangers.len()))?);
            }
            let begin = Instant::now();
            let mut alice = server.join(if group == 0 { "alice" } else { "bob" })?;
            alice.say("among strangers")?;
            alice.hears("among strangers")?;
            took = begin.elapsed();
            check.note(format!("joined among {} strangers after {took:.3?}", strangers.len()));
            if took >= limit {
                break;
            }
        }
        if took < limit {
            break;
        }
    }
    let many = strangers.len();
    let expected = format!("a client joins at once although {many} strangers are connected");
    ensure(took < limit, &expected, || format!("joining took {took:.1?}"))?;
    for stranger in &mut strangers {
        is_refused(stranger, "a stranger")?;
    }
    Ok(())
}

fn key_never_logged(check: &mut Check) -> Outcome {
    let server = check.server()?;
    drop(server.join("alice")?);
    let wrong: Vec<u8> = server.key().iter().rev().copied().collect();
    refused(&server, "a wrong key", &wrong)?;
    refused(&server, "half a key", half_of(&server))?;
    server.end()?;
    let mut said = server.output().into_bytes();
    if check.target().has(Claim::ChatLog) {
        said.extend(server.log_content()?);
    }
    for (whose, key) in [("the key", server.key()), ("an offered key", wrong.as_slice())] {
        // Fewer bytes may stand there by chance.
        const PIECE: usize = 16;
        for piece in key.chunks_exact(PIECE.min(key.len())) {
            if said.windows(piece.len()).any(|window| window == piece) {
                return fail(
                    "the server's messages and the chat log hold no key",
                    format!("they hold {} bytes of {whose}", piece.len()),
                );
            }
        }
    }
    Ok(())
}

fn key_file_permissions(check: &mut Check) -> Outcome {
    let private = check.server()?;
    let key_file = check.key_path()?;
    let warns = |server: &Server| {
        server
            .output()
            .lines()
            .any(|line| line.contains("key") && line.contains(&key_file.display().to_string()))
    };
    ensure(!warns(&private), "a key file of mode 0600 is nothing to warn about", || {
        private.output()
    })?;
    private.end()?;
    std::fs::set_permissions(&key_file, Permissions::from_mode(0o644)).or_error("chmod")?;
    let open = check.server_with(Options::new())?;
    ensure(warns(&open), "a key file of mode 0644 is warned about by its name", || {
        format!("the server says: {}", open.output().trim())
    })
}
