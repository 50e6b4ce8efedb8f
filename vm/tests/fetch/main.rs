//! `forkproof vm fetch` against a publisher on loopback: what it brings, and every way in which it
//! may not.

mod catalogue;
mod formats;
mod interrupted;
mod kept;
mod publisher;
mod server;
mod world;
