//! The only door to the system: where Linux and FreeBSD differ, and what every part of this crate
//! asks of a host.

mod files;
mod interrupt;
mod lock;
mod ownership;
mod packages;
mod process;
mod program;
mod resources;

pub(crate) use files::{list, make_private, read, read_text, remove, sync_directory, write};
pub(crate) use interrupt::{catch_signals, check};
pub(crate) use lock::{Lock, lock, try_lock};
pub(crate) use ownership::{close_to_others, open_own, require_own_directory};
pub(crate) use packages::how_to_install;
pub(crate) use process::{Process, SAID_LIMIT, say_how_it_ended, start_tool, tool};
pub(crate) use program::program;
pub(crate) use resources::{memory_available, space_left};
