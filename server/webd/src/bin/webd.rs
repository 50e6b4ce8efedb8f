//! The reference master-worker web server.

fn main() -> std::process::ExitCode {
    webd::server_main(std::env::args_os())
}
