//! What a chat costs and how fast it is: messages at a steady rate and as many as can be, latency,
//! connections, memory, idling.
//!
//! Not a test: the figures depend on the machine. Compare two servers, or two versions of one, in
//! one run, and read ratios. The processor times are the scheduler's own
//! ([`crate::platform::processor_time`]), which count short wake-ups too.
//!
//! | what | file |
//! |---|---|
//! | what can be measured, and what that gives | `figures` |
//! | the clients, which check what they hear | `talkers` |
//! | one measurement | `conversation` |
//! | what many of them say together | `cells` |

mod cells;
mod conversation;
mod figures;
mod talkers;

pub use cells::{AtRest, Chat, ChatSample, ChatServer, Conversation};
pub use conversation::measure;
pub use figures::{Figures, Measures, Point, What};
pub use talkers::MESSAGE;
