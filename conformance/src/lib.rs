//! Portability and conformance test suite for Unix servers that fork.
//!
//! The modules are layers, from the bottom up; an import goes down this list, never up
//! (`tests/architecture.rs` says so):
//!
//! | layer | what it is |
//! |---|---|
//! | `stop` | how a check ends before its last line |
//! | `offspring` | a forked process that tells what it has come to |
//! | `platform` | what differs between systems, behind one door |
//! | `personality` | the interposed library: a program on another platform |
//! | `subject` | the server under test: manifest, claims, program |
//! | `needs` | what a requirement takes |
//! | `harness` | what checks are written with: servers, clients, waits, evidence |
//! | `requirement`, `requirements` | what a requirement is, and all of them |
//! | `probe`, `bench`, `survey` | what is measured: the system's facts, a server's speed and cost, and what an unknown one does |
//! | `run` | selection, plan, execution, wardens, findings, the report |
//! | `controls`, `diff` | the proof that requirements can fail; what changed between two reports |
//! | `results` | the directory of results that are kept, by platform |
//! | `render` | every text and document that is shown |
//! | `commands` | the command line, printing, exit statuses |
//!
//! Data flows one way:
//!
//! ```text
//! requirements ─ selection ─ plan ─ execution ─ findings ─ report ─ terminal, JSON, JUnit, …
//!   └ harness ── subject       │        └ warden (a process per check) ─ worker
//!                          slowness
//! ```

mod bench;
mod commands;
mod controls;
mod diff;
mod harness;
mod needs;
mod offspring;
pub mod personality;
mod platform;
mod probe;
mod render;
mod requirement;
mod requirements;
mod results;
mod run;
mod stop;
mod subject;
mod survey;

pub use commands::main;
