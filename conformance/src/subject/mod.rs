//! The server under test: its manifest, what it claims, and its program.
//!
//! ```text
//! FILE ── settings (line, nearest key) ── manifest ── check (what must fit together) ── target
//! ```

mod check;
mod claim;
mod launch;
mod lifecycle;
mod manifest;
mod options;
mod processes;
mod program;
mod target;
mod template;
mod wire;
mod words;

pub use claim::Claim;
pub use launch::DaemonIs;
pub use manifest::{Ends, Manifest, ReadyBy, SymbolicLinks};
pub use options::Words;
pub use processes::{Measured, Model};
pub use program::executable;
pub use target::Target;
pub use template::{Template, Values};
pub use wire::{Again, Ending, Kind, Place, Until, Wire};
pub use words::SignalName;
