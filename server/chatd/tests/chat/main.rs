//! The program `chat`, against small servers played by the tests.

#[path = "../common/mod.rs"]
mod common;
mod connecting;
mod ends;
mod home;
mod key_file;
mod pipes;
mod server;
mod settings;
mod terminals;
