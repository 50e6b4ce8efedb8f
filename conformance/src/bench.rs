//! bench
use std::process::ExitCode;
#[derive(clap::Args, Debug)]
/// x
pub struct Arguments {}
/// x
pub fn main(_a: &Arguments) -> ExitCode { ExitCode::SUCCESS }
