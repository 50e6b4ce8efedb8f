//! A run: what is selected, how it is executed, and what it comes to.
//!
//! ```text
//! selection ─ plan ─ execution ─ runner ─ warden (a process per check) ─ worker
//!  baseline ──┘          └ findings ─ report
//! ```

mod baseline;
mod deadlines;
mod draft;
mod execution;
mod finding;
mod leftovers;
mod plan;
mod rehearsal;
mod report;
mod runner;
mod selection;
mod task;
mod warden;
mod wards;
mod worker;

pub use baseline::Baseline;
pub use deadlines::{CHECK_DEADLINE, Pace, slowness};
pub use draft::{FORMAT, draft};
pub use execution::{Event, Execution, Record, execute};
pub use finding::{Finding, Product};
pub use plan::Plan;
pub use report::{entry, report};
pub use runner::{run_task, warden};
pub use selection::{Choice, SelectionError, Shard, select, shard};
pub use task::{Subject, Task, Work};
