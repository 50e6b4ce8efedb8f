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

pub mod bench;
pub mod catalogue;
pub mod cli;
pub mod controls;
pub mod execution;
pub mod facts;
pub mod harness;
pub mod needs;
pub mod personality;
pub mod platform;
pub mod report;
pub mod requirements;
pub mod selection;
pub mod slowness;
pub mod target;
pub mod verdict;
pub mod warden;
