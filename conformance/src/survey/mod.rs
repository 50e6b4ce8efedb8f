//! Finding out about a server of which nothing is known but its command line; see `forkproof init`.
//!
//! ```text
//! command line ── explore (start, port, processes, end) ── Survey ── render/manifest ── a manifest
//!                    └ talk (what it says first, what it answers)
//! ```

mod explore;
mod talk;

pub use explore::{Command, Model, Survey, explore};
pub use talk::Answer;
