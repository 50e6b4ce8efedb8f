//! What sinks cost: text, JSON, Markdown, and a page with plots.

mod plots;
mod remarks;
mod table;
mod whole;
