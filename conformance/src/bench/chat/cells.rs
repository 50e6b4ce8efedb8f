//! What all rounds say together.

use forkproof_report::Facts;
use serde::Serialize;

use super::figures::{Figures, Point, Rest, Talk, What};
use crate::bench::machine::Machine;
use crate::bench::statistics::Summary;

/// All of it: the document that `--report` writes.
#[derive(Debug, Clone, Serialize)]
pub struct Chat {
    /// [`forkproof_report::CHAT_SCHEMA`].
    pub schema: &'static str,
    /// The version of this program.
    pub forkproof: &'static str,
    /// Whether it was built with optimization, and with it chatd and the floor.
    pub optimized: bool,
    /// When it began (RFC 3339, UTC).
    pub started: String,
    /// How long it took, in s.
    pub duration_seconds: f64,
    /// The system.
    pub platform: Facts,
    /// The machine.
    pub machine: Machine,
    /// Bytes of a message.
    pub message_bytes: usize,
    /// How long each measurement took, in s.
    pub seconds: f64,
    /// How often each was made.
    pub rounds: usize,
    /// What was measured, in the order of the first round.
    pub servers: Vec<ChatServer>,
    /// Conversations: each point, and at it each server.
    pub conversations: Vec<Conversation>,
    /// What each server takes while nobody speaks.
    pub at_rest: Vec<AtRest>,
}

/// A server, as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct ChatServer {
    /// What it is called.
    pub name: String,
    /// What it is, in a few words.
    pub about: String,
}

/// A server with one number of clients that say so much.
#[derive(Debug, Clone, Serialize)]
pub struct Conversation {
    /// The server.
    pub server: String,
    /// Clients.
    pub clients: usize,
    /// Messages that each says in a second; none: as many as all hear.
    pub rate: Option<f64>,
    /// Processor time of a delivery, in µs.
    pub us_per_delivery: Summary,
    /// Deliveries in a second.
    pub deliveries_per_second: Summary,
    /// From the intended time of a message to a delivery, in µs: the median of each round's median, 99th
    /// and 99.9th percentile, and longest.
    pub latency_us: [f64; 4],
    /// Deliveries that did not come, in all rounds.
    pub lost: u64,
    /// Deliveries that came in the wrong order or twice, in all rounds.
    pub disordered: u64,
    /// How late the load was at most, in ms.
    pub load_late_ms: f64,
}

/// A server without a conversation.
#[derive(Debug, Clone, Serialize)]
pub struct AtRest {
    /// The server.
    pub server: String,
    /// See [`Rest::joins_per_second`].
    pub joins_per_second: Summary,
    /// See [`Rest::memory_per_client_kib`].
    pub memory_per_client_kib: Option<Summary>,
    /// See [`Rest::memory_alone_kib`].
    pub memory_alone_kib: Option<Summary>,
    /// See [`Rest::idle_ms_per_second`].
    pub idle_ms_per_second: Summary,
}

/// One measurement of a server.
#[derive(Debug, Clone)]
pub struct ChatSample {
    /// The server.
    pub server: String,
    /// What was measured.
    pub what: What,
    /// What it gave.
    pub figures: Figures,
}

impl ChatSample {
    /// What others used of the machine meanwhile, if that is told, in percent.
    pub fn others_percent(&self) -> Option<f64> {
        self.figures.talk()?.others_percent
    }
}

/// The samples of each place, in the order in which places came first.
fn places(samples: &[ChatSample]) -> Vec<(&str, What, Vec<&Figures>)> {
    let mut places: Vec<(&str, What, Vec<&Figures>)> = Vec::new();
    for sample in samples {
        let place = (sample.server.as_str(), sample.what);
        match places.iter_mut().find(|(server, what, _)| (*server, *what) == place) {
            Some((.., figures)) => figures.push(&sample.figures),
            None => places.push((place.0, place.1, vec![&sample.figures])),
        }
    }
    places
}

impl Conversation {
    /// Of these samples, in the order in which servers and points came first.
    pub fn all(samples: &[ChatSample]) -> Vec<Self> {
        let of_place = |(server, what, figures): (&str, What, Vec<&Figures>)| {
            let What::Talk(point) = what else { return None };
            let talks: Vec<&Talk> = figures.into_iter().filter_map(Figures::talk).collect();
            Self::of(server, point, &talks)
        };
        places(samples).into_iter().filter_map(of_place).collect()
    }

    fn of(server: &str, point: Point, talks: &[&Talk]) -> Option<Self> {
        let each = |look: fn(&Talk) -> f64| -> Option<Summary> {
            Summary::of(&talks.iter().map(|talk| look(talk)).collect::<Vec<f64>>())
        };
        let latency = |at: usize| -> Option<f64> {
            let all: Vec<f64> = talks.iter().map(|talk| talk.latency_us[at] as f64).collect();
            Summary::of(&all).map(|summary| summary.median)
        };
        Some(Self {
            server: server.to_owned(),
            clients: point.clients,
            rate: point.rate,
            us_per_delivery: each(Talk::cost_us)?,
            deliveries_per_second: each(Talk::per_second)?,
            latency_us: [latency(0)?, latency(1)?, latency(2)?, latency(3)?],
            lost: talks.iter().map(|talk| talk.lost).sum(),
            disordered: talks.iter().map(|talk| talk.disordered).sum(),
            load_late_ms: talks.iter().map(|talk| talk.load_late_ms).fold(0.0, f64::max),
        })
    }
}

impl AtRest {
    /// Of these samples, in the order in which servers came first.
    pub fn all(samples: &[ChatSample]) -> Vec<Self> {
        let of_place = |(server, what, figures): (&str, What, Vec<&Figures>)| {
            if what != What::Rest {
                return None;
            }
            let rests: Vec<&Rest> = figures.into_iter().filter_map(Figures::rest).collect();
            Self::of(server, &rests)
        };
        places(samples).into_iter().filter_map(of_place).collect()
    }

    fn of(server: &str, rests: &[&Rest]) -> Option<Self> {
        let each = |look: fn(&Rest) -> f64| -> Option<Summary> {
            Summary::of(&rests.iter().map(|rest| look(rest)).collect::<Vec<f64>>())
        };
        let told =
            |look: fn(&Rest) -> Option<f64>| Summary::of_all(rests.iter().map(|rest| look(rest)));
        Some(Self {
            server: server.to_owned(),
            joins_per_second: each(|rest| rest.joins_per_second)?,
            memory_per_client_kib: told(|rest| rest.memory_per_client_kib),
            memory_alone_kib: told(|rest| rest.memory_alone_kib),
            idle_ms_per_second: each(|rest| rest.idle_ms_per_second)?,
        })
    }
}
