//! `forkproof vm` as a program of its own: what this crate's tests run.

use clap::Parser;

/// Images and machines: run the suite on other systems
#[derive(Parser)]
#[command(name = "forkproof-vm", version)]
struct Cli {
    #[command(subcommand)]
    command: forkproof_vm::cli::Arguments,
}

fn main() -> std::process::ExitCode {
    forkproof_vm::cli::main(&Cli::parse().command)
}
