//! What can be measured of a chat, and what that gives.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One measurement of a fresh server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measures {
    /// What is measured.
    pub what: What,
    /// Whether clients speak IRC instead of what the manifest says.
    pub irc: bool,
    /// For how long.
    pub time: Duration,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// Clients that all speak and all hear each other.
    Talk(Point),
    /// Clients that come and go, and clients that say nothing.
    Rest,
}

/// How many speak, and how much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Clients.
    pub clients: usize,
    /// Messages of 64 bytes that each says in a second; without it as many as the slowest of them hears,
    /// with a few under way.
    pub rate: Option<f64>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Figures {
    /// See [`What::Talk`].
    Talk(Talk),
    /// See [`What::Rest`].
    Rest(Rest),
}

impl Figures {
    pub(super) fn talk(&self) -> Option<&Talk> {
        if let Self::Talk(talk) = self { Some(talk) } else { None }
    }

    pub(super) fn rest(&self) -> Option<&Rest> {
        if let Self::Rest(rest) = self { Some(rest) } else { None }
    }
}

/// What a conversation took. A delivery is a message that one client has heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Talk {
    /// Deliveries.
    pub deliveries: u64,
    /// Deliveries that had not come when there had been none for two seconds (as on an ordinary machine).
    pub lost: u64,
    /// Deliveries out of the order in which their speaker said them, or that came twice.
    pub disordered: u64,
    /// From the first message to the last delivery, in s.
    pub seconds: f64,
    /// Processor time of all processes of the server, in ms.
    pub processor_ms: f64,
    /// From the time at which a message was to be said, whether or not it could be, to each delivery, in
    /// µs: the median, the 99th and 99.9th percentile, and the longest.
    pub latency_us: [u64; 4],
    /// How late the load itself was at most, in ms.
    pub load_late_ms: f64,
    /// What others used of the machine meanwhile, in percent of all its processors; none where that is not
    /// told.
    pub others_percent: Option<f64>,
}

impl Talk {
    /// Processor time of a delivery in µs.
    pub fn cost_us(&self) -> f64 {
        self.processor_ms * 1e3 / self.deliveries.max(1) as f64
    }

    /// Deliveries in a second.
    pub fn per_second(&self) -> f64 {
        self.deliveries as f64 / self.seconds
    }
}

/// What a server takes while nobody speaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rest {
    /// Clients let in per second, one after the other: connected, and served.
    pub joins_per_second: f64,
    /// Memory of all processes of 64 clients, per client, in KiB (proportional share, PSS); none
    /// where that is not told.
    pub memory_per_client_kib: Option<f64>,
    /// Memory of the server without clients in KiB (PSS).
    pub memory_alone_kib: Option<f64>,
    /// Processor time of a server with 64 idle clients, in ms per second.
    pub idle_ms_per_second: f64,
}
