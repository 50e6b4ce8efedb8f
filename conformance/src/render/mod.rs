//! What is shown: every text and document is made here, from what others found out, and nothing is
//! printed.

mod again;
pub mod catalogue;
mod chat;
pub mod comparison;
pub mod doctor;
mod document;
mod escape;
pub mod facts;
mod fields;
mod figure;
mod frame;
pub mod junit;
mod look;
mod manifest;
pub mod matrix;
pub mod pages;
mod paradigms;
mod platforms;
mod plot;
pub mod run;
mod web;
pub mod words;
mod wrap;

pub use document::json;
pub use manifest::{manifest, name_of};
pub use wrap::wrap;
