//! What can be measured.

use super::{chat, paradigms, web};
use crate::commands::outcome::CommandResult;

/// The subcommands of `forkproof bench`.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Measure what a chat costs and how fast it is, beside the floor of its design and ngIRCd
    #[command(after_help = chat::AFTER_HELP)]
    Chat(chat::Arguments),
    /// Compare what a sink costs as a process per client, a thread, one process with poll, tokio, or
    /// any other program
    #[command(after_help = paradigms::AFTER_HELP)]
    Paradigms(paradigms::Arguments),
    /// Compare web servers: webd, nginx, Apache, and any other by its manifest
    #[command(after_help = web::AFTER_HELP)]
    Web(web::Arguments),
}

/// The command.
pub fn main(command: Command) -> CommandResult {
    match command {
        Command::Chat(arguments) => chat::main(&arguments),
        Command::Paradigms(arguments) => paradigms::main(&arguments),
        Command::Web(arguments) => web::main(&arguments),
    }
}
