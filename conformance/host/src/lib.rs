//! What the runner and the machines both ask of the host they are on.
//!
//! | what | file |
//! |---|---|
//! | whether the user wants it to end | [`interrupt`] |
//! | several jobs at a time | `queue` |
//! | what an executable file is | `elf` |

mod elf;
pub mod interrupt;
mod queue;

pub use elf::{Elf, Machine};
pub use queue::in_parallel;
