//! What differs between systems, behind one door. Nothing elsewhere asks which system this is.
//!
//! Where a system does not tell something, the function says so in words; the requirements that
//! need it are then `not-run` with those words as the reason.

mod facts;
mod listening;
mod model;
#[cfg(target_os = "freebsd")]
#[path = "freebsd/mod.rs"]
mod system;
#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod system;
mod trial;

pub use facts::facts;
pub use listening::listens;
pub use model::*;
pub use system::*;
