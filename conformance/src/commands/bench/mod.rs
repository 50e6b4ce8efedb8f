//! `forkproof bench`: what servers cost and how fast they are.

mod accounting;
mod chat;
mod choice;
mod outputs;
mod paradigms;
mod progress;
mod web;

pub use chat::floor;
pub use choice::{Command, main};
pub use paradigms::sink;
