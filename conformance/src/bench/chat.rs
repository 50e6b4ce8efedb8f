//! What a server costs and how fast it is: messages, latency, connections, memory, idling.
//!
//! Not a test: the figures depend on the machine. Compare two servers, or two versions of one, in
//! runs side by side on one machine, and read ratios. The processor times are the scheduler's own
//! ([`platform::processor_time`]), which count short wake-ups too.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::harness::{Check, Crowd, Options, Server, line_of};
use crate::platform;
use crate::stop::{Step, Stop};

/// What is to be measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measures {
    /// Numbers of clients.
    pub clients: Vec<usize>,
    /// How long each measurement takes.
    pub time: Duration,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// One entry for each number of clients.
    pub crowds: Vec<CrowdFigures>,
    /// Clients let in per second, one after the other: connected, key checked, first byte back.
    pub joins_per_second: f64,
    /// Memory of all processes of 64 clients, per client, in KiB (proportional share, PSS).
    pub memory_per_client_kib: f64,
    /// Memory of the daemon alone in KiB (PSS).
    pub daemon_memory_kib: f64,
    /// Processor time of a server with 64 idle clients, in milliseconds per second.
    pub idle_ms_per_second: f64,
}

/// The figures of one number of clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrowdFigures {
    /// How many clients.
    pub clients: usize,
    /// Deliveries per second: lines times clients that heard them, one client speaking as fast as
    /// all can hear.
    pub delivered_per_second: f64,
    /// Deliveries per second of the server's processor time.
    pub delivered_per_cpu_second: f64,
    /// Median time from saying a line to a client's hearing it, in µs, 100 lines a second.
    pub latency_p50_us: f64,
    /// The 99th percentile of the same.
    pub latency_p99_us: f64,
}

/// Measures everything, one after the other.
pub fn measure(check: &mut Check, measures: &Measures) -> Step<Figures> {
    let mut crowds = Vec::new();
    for &clients in &measures.clients {
        let server = check.server()?;
        let mut crowd = server.crowd(clients)?;
        let (delivered_per_second, delivered_per_cpu_second) =
            throughput(&server, &mut crowd, measures.time)?;
        let mut latencies = latency(check, &mut crowd, measures.time)?;
        latencies.sort();
        let percentile = |share: f64| {
            let at = ((latencies.len() - 1) as f64 * share) as usize;
            latencies[at].as_secs_f64() * 1e6
        };
        crowds.push(CrowdFigures {
            clients,
            delivered_per_second,
            delivered_per_cpu_second,
            latency_p50_us: percentile(0.5),
            latency_p99_us: percentile(0.99),
        });
        drop(crowd);
        server.end()?;
    }
    let (daemon_memory_kib, memory_per_client_kib, idle_ms_per_second) =
        idle(check, measures.time)?;
    Ok(Figures {
        crowds,
        joins_per_second: joins(check, measures.time)?,
        memory_per_client_kib,
        daemon_memory_kib,
        idle_ms_per_second,
    })
}

/// One client speaks; no more than a few lines are under way to the slowest listener, so that no
/// queue is measured.
fn throughput(server: &Server, crowd: &mut Crowd, time: Duration) -> Step<(f64, f64)> {
    const UNDER_WAY: usize = 32;
    let line = line_of(&"x".repeat(63));
    let start: Vec<usize> = crowd.clients.iter().map(|client| client.received()).collect();
    let used_before = server.processor_time()?;
    let begin = Instant::now();
    let mut said = 0;
    while begin.elapsed() < time {
        for _ in 0..UNDER_WAY / 2 {
            crowd.clients[0].queue(&line);
            said += 1;
        }
        let heard_at_least = (said - UNDER_WAY / 2) * line.len();
        crowd.wait_all(check_patience(time), |index, client| {
            client.received() - start[index] >= heard_at_least
        })?;
    }
    crowd.wait_all(check_patience(time), |index, client| {
        client.received() - start[index] >= said * line.len()
    })?;
    let took = begin.elapsed();
    let used = server.processor_time()? - used_before;
    crowd.forget();
    let delivered = (said * crowd.clients.len()) as f64;
    Ok((delivered / took.as_secs_f64(), delivered / used.as_secs_f64()))
}

fn check_patience(time: Duration) -> Duration {
    time + Duration::from_secs(30)
}

/// A line every 10 ms; how long until each client has heard it.
fn latency(check: &Check, crowd: &mut Crowd, time: Duration) -> Step<Vec<Duration>> {
    let mut latencies = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < time {
        let before: Vec<usize> = crowd.clients.iter().map(|client| client.received()).collect();
        let line = line_of("how long does this take");
        let said = Instant::now();
        crowd.clients[0].queue(&line);
        let mut heard = vec![None; crowd.clients.len()];
        crowd.wait_all(check_patience(time), |index, client| {
            if heard[index].is_none() && client.received() - before[index] >= line.len() {
                heard[index] = Some(said.elapsed());
            }
            heard[index].is_some()
        })?;
        latencies.extend(heard.into_iter().flatten());
        crowd.forget();
        let next = Duration::from_millis(10).saturating_sub(said.elapsed());
        check.let_pass(next);
    }
    Ok(latencies)
}

/// Clients that come, one after the other, get the log's last line, and go.
fn joins(check: &mut Check, time: Duration) -> Step<f64> {
    let log = check.dir().join("joins.log");
    std::fs::write(&log, "welcome\n").map_err(|error| Stop::Error(error.to_string()))?;
    let server = check.server_with(Options::new().log(log))?;
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < time {
        server.enter("client")?.hears("welcome")?;
        count += 1;
    }
    let rate = f64::from(count) / begin.elapsed().as_secs_f64();
    server.end()?;
    Ok(rate)
}

/// Memory of the daemon alone and per client in KiB, and processor time while nobody speaks.
fn idle(check: &mut Check, time: Duration) -> Step<(f64, f64, f64)> {
    const CLIENTS: usize = 64;
    let server = check.server()?;
    let memory = |server: &Server| -> Step<f64> {
        let mut total = 0;
        for process in server.processes()? {
            total += platform::private_memory(process.pid).map_err(Stop::NotRun)?;
        }
        Ok(total as f64 / 1024.0)
    };
    let alone = memory(&server)?;
    let crowd = server.crowd(CLIENTS)?;
    let together = memory(&server)?;
    let before = server.processor_time()?;
    let begin = Instant::now();
    check.let_pass(time);
    let used = (server.processor_time()? - before).as_secs_f64() * 1e3;
    let idle = used / begin.elapsed().as_secs_f64();
    drop(crowd);
    server.end()?;
    Ok((alone, (together - alone) / CLIENTS as f64, idle))
}
