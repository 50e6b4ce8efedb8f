//! The requirements, one file per area: the code of `signals/handler-persists` is in `signals.rs`.

mod auth;
mod catalogue;
mod delivery;
mod lifecycle;
mod listen;
mod locking;
mod processes;
mod signals;
mod situations;
mod storage;
mod width;
mod workers;

pub use catalogue::{all, did_you_mean, find};
