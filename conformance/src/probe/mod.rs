//! Probes: what this operating system does, measured; no server is involved and none is judged.
//!
//! A [`Probe`] says what POSIX leaves open or fixes, what Linux and FreeBSD are documented to do,
//! and measures what happens here. Each runs under a warden of its own, as a check does: a process
//! that may change its signals, fork and die, in a private session and directory, with a deadline.
//!
//! A measured value holds nothing that differs from run to run: no process id, port or time.

mod connections;
mod experiment;
mod files;
mod interfaces;
mod locks;
mod model;
mod processes;
mod report;
mod restart;
mod signals;
mod sockets;
#[cfg(target_os = "freebsd")]
#[path = "system_freebsd.rs"]
mod system;
#[cfg(target_os = "linux")]
#[path = "system_linux.rs"]
mod system;
mod tables;
mod widths;

pub use model::{Measured, Probe, Value};
pub use report::{Fact, ProbeReport, Says};
pub use signals::state_after_exec;
pub use tables::all;
pub use tables::measure;
