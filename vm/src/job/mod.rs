//! Jobs: the suite in many machines, or a shell in one.

mod canary;
mod directory;
mod plan;
mod run;
mod shell;

pub(crate) use plan::{
    Acceleration, Settings, candidates, machines_at_a_time, refuse_duplicates, require_programs,
};
pub(crate) use run::{News, Plan, Settled, run};
pub(crate) use shell::shell;
