//! What all rounds say together.

use std::time::Duration;

use forkproof_report::Facts;
use serde::Serialize;

use super::figures::{Figures, Point, Rest, Talk, What};
use crate::bench::statistics::Summary;

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Chat {
    /// The system.
    pub platform: Facts,
    /// How long each measurement took, in s.
    pub seconds: f64,
    /// How often each was made.
    pub rounds: usize,
    /// Conversations: each point, and at it each server.
    pub conversations: Vec<Conversation>,
    /// What each server takes while nobody speaks.
    pub at_rest: Vec<AtRest>,
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
    pub memory_per_client_kib: Summary,
    /// See [`Rest::memory_alone_kib`].
    pub memory_alone_kib: Summary,
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

impl Chat {
    /// Of these samples, in the order in which servers and points came first.
    pub fn of(platform: Facts, time: Duration, rounds: usize, samples: &[ChatSample]) -> Self {
        let mut chat = Self {
            platform,
            seconds: time.as_secs_f64(),
            rounds,
            conversations: Vec::new(),
            at_rest: Vec::new(),
        };
        let mut done: Vec<(&str, What)> = Vec::new();
        for sample in samples {
            let place = (sample.server.as_str(), sample.what);
            if done.contains(&place) {
                continue;
            }
            done.push(place);
            let same = samples.iter().filter(|other| (other.server.as_str(), other.what) == place);
            let figures = same.map(|sample| &sample.figures);
            match sample.what {
                What::Talk(point) => {
                    let talks: Vec<&Talk> = figures.filter_map(Figures::talk).collect();
                    chat.conversations.extend(Conversation::of(&sample.server, point, &talks));
                }
                What::Rest => {
                    let rests: Vec<&Rest> = figures.filter_map(Figures::rest).collect();
                    chat.at_rest.extend(AtRest::of(&sample.server, &rests));
                }
            }
        }
        chat
    }
}

impl Conversation {
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
    fn of(server: &str, rests: &[&Rest]) -> Option<Self> {
        let each = |look: fn(&Rest) -> f64| -> Option<Summary> {
            Summary::of(&rests.iter().map(|rest| look(rest)).collect::<Vec<f64>>())
        };
        Some(Self {
            server: server.to_owned(),
            joins_per_second: each(|rest| rest.joins_per_second)?,
            memory_per_client_kib: each(|rest| rest.memory_per_client_kib)?,
            memory_alone_kib: each(|rest| rest.memory_alone_kib)?,
            idle_ms_per_second: each(|rest| rest.idle_ms_per_second)?,
        })
    }
}
