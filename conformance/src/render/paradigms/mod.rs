//! What sinks cost: text, JSON, Markdown, and a page with plots.

mod page;
mod table;

pub use page::html;
pub use table::{json, markdown, text};
