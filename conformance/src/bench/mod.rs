//! What servers cost and how fast they are.
//!
//! | what is measured | file |
//! |---|---|
//! | a chat: messages, latency, connections, memory, idling | `chat` |
//! | sinks of several designs under the same load | `measurement`, with `sink`, `load` and `cost` |
//! | what many such measurements say together | `paradigms`, with `statistics` and `machine` |
//! | web servers under the same load | `web` |
//! | what is not the server's meanwhile | `meanwhile` |

mod chat;
mod cost;
mod load;
mod machine;
mod meanwhile;
mod measurement;
mod paradigms;
mod sink;
mod statistics;
mod web;

pub use chat::{
    AtRest, Chat, ChatSample, ChatServer, Conversation, Figures, MESSAGE, Measures, Point, What,
    measure,
};
pub use cost::{Accounting, Group};
pub use load::Rate;
pub use machine::Machine;
pub use measurement::{Measurement, Sample, measure_sink};
pub use paradigms::{Cell, Paradigms, SinkFacts};
pub use sink::Sink;
pub use statistics::Summary;
pub use web::{
    Disturbance, DisturbedCell, DisturbedMeasurement, DisturbedSample, KNOWN_SERVERS,
    LatencyFigures, LoadFigures, Pace, ServerFacts, WebCell, WebLoad, WebMeasurement, WebReport,
    WebSample, measure_disturbed, measure_web,
};
