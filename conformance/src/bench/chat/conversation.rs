//! One measurement of a chat.

use std::time::{Duration, Instant};

use super::figures::{Figures, Measures, Point, Rest, Talk, What};
use super::talkers::{Dialect, Talkers};
use crate::bench::meanwhile::Meanwhile;
use crate::harness::{Check, Server};
use crate::platform;
use crate::stop::{Step, Stop};
use crate::subject::{Claim, Ending};

/// How long a server may take for what is asked of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing comes after which nothing more will.
const SILENCE: Duration = Duration::from_secs(2);

/// Does one measurement.
pub fn measure(check: &mut Check, measures: &Measures) -> Step<Figures> {
    let wire = &check.target().manifest.wire;
    if !measures.irc && !check.has(Claim::Broadcast) {
        return Err(Stop::Error(format!(
            "the target {} is no chat, in which all hear what one says",
            check.target().name
        )));
    }
    if wire.ending_in == Ending::Nul || wire.ending_out == Ending::Nul {
        return Err(Stop::Error("a wire whose lines end in NUL cannot be measured".into()));
    }
    let dialect = match measures.irc {
        true => Dialect::Irc,
        false => Dialect::Lines { comes_back: wire.comes_back() },
    };
    let server = check.server()?;
    let patience = check.scaled(PATIENCE);
    let talkers = || Talkers::new(dialect, server.key());
    let figures = match measures.what {
        What::Talk(point) => talkers()
            .and_then(|talkers| talk(check, &server, talkers, point, measures.time))
            .map(Figures::Talk),
        What::Rest => rest(&server, talkers, measures.time, patience).map(Figures::Rest),
    };
    let figures = figures.map_err(Stop::Error)?;
    server.end()?;
    Ok(figures)
}

fn used(server: &Server) -> Result<Duration, String> {
    server.processor_time().map_err(words)
}

fn words(stop: Stop) -> String {
    match stop {
        Stop::Error(why) | Stop::NotRun(why) | Stop::Unsupported(why) => why,
        Stop::Fail(failure) | Stop::Blocked(failure) => {
            format!("{}: {}", failure.expected, failure.actual)
        }
    }
}

fn talk(
    check: &Check,
    server: &Server,
    mut talkers: Talkers,
    point: Point,
    time: Duration,
) -> Result<Talk, String> {
    let patience = check.scaled(PATIENCE);
    while talkers.len() < point.clients {
        talkers.enter(server.address(), patience)?;
    }
    let (before, meanwhile) = (used(server)?, Meanwhile::begin());
    talkers.begin(patience)?;
    let late = match point.rate {
        Some(rate) => talk_steadily(&mut talkers, rate, time)?,
        None => talk_at_will(&mut talkers, time).map(|()| Duration::ZERO)?,
    };
    let silence = check.scaled(SILENCE);
    let end = talkers.elapsed();
    while talkers.heard.deliveries < talkers.due() {
        let since = talkers.elapsed().saturating_sub(talkers.heard.last.max(end));
        if since >= silence {
            break;
        }
        talkers.exchange(silence - since)?;
    }
    let processor = used(server)?.saturating_sub(before);
    let others_percent = meanwhile.end().others_percent(processor);
    let heard = &talkers.heard;
    Ok(Talk {
        deliveries: heard.deliveries,
        lost: talkers.due().saturating_sub(heard.deliveries),
        disordered: heard.disordered,
        seconds: heard.last.as_secs_f64(),
        processor_ms: processor.as_secs_f64() * 1e3,
        latency_us: [0.5, 0.99, 0.999, 1.0].map(|share| heard.latency.value_at_quantile(share)),
        load_late_ms: late.as_secs_f64() * 1e3,
        others_percent,
    })
}

/// Each in its turn, at times that do not move when a message is late. Returns how late one was at most.
fn talk_steadily(talkers: &mut Talkers, rate: f64, time: Duration) -> Result<Duration, String> {
    let step = 1.0 / (rate * talkers.len() as f64);
    let mut late = Duration::ZERO;
    for number in 0.. {
        let due = Duration::from_secs_f64(step * f64::from(number));
        if due >= time {
            break;
        }
        loop {
            let left = due.saturating_sub(talkers.elapsed());
            talkers.exchange(left)?;
            if left.is_zero() {
                break;
            }
        }
        late = late.max(talkers.elapsed().saturating_sub(due));
        talkers.say(number as usize % talkers.len(), due);
    }
    Ok(late)
}

/// As much as all can hear: a few messages are under way to each, so that no queue is measured.
fn talk_at_will(talkers: &mut Talkers, time: Duration) -> Result<(), String> {
    const AT_ONCE: u64 = 16;
    let mut said = 0;
    while talkers.elapsed() < time {
        if talkers.due() - talkers.heard.deliveries <= AT_ONCE * talkers.hearers() {
            for _ in 0..AT_ONCE {
                talkers.say(said % talkers.len(), talkers.elapsed());
                said += 1;
            }
        }
        talkers.exchange(time.saturating_sub(talkers.elapsed()))?;
    }
    Ok(())
}

fn rest(
    server: &Server,
    talkers: impl Fn() -> Result<Talkers, String>,
    time: Duration,
    patience: Duration,
) -> Result<Rest, String> {
    const CLIENTS: usize = 64;
    let living = || server.living().map_err(words);
    let memory = || -> Result<Option<f64>, String> {
        let processes = server.processes().map_err(words)?;
        let bytes: Option<u64> = processes
            .iter()
            .filter(|process| process.state != platform::State::Zombie)
            .map(|process| platform::private_memory(process.pid).ok())
            .sum();
        Ok(bytes.map(|bytes| bytes as f64 / 1024.0))
    };
    let at = server.address();
    let without = living()?;
    // What the first client makes a server do is done once.
    talkers()?.enter(at, patience)?;
    let begin = Instant::now();
    while living()? > without && begin.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    let alone = memory()?;
    let mut crowd = talkers()?;
    while crowd.len() < CLIENTS {
        crowd.enter(at, patience)?;
    }
    crowd.begin(patience)?;
    let memory_per_client_kib =
        memory()?.zip(alone).map(|(all, alone)| (all - alone) / CLIENTS as f64);
    let (before, begin) = (used(server)?, Instant::now());
    while begin.elapsed() < time {
        crowd.exchange(time.saturating_sub(begin.elapsed()))?;
    }
    let idle = used(server)?.saturating_sub(before).as_secs_f64() * 1e3;
    let idle_ms_per_second = idle / begin.elapsed().as_secs_f64();
    drop(crowd);
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < time {
        talkers()?.enter(at, patience)?;
        count += 1;
    }
    Ok(Rest {
        joins_per_second: f64::from(count) / begin.elapsed().as_secs_f64(),
        memory_per_client_kib,
        memory_alone_kib: alone,
        idle_ms_per_second,
    })
}
