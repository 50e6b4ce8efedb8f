//! What runs in a guest, and what goes in and comes out: the layout is in `vm/README.md`.

mod archive;
mod disks;
mod result;
mod scripts;
mod seed;
mod stamp;

pub(crate) use disks::{require_added, write_job, write_out};
pub(crate) use result::{Outcome, REPORTS, read_out, read_report};
pub(crate) use scripts::{
    STARTED, WRITTEN, Work, bootstrap, quoted, run_script, typed_command, user_data,
};
pub(crate) use seed::write as write_seed;
pub(crate) use stamp::Stamp;
