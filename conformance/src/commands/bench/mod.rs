//! `forkproof bench`: what servers cost and how fast they are.

mod chat;
mod choice;
mod paradigms;

pub use chat::floor;
pub use choice::{Command, main};
pub use paradigms::sink;
