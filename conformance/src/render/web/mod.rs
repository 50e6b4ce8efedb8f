//! Web servers side by side: text, JSON, Markdown, and a page with plots.

mod page;
mod remarks;
mod table;

pub use page::html;
pub use table::{json, markdown, text};
