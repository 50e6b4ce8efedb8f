//! How a machine ended. That says nothing about the suite: the result's disk does.

use std::process::ExitStatus;
use std::time::Duration;

use settings::printable;

use crate::error::{Error, excerpt};
use crate::platform;

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// QEMU ended by itself.
    Ended(ExitStatus),
    /// It was killed: no sign of life within the boot limit.
    BootLimit,
    /// It was killed: not at its end within the run limit.
    RunLimit,
}

/// What there is to say of a machine that ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    /// How.
    pub(crate) how: How,
    /// From power-on to the guest's first sign of life.
    pub(crate) booted: Option<Duration>,
    /// From power-on to the end.
    pub(crate) took: Duration,
    /// The end of the console.
    pub(crate) console: String,
    /// What the console tells of a kernel's panic. For the message only.
    pub(crate) panicked: Option<String>,
    /// QEMU's own messages.
    pub(crate) messages: String,
}

impl Ended {
    /// "its kernel panicked", with its own words: they are long gone from the console's end.
    fn panic_words(&self) -> String {
        let line = self.panicked.as_deref().unwrap_or_default();
        let from = line.find("Kernel panic").or_else(|| line.find("panic: ")).unwrap_or(0);
        format!("its kernel panicked (`{}`)", excerpt(&line[from..]))
    }

    /// Why there is no result, as an error about the image `id`; `nothing` is what the result's
    /// disk says.
    pub(crate) fn without_result(&self, id: &str, nothing: &str) -> Error {
        let seconds = self.took.as_secs();
        let no_result = |why: &str| Error::no_result(id, why, &self.console);
        let not_booted = |why: &str| Error::not_booted(id, why, &self.console);
        match self.how {
            How::Ended(status) if !status.success() => {
                let mut why = platform::say_how_it_ended(status);
                if !self.messages.is_empty() {
                    why = format!("{why}: {}", printable(&self.messages.replace('\n', " | ")));
                }
                Error::qemu_failed(id, why)
            }
            How::Ended(_) if self.panicked.is_some() && self.booted.is_none() => {
                not_booted(&self.panic_words())
            }
            How::Ended(_) if self.panicked.is_some() => no_result(&self.panic_words()),
            How::Ended(_) if self.booted.is_none() => {
                not_booted("the machine ended before the guest's script ran")
            }
            How::Ended(_) => no_result(nothing),
            How::BootLimit => not_booted(&format!(
                "no sign of the guest's script within the boot limit, after {seconds} s"
            )),
            How::RunLimit => {
                no_result(&format!("not at its end within the limit, after {seconds} s; {nothing}"))
            }
        }
    }
}
