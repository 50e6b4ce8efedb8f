//! Configuration files, addresses, and words for people: what every program of the project has in common.
//!
//! | what | where |
//! |---|---|
//! | a TOML file into a typed structure, or one line that says what is wrong where | [`read`], [`parse`] |
//! | the nearest of several names, for a misspelt one | [`nearest()`], [`unknown`] |
//! | where a user's configuration and cache are | [`base_directory`] |
//! | an error of the operating system in words alone | [`reason`] |
//! | why a server doesn't start, and its exit status | [`StartError`] |
//! | text from elsewhere, harmless on a terminal | [`printable`], [`printable_lines`], [`one_line`] |
//! | an IPv6 address with its scope | [`scoped_address`] |

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
compile_error!("forkproof and its servers are written for Linux and FreeBSD");

mod directories;
mod file;
mod nearest;
mod scope;
mod start_error;
mod text;

pub use directories::base_directory;
pub use file::{SettingsError, line_at, parse, read, read_text};
pub use nearest::{did_you_mean, nearest, unknown};
pub use scope::scoped_address;
pub use start_error::{EXIT_FAILURE, EXIT_USAGE, StartError};
pub use text::{one_line, printable, printable_lines, reason};
