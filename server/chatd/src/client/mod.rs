//! `chat`, the command-line client of a papaya line protocol server.
//!
//! The client connects, sends the bytes of its key, and from then on writes lines and receives
//! every byte that is appended to the server's log. Three ways of use share the connection:
//!
//! | standard input, standard output | module | what happens |
//! |---|---|---|
//! | a terminal, a terminal | `terminal` | lines are edited; what arrives is shown above them |
//! | anything else | `pipe` | input is sent, then the server has to confirm it |
//! | `--listen` | `pipe` | nothing is sent, what arrives is printed |
//!
//! The protocol has no word for "accepted": the server of a refused client closes, and so does
//! one that ends. `connection` decides which of them is more likely, and its messages name both
//! where they cannot be told apart.

mod again;
mod connection;
mod conversation;
mod delivery;
mod display;
mod failure;
mod history;
mod keys;
mod look;
mod options;
mod pipe;
mod program;
mod terminal;

pub use program::{client_command, client_main};
