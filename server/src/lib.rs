//! The reference forking chat server of forkproof and its client.

pub mod client;
pub mod settings;
