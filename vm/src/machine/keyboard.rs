//! Logging in blind on the emulated keyboard, where the console is silent.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::catalogue::{Keyboard, keys};
use crate::guest;

/// From one key to the next: a PS/2 keyboard has room for 16 bytes, and an emulated guest is slow.
const KEY: Duration = Duration::from_millis(120);
/// From a line to the next: a password's check, a login shell, sudo.
const LINE: Duration = Duration::from_secs(10);
/// How long the command may take to show a sign of life before everything is typed again: nothing
/// says whether the first time was too early.
const ROUND: Duration = Duration::from_secs(60);

/// Types on the emulated keyboard, again and again until somebody stops it.
///
/// The keys go to QEMU's machine protocol (QMP reference, `send-key`) over a pair of sockets.
pub(crate) struct KeyboardTyping {
    login: Keyboard,
    to: UnixStream,
    next: Instant,
    strokes: VecDeque<(Vec<&'static str>, Duration)>,
}

impl KeyboardTyping {
    /// The typing, and the end of the pair that is QEMU's.
    pub(crate) fn new(login: &Keyboard) -> std::io::Result<(Self, OwnedFd)> {
        let (own, other) = UnixStream::pair()?;
        // A machine that stands still must not stop this program.
        own.set_nonblocking(true)?;
        let typing = Self {
            login: login.clone(),
            to: own,
            next: Instant::now() + Duration::from_secs(login.after),
            strokes: VecDeque::new(),
        };
        Ok((typing, OwnedFd::from(other)))
    }

    /// QEMU's options for its end of the pair.
    pub(crate) fn options(descriptor: &impl AsFd) -> [String; 4] {
        use std::os::fd::AsRawFd;
        let number = descriptor.as_fd().as_raw_fd();
        [
            "-chardev".into(),
            format!("socket,id=keyboard,fd={number}"),
            "-mon".into(),
            "chardev=keyboard,mode=control".into(),
        ]
    }

    /// Types what is due. To be called often.
    pub(crate) fn advance(&mut self, now: Instant) {
        // Answers and events: nothing hangs on them, but their space does.
        let mut answers = [0; 4096];
        while matches!(self.to.read(&mut answers), Ok(1..)) {}
        if now < self.next {
            return;
        }
        if self.strokes.is_empty() {
            self.strokes = round(&self.login);
            // Harmless when it is said again: the answer is an error that nobody reads.
            let _ = self.to.write_all(b"{\"execute\": \"qmp_capabilities\"}\n");
        }
        if let Some((keys, pause)) = self.strokes.pop_front() {
            let _ = self.to.write_all(format!("{}\n", send_key(&keys)).as_bytes());
            self.next = now + pause;
        }
    }
}

/// Everything that is typed from a prompt for a login to the command.
fn round(login: &Keyboard) -> VecDeque<(Vec<&'static str>, Duration)> {
    const TERMINALS: [&str; 12] =
        ["f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12"];
    let mut strokes = VecDeque::new();
    let terminal = usize::from(login.terminal).checked_sub(1).and_then(|n| TERMINALS.get(n));
    if let Some(&key) = terminal {
        strokes.push_back((vec!["ctrl", "alt", key], LINE));
    }
    // What an earlier round left half typed.
    strokes.push_back((vec!["ctrl", "c"], KEY));
    let mut line = |text: &str, pause| {
        strokes.extend(text.chars().filter_map(keys).map(|keys| (keys, KEY)));
        strokes.push_back((vec!["ret"], pause));
    };
    line(&login.login, LINE);
    if !login.password.is_empty() {
        line(&login.password, LINE);
    }
    if !login.become_root.is_empty() {
        line(&login.become_root, LINE);
        if !login.password.is_empty() {
            line(&login.password, LINE);
        }
    }
    line(&guest::typed_command("screen"), ROUND);
    strokes
}

/// QMP's words for keys that are pressed together.
fn send_key(keys: &[&str]) -> String {
    let keys: Vec<_> =
        keys.iter().map(|key| serde_json::json!({"type": "qcode", "data": key})).collect();
    serde_json::json!({"execute": "send-key", "arguments": {"keys": keys, "hold-time": 40}})
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_qemu_names_them() {
        assert_eq!(
            send_key(&["ctrl", "alt", "f2"]),
            r#"{"arguments":{"hold-time":40,"keys":[{"data":"ctrl","type":"qcode"},{"data":"alt","type":"qcode"},{"data":"f2","type":"qcode"}]},"execute":"send-key"}"#
        );
    }

    /// Back from strokes to text: lines as somebody sees them who looks over the typist's shoulder.
    fn typed(login: &Keyboard) -> Vec<String> {
        let mut lines = vec![String::new()];
        for (pressed, _) in round(login) {
            match pressed[..] {
                ["ret"] => lines.push(String::new()),
                ["ctrl", ..] => lines.push(pressed.join("-")),
                _ => {
                    let character = (' '..='~').find(|c| keys(*c).as_ref() == Some(&pressed));
                    lines.last_mut().expect("a line").push(character.expect("a character"));
                }
            }
        }
        lines.retain(|line| !line.is_empty());
        lines
    }

    #[test]
    fn a_user_with_sudo_types_the_password_twice() {
        let login = Keyboard {
            login: "kali".into(),
            password: "Ka_li".into(),
            become_root: "sudo -S -i".into(),
            terminal: 2,
            after: 0,
        };
        let command = guest::typed_command("screen");
        // The interrupt's keys and the name after them share a line here.
        assert_eq!(
            typed(&login),
            ["ctrl-alt-f2", "ctrl-ckali", "Ka_li", "sudo -S -i", "Ka_li", &command]
        );
    }

    #[test]
    fn root_without_a_password_types_a_name_and_the_command() {
        let login = Keyboard {
            login: "root".into(),
            password: String::new(),
            become_root: String::new(),
            terminal: 0,
            after: 0,
        };
        assert_eq!(typed(&login), ["ctrl-croot", &guest::typed_command("screen")]);
    }
}
