//! What a run of forkproof came to: the words that every part of the project has in common.
//!
//! | what | file |
//! |---|---|
//! | a verdict, a level, what was expected and what happened | `verdict` |
//! | the conclusion of a run, and the exit statuses | `conclusion` |
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
mod facts;
mod read;
mod report;
mod schema;
mod verdict;

pub use conclusion::{Conclusion, ExitStatus};
pub use evidence::Evidence;
pub use exception::{Exception, Expected};
pub use facts::{Facts, known_names};
pub use read::schema_of;
pub use report::{Entry, Rehearsal, Report, RunOptions, TargetInfo, area};
pub use schema::{PROBE_SCHEMA, SCHEMA};
pub use verdict::{Failure, Level, Verdict};
