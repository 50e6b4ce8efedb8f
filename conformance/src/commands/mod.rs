//! The commands, a file each: arguments, what is printed, the exit status. Nothing else knows the
//! command line.

mod arguments;
mod as_personality;
mod baseline;
mod bench;
mod cli;
mod completions;
mod controls;
mod destination;
mod diff;
mod doctor;
mod init;
mod list;
mod manual;
mod outcome;
mod private;
mod probe;
mod project;
mod report;
mod run;

pub use cli::main;
