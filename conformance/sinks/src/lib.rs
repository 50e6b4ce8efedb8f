//! One sink in several designs: each reads what its clients send and writes it to standard output.
//!
//! `forkproof bench paradigms` compares what they cost. They differ in nothing but how they wait for
//! their clients: the buffers have the same size, and all write with write(2), without a buffer of the
//! library's in between.
//!
//! | design | file |
//! |---|---|
//! | a process per client, forked when it comes or beforehand | `processes` |
//! | a thread per client, and the floor, which writes nothing | `threads` |
//! | one process and poll(2) | `polled` |
//! | tokio on one thread or many | `tasks` |
//!
//! And the floor of another measurement, `forkproof bench chat`: `floor` is a forking chat that does
//! nothing that its design does not ask for.

mod copy;
mod designs;
mod floor;
mod polled;
mod processes;
mod tasks;
mod threads;

pub use designs::{DESIGNS, Design, FLOOR, find, run};
pub use floor::{CHAT_FLOOR, chat};
