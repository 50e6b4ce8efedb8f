//! `forkproof bench web`: web servers side by side.

mod arguments;
mod plan;
mod run;

pub(super) use arguments::{AFTER_HELP, Arguments};
pub(super) use run::main;
