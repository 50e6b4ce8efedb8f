//! One run: at a terminal, in Markdown.

pub mod markdown;
pub mod terminal;
