//! Web servers side by side: text, JSON, Markdown, and a page with plots.

mod disturbed;
mod page;
mod remarks;
mod table;
mod words;

pub use page::html;
pub use table::{json, markdown, text};
