//! One run: at a terminal, in Markdown, as events, in the Test Anything Protocol.

pub mod events;
pub mod markdown;
pub mod tap;
pub mod terminal;
