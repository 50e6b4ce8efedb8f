//! `chat`: see `chatd::client`.

fn main() -> std::process::ExitCode {
    chatd::client::main(std::env::args_os())
}
