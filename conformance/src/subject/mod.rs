//! The server under test: its manifest, what it claims, and its program.
//!
//! ```text
//! FILE ── settings (line, nearest key) ── manifest ── check (what must fit together) ── target
//! ```

mod check;
mod claim;
mod manifest;
mod program;
mod target;
mod template;
mod words;

pub use claim::Claim;
pub use manifest::{DaemonIs, Ending, Ends, Manifest, ReadyBy, SymbolicLinks};
pub use program::executable;
pub use target::Target;
pub use template::{Template, Values};
pub use words::SignalName;
