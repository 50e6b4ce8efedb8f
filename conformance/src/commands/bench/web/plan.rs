//! What is to be measured.

use std::collections::BTreeMap;

use super::arguments::{Arguments, KeepAlive};
use crate::bench::{Disturbance, KNOWN_SERVERS, ServerFacts, WebLoad};
use crate::commands::outcome::CommandError;
use crate::harness::surroundings_missing;
use crate::stop::Stop;
use crate::subject::{Kind, Target};

/// A server with a number of workers.
pub(super) struct Place {
    /// Its name.
    pub(super) server: String,
    /// What it was told; none of one by a manifest.
    pub(super) workers: Option<usize>,
    pub(super) target: Target,
}

impl Place {
    pub(super) fn words(&self) -> String {
        match self.workers {
            Some(1) => format!("{}, 1 worker", self.server),
            Some(workers) => format!("{}, {workers} workers", self.server),
            None => self.server.clone(),
        }
    }
}

/// All that is to be measured.
pub(super) struct Plan {
    pub(super) places: Vec<Place>,
    pub(super) loads: Vec<WebLoad>,
    /// What is done to the servers instead of comparing figures, and how often.
    pub(super) disturbances: Vec<(Disturbance, usize)>,
    pub(super) rounds: usize,
    pub(super) servers: Vec<ServerFacts>,
    pub(super) missing: BTreeMap<String, String>,
}

/// Workers, and bytes of a file, at most.
const MOST_WORKERS: usize = 256;
const LARGEST: usize = 1 << 30;
/// A file of more bytes is a large one.
const LARGE: usize = 1_000_000;
/// What the open load asks for at most, in bytes a second.
const MOST_PACED: f64 = 200e6;

/// How long an open load lasts, in s: to be compared, and to be disturbed.
const USUAL: u16 = 2;
const DISTURBED: u16 = 60;

const COMPLETE_WORKERS: [usize; 3] = [2, 10, 100];
const COMPLETE_SIZES: [usize; 3] = [1000, 143_000, 10_000_000];

impl Plan {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, CommandError> {
        let usage = |why: String| CommandError::usage(why);
        let or = |given: &[usize], complete: &[usize], usual: &[usize]| {
            let mut values = match (given, arguments.complete) {
                ([], true) => complete.to_vec(),
                ([], false) => usual.to_vec(),
                (given, _) => given.to_vec(),
            };
            values.sort_unstable();
            values.dedup();
            values
        };
        let workers = or(&arguments.workers, &COMPLETE_WORKERS, &[2, 10]);
        let sizes = or(&arguments.sizes, &COMPLETE_SIZES, &[1000]);
        if workers.iter().any(|count| !(1..=MOST_WORKERS).contains(count)) {
            return Err(usage(format!("--workers: each number must be from 1 to {MOST_WORKERS}")));
        }
        if sizes.iter().any(|bytes| !(1..=LARGEST).contains(bytes)) {
            return Err(usage(format!("--sizes: each number must be from 1 to {LARGEST}")));
        }
        let usual = if arguments.disturb.is_empty() { USUAL } else { DISTURBED };
        let seconds = f64::from(arguments.seconds.unwrap_or(usual));
        let mut plan = Self {
            places: Vec::new(),
            loads: loads(arguments, &sizes, seconds),
            disturbances: arguments.disturb.iter().map(|one| one.plan(seconds)).collect(),
            rounds: arguments.rounds.into(),
            servers: Vec::new(),
            missing: BTreeMap::new(),
        };
        if plan.loads.iter().any(|load| load.requests == 0 && load.per_second.is_none()) {
            return Err(usage("there is no load: --requests or --seconds".into()));
        }
        if !arguments.disturb.is_empty() && seconds == 0.0 {
            return Err(usage("--disturb takes an open load: --seconds".into()));
        }
        plan.add_known(&arguments.servers, &workers)?;
        for path in &arguments.targets {
            let shown = path.display();
            plan.add_target(path).map_err(|why| usage(format!("--target {shown}: {why}")))?;
        }
        if plan.places.is_empty() {
            return Err(usage("there is nothing to measure: --servers or --target".into()));
        }
        Ok(plan)
    }

    fn add_known(&mut self, names: &[String], workers: &[usize]) -> Result<(), CommandError> {
        let known: Vec<&str> = KNOWN_SERVERS.iter().map(|server| server.name).collect();
        if let Some(wrong) =
            names.iter().find(|name| *name != "none" && !known.contains(&name.as_str()))
        {
            let why = settings::unknown("server", wrong, &known);
            return Err(CommandError::usage(format!("--servers: {why}")));
        }
        let mut found = Vec::new();
        for server in &KNOWN_SERVERS {
            if !names.is_empty() && !names.iter().any(|wanted| wanted == server.name) {
                continue;
            }
            match server.find() {
                Ok(place) => found.push((server, place)),
                Err(why) => {
                    self.missing.insert(server.name.to_owned(), why);
                }
            }
        }
        for &count in workers {
            for (server, place) in &found {
                let target = server
                    .target(place, count)
                    .map_err(|why| CommandError::no_verdict(format!("{}: {why}", server.name)))?;
                let server = server.name.to_owned();
                self.places.push(Place { server, workers: Some(count), target });
            }
        }
        self.servers.extend(found.into_iter().map(|(server, place)| ServerFacts {
            name: server.name.to_owned(),
            about: server.about.to_owned(),
            version: place.version,
            by_manifest: false,
        }));
        Ok(())
    }

    fn add_target(&mut self, path: &std::path::Path) -> Result<(), String> {
        let target = Target::named(path.as_os_str(), None)?;
        if target.manifest.wire.kind != Kind::Http {
            return Err(format!(
                "the target {} does not speak HTTP: its wire.kind has to be \"http\"",
                target.name
            ));
        }
        let is_known = KNOWN_SERVERS.iter().any(|server| server.name == target.name);
        if is_known || self.servers.iter().any(|server| server.name == target.name) {
            return Err(format!("something else is called {}", target.name));
        }
        if let Some(Stop::NotRun(why) | Stop::Unsupported(why)) = surroundings_missing(&target) {
            return Err(why);
        }
        self.servers.push(ServerFacts {
            name: target.name.clone(),
            about: target.manifest.description.clone().unwrap_or_default(),
            version: String::new(),
            by_manifest: true,
        });
        self.places.push(Place { server: target.name.clone(), workers: None, target });
        Ok(())
    }
}

/// Each size with each way to treat connections.
fn loads(arguments: &Arguments, sizes: &[usize], seconds: f64) -> Vec<WebLoad> {
    let ways: &[bool] = match arguments.keep_alive {
        KeepAlive::On => &[true],
        KeepAlive::Off => &[false],
        KeepAlive::Both => &[true, false],
    };
    let load = |bytes: usize, keep_alive: bool| {
        let requests = if bytes > LARGE { arguments.large_requests } else { arguments.requests };
        let per_second = f64::from(arguments.rate).min((MOST_PACED / bytes as f64).max(1.0));
        let is_paced = seconds > 0.0;
        WebLoad {
            bytes,
            keep_alive,
            at_once: arguments.concurrency.into(),
            requests: requests.into(),
            per_second: is_paced.then_some(per_second),
            paced_seconds: is_paced.then_some(seconds),
        }
    };
    sizes.iter().flat_map(|&bytes| ways.iter().map(move |&way| load(bytes, way))).collect()
}
