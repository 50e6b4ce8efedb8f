//! What systemd, or what speaks its protocol, is told: sd_notify(3), "Standalone Implementations".

use std::ffi::OsString;
use std::time::Duration;

use settings::reason;

use crate::{diagnostics, platform};

/// The supervisor's socket, if there is one, and how often it wants a sign of life.
pub(crate) struct Notifier {
    socket: Option<OsString>,
    /// How often [`Notifier::alive`] is to be called: half of what the supervisor waits.
    pub(crate) watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(crate) fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC")
            .filter(|&microseconds| microseconds > 0 && ours && socket.is_some())
            .map(|microseconds| Duration::from_micros(microseconds) / 2);
        Self { socket, watchdog }
    }

    /// The server serves; `status` is a line for people.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nMAINPID={}\nSTATUS={status}\n", std::process::id()));
    }

    /// A reload or an upgrade begins; [`Notifier::ready`] ends it, whatever came of it.
    pub(crate) fn reloading(&self) {
        let now = platform::monotonic_microseconds();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}\n"));
    }

    /// The server ends.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    /// A sign of life for the watchdog.
    pub(crate) fn alive(&self) {
        self.send("WATCHDOG=1\n");
    }

    fn send(&self, message: &str) {
        let Some(name) = &self.socket else { return };
        if let Err(error) = platform::send_datagram(name, message.as_bytes()) {
            diagnostics::say(&format!("warning: NOTIFY_SOCKET: {}", reason(&error)));
        }
    }
}
