//! FreeBSD: sysctl(3) `kern.proc`, procctl(2).

mod cost;
mod host;
mod processes;
mod records;
mod sockets;

pub use cost::*;
pub use host::*;
pub use processes::*;
pub use sockets::*;
