//! FreeBSD: sysctl(3) `kern.proc`, procctl(2).

mod absent;
mod cost;
mod host;
mod jails;
mod mounts;
mod processes;
mod records;
mod sockets;

pub use absent::*;
pub use cost::*;
pub use host::*;
pub use jails::*;
pub use mounts::*;
pub use processes::*;
pub use sockets::*;
