//! The reference forking chat server.

fn main() -> std::process::ExitCode {
    chatd::server_main(std::env::args_os())
}
