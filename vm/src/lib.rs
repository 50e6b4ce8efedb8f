//! Images and machines: what `forkproof vm` does.
//!
//! Data flows one way:
//!
//! ```text
//! catalogue ─┬ fetch ── verify ── unpack ─┐
//! images/    └ build ─────────────────────┴ cache ─ machine ─ job ─ reports
//!                                            disks, seed ─┘     └ guest
//! ```
//!
//! The [`catalogue`] says where an image comes from and how it is started; [`fetch`] and [`build`]
//! bring it into the [`cache`], where it has its final name only when it is whole and verified.
//! Machines read it and never write to it. Every way to fail is a variant of [`error::Error`].

pub mod build;
pub mod cache;
pub mod catalogue;
pub mod cli;
mod commands;
pub mod disks;
pub mod error;
pub mod fetch;
pub mod guest;
mod http;
pub mod interrupt;
pub mod job;
pub mod machine;
pub mod payload;
mod platform;
pub mod seed;
mod typing;
pub mod unpack;
pub mod verify;
