//! What a run of forkproof came to: the words that every part of the project has in common.
//!
//! | what | file |
//! |---|---|
//! | a verdict, a level, what was expected and what happened | `verdict` |
//! | the conclusion of a run | `conclusion` |
//! | the exit statuses | `exit_status` |
//! | the platform of a run, and what it is called | `facts` |
//! | what a failure is shown with | `evidence` |
//! | an entry of a baseline, as reports quote it | `exception` |
//! | the report | `report` |
//! | reading one | `read` |
//!
//! The runner writes reports, and they are read by whatever merges or compares them, and by the
//! machines that get them from a guest.

mod conclusion;
mod evidence;
mod exception;
mod exit_status;
mod facts;
mod read;
mod report;
mod schema;
mod verdict;

pub use conclusion::Conclusion;
pub use evidence::Evidence;
pub use exception::{Exception, Expected};
pub use exit_status::ExitStatus;
pub use facts::{Facts, known_names};
pub use read::schema_of;
pub use report::{Entry, Rehearsal, Report, RunOptions, TargetInfo, area};
pub use schema::{CHAT_SCHEMA, EVENTS_SCHEMA, PARADIGMS_SCHEMA, PROBE_SCHEMA, SCHEMA, WEB_SCHEMA};
pub use verdict::{Failure, Level, Verdict};
