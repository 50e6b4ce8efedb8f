//! What checks are written with: a private server, clients with barriers, waits with deadlines, and
//! the evidence of all that happened.
//!
//! A check runs in a process of its own (see [`crate::run`]), which may change itself as it
//! likes: namespaces, limits, dispositions. Everything here is therefore for one thread.

mod at_once;
mod barrier;
mod begun;
mod check;
mod client;
mod crowd;
mod deadline;
mod evidence;
mod exchange;
mod hearing;
mod joining;
mod launch;
mod life;
mod load;
mod locks;
mod manners;
mod narrow;
mod options;
mod orphan;
mod pipe;
mod pool;
mod prepare;
mod processes;
mod record;
mod seen;
mod server;
mod surroundings;
mod user;
mod world;

pub use begun::Begun;
pub use check::Check;
pub use client::{Client, line_of};
pub use crowd::Crowd;
pub use launch::{OUTPUT_SUFFIX, free_port};
pub use load::Load;
pub use locks::{LockMode, lock_waiters};
pub use options::Options;
pub use pipe::Pipe;
pub use processes::Cluster;
pub use record::excerpt;
pub use server::{Launched, Server};
pub use surroundings::{enter as enter_surroundings, is_alone, missing as surroundings_missing};
pub use world::{Ending, Orders, SHARED, tail};
