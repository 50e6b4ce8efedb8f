//! `chat`, the command-line client of `chatd`.

fn main() -> std::process::ExitCode {
    chatd::client_main(std::env::args_os())
}
