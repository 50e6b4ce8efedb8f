//! Portability and conformance test suite for Unix servers that fork.
//!
//! Data flows one way:
//!
//! ```text
//! catalogue ─ selection ─ plan ─ execution ─ findings ─ report
//! requirements/            │        │                    ├ terminal
//!   └ harness/ ── target   │      warden (a process      ├ json, junit
//!                      slowness    per check)            └ markdown
//! ```
//!
//! A report never reaches back into execution, and a requirement never prints. What differs between
//! systems is behind [`platform`].
//!
//! Beside that, [`probe`] measures facts of the operating system itself, each below a warden too,
//! and [`diff`] tells what changed between two files of facts, or two reports. [`matrix`] merges the
//! reports of many platforms into one page.
//! and [`diff`] tells what changed between two files of facts, or two reports.
//! A [`baseline`] tells a run which failures are known.

pub mod baseline;
pub mod bench;
pub mod catalogue;
pub mod cli;
pub mod controls;
mod destination;
pub mod diff;
pub mod execution;
pub mod facts;
pub mod harness;
pub mod matrix;
pub mod needs;
pub mod personality;
pub mod platform;
pub mod probe;
mod rehearsal;
pub mod report;
pub mod requirements;
pub mod selection;
pub mod slowness;
pub mod target;
pub mod verdict;
pub mod warden;
