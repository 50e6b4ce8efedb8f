//! `forkproof vm run` with an emulator that is a shell script: everything that can go wrong with a
//! machine, and how it is told. Each ends in the documented status, with one sentence, and leaves
//! no process and no half file.

mod cache;
mod host;
mod made;
mod results;
mod world;
