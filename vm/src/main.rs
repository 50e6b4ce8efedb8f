//! `forkproof vm` as a program of its own: what this crate's tests run.

use clap::Parser;

/// Images and machines: run the suite on other systems
#[derive(Parser)]
#[command(name = "forkproof-vm", version)]
struct Cli {
    #[command(subcommand)]
    command: forkproof_vm::Arguments,
}

fn main() -> std::process::ExitCode {
    forkproof_vm::main(&Cli::parse().command)
}
