//! Web servers side by side, under the same load.
//!
//! | what | file |
//! |---|---|
//! | the servers that are known, and their configurations | `servers`, with a manifest each |
//! | the files that are asked for | `site` |
//! | an answer, byte for byte | `response` |
//! | the load: connections, pace, latencies | `load` |
//! | a server that has all its workers | `started` |
//! | one measurement | `measurement` |
//! | one in which the server is disturbed | `disturbed`, with `disturbance` |
//! | what many of them say together | `report` |

mod disturbance;
mod disturbed;
mod load;
mod measurement;
mod report;
mod response;
mod servers;
mod site;
mod started;

pub use disturbance::Disturbance;
pub use disturbed::{DisturbedMeasurement, DisturbedSample, measure_disturbed};
pub use measurement::{Pace, WebMeasurement, WebSample, measure_web};
pub use report::{
    DisturbedCell, LatencyFigures, LoadFigures, ServerFacts, WebCell, WebLoad, WebReport,
};
pub use servers::KNOWN_SERVERS;
