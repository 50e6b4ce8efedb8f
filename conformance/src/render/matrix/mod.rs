//! `forkproof report`: the reports of many runs as one matrix, requirements × platforms.
//!
//! [`input`] reads the files, [`label`] names the columns, [`model`] orders the rows; [`html`],
//! [`markdown`] and [`terminal`] show them.

pub mod html;
pub mod input;
mod label;
pub mod markdown;
mod model;
pub mod terminal;

pub use label::platform as platform_lines;
pub use model::Matrix;
