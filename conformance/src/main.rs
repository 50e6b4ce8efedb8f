//! The program `forkproof`.

fn main() -> std::process::ExitCode {
    forkproof::main()
}
