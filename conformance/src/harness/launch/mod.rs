//! How a server is started, as its manifest says, and how it is known that it listens.
//!
//! ```text
//! Options (what a check wants) ─┐
//! Manifest (what a server takes) ┴─ Invocation ── spawn ── ready ── daemon ── Launched
//! ```

mod access;
mod announcement;
mod invocation;
mod listen;
mod ready;
mod spawn;
mod words;

pub use listen::free_port;
pub use spawn::OUTPUT_SUFFIX;
pub(super) use spawn::launch;
