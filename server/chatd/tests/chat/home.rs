//! Whoever runs the client.

use std::fs;
use std::path::PathBuf;
use std::process;

use assert_cmd::Command;
use tempfile::TempDir;

use super::common::{KEY, PATIENCE, private};

/// A user's files, and nothing of the environment of whoever runs the tests.
pub(super) struct Home {
    directory: TempDir,
}

impl Home {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Self { directory };
        fs::create_dir(home.path("chat")).unwrap();
        home.write("key", &KEY);
        home
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) {
        private(&self.path(name), bytes);
    }

    pub(super) fn configure(&self, text: &str) {
        self.write("chat/config.toml", text.as_bytes());
    }

    /// Without a host, a port or a key.
    pub(super) fn plain(&self) -> process::Command {
        let mut command = process::Command::new(env!("CARGO_BIN_EXE_chat"));
        command
            .env_clear()
            .env("HOME", self.directory.path())
            .env("XDG_CONFIG_HOME", self.directory.path())
            .env("USER", "tester")
            .env("TERM", "xterm");
        command
    }

    /// To `port` of 127.0.0.1, with the key.
    pub(super) fn chat(&self, port: u16) -> process::Command {
        let mut command = self.plain();
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.arg("--key-file").arg(self.path("key"));
        command
    }
}

/// To be run to its end.
pub(super) fn run(command: process::Command) -> Command {
    let mut command = Command::from_std(command);
    command.timeout(PATIENCE);
    command
}
