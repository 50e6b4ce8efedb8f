//! The names of the formats.

/// The name and version of a report's format.
pub const SCHEMA: &str = "forkproof-report/1";
/// The name and version of the format of a run as it goes on, an event a line.
pub const EVENTS_SCHEMA: &str = "forkproof-events/1";
/// The name and version of the format of an operating system's facts.
pub const PROBE_SCHEMA: &str = "forkproof-probe/1";
/// The name and version of the format of what `forkproof bench paradigms` measures.
pub const PARADIGMS_SCHEMA: &str = "forkproof-paradigms/1";
/// The name and version of the format of what `forkproof bench web` measures.
pub const WEB_SCHEMA: &str = "forkproof-web/1";
/// The name and version of the format of what `forkproof bench chat` measures.
pub const CHAT_SCHEMA: &str = "forkproof-chat/1";
