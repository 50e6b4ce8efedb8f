//! What servers cost and how fast they are.
//!
//! | what is measured | file |
//! |---|---|
//! | a chat: messages, latency, connections, memory, idling | `chat` |
//! | sinks of several designs under the same load | `measurement`, with `sink`, `load` and `cost` |
//! | what many such measurements say together | `paradigms`, with `statistics` |

mod chat;
mod cost;
mod load;
mod measurement;
mod paradigms;
mod sink;
mod statistics;

pub use chat::{Chat, ChatSample, Figures, Measures, Point, What, measure};
pub use cost::{Accounting, Group};
pub use load::Rate;
pub use measurement::{Measurement, Sample, measure_sink};
pub use paradigms::{Cell, Machine, Paradigms, SinkFacts};
pub use sink::Sink;
pub use statistics::Summary;
