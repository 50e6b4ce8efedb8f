//! Logging in on a serial console, as a person would: prompts are waited for.

use std::collections::VecDeque;
use std::io::Write;

use crate::catalogue::SerialLogin;
use crate::guest;

/// Answers prompts on a serial console.
pub(crate) struct SerialTyping {
    steps: VecDeque<(String, String)>,
    seen: Vec<u8>,
}

impl SerialTyping {
    pub(crate) fn new(login: &SerialLogin) -> Self {
        let mut steps = VecDeque::from([(login.login_prompt.clone(), login.login.clone())]);
        if !login.password.is_empty() {
            steps.push_back((login.password_prompt.clone(), login.password.clone()));
        }
        steps.push_back((login.shell_prompt.clone(), guest::typed_command("serial")));
        Self { steps, seen: Vec::new() }
    }

    /// Takes what the console shows, and writes to `to` what it waits for.
    pub(crate) fn read(&mut self, bytes: &[u8], to: &mut impl Write) {
        let Some((prompt, answer)) = self.steps.front() else { return };
        self.seen.extend_from_slice(bytes);
        if !self.seen.windows(prompt.len()).any(|window| window == prompt.as_bytes()) {
            let excess = self.seen.len().saturating_sub(4096);
            self.seen.drain(..excess);
            return;
        }
        // A machine that has gone is noticed elsewhere.
        let _ = to.write_all(format!("{answer}\r").as_bytes());
        self.seen.clear();
        self.steps.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each answer after its prompt and no sooner, in whatever pieces the prompt arrives.
    #[test]
    fn a_serial_login_waits_for_its_prompts() {
        let login = SerialLogin {
            login: "root".into(),
            password: "secret".into(),
            login_prompt: "login:".into(),
            password_prompt: "Password:".into(),
            shell_prompt: "# ".into(),
        };
        let command = format!("{}\r", guest::typed_command("serial"));
        let mut typing = SerialTyping::new(&login);
        for (shown, answer) in [
            ("FreeBSD/amd64 (Amnesiac) (ttyu0)\r\n\r\nlog", ""),
            ("in:", "root\r"),
            (" root\r\nPass", ""),
            ("word: ", "secret\r"),
            ("\r\nWelcome to FreeBSD!\r\nroot@:~ #", ""),
            (" ", command.as_str()),
            ("login: Password: # ", ""),
        ] {
            let mut typed = Vec::new();
            typing.read(shown.as_bytes(), &mut typed);
            assert_eq!(String::from_utf8_lossy(&typed), answer, "after {shown:?}");
        }
    }
}
