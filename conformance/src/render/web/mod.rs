//! Web servers side by side: text, JSON, Markdown, and a page with plots.

mod disturbed;
mod plots;
mod remarks;
mod table;
mod whole;
mod words;
