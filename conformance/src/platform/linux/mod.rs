//! Linux: proc(5), prctl(2), namespaces(7), seccomp(2).

mod cost;
mod diag;
mod filters;
mod host;
mod ipc;
mod locks;
mod mounts;
mod namespaces;
mod processes;
mod sockets;

pub use cost::*;
pub use filters::*;
pub use host::*;
pub use ipc::*;
pub use locks::*;
pub use mounts::*;
pub use namespaces::*;
pub use processes::*;
pub use sockets::*;
