//! Images and machines: what `forkproof vm` does.
//!
//! In layers; an import goes down this list, never up:
//!
//! | layer | what it is |
//! |---|---|
//! | `commands` | a file per subcommand: arguments, printing, exit status |
//! | `readiness` | what this host has of all that machines take |
//! | `job` | the suite in many machines, or a shell in one |
//! | `payload` | which `forkproof` goes into a guest |
//! | `machine` | a QEMU process: command line, console, logging in, how it ended |
//! | `obtain` | brings an image into the cache: `fetch` downloads, `build` makes |
//! | `guest` | what runs in a guest, and the disks that go in and come out |
//! | `cache` | the images on this host, whole and verified, never written to |
//! | `catalogue` | what images there are, and what a description must say |
//! | `platform` | the only door to the system |
//! | `error` | every way to fail, each told in one sentence |

mod cache;
mod catalogue;
mod commands;
mod error;
mod guest;
mod job;
mod machine;
mod obtain;
mod payload;
mod platform;
mod readiness;

pub use catalogue::image_ids;
pub use commands::{Arguments, main};
pub use readiness::{Means, means};
