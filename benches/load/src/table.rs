//! The table: every workload on every server, in turns, so that a busy minute of the machine falls
//! on all of them.

use std::time::Duration;

use crate::connect;
use crate::fleet::{Fleet, Kind, Sample, Work};
use crate::report::{Cell, Noise, Table, lower_quartile, percentile, upper_quartile};
use crate::server::{Server, Target};

type Workloads = [(&'static str, Work)];

const WORKLOADS: &Workloads = &[
    ("1 × 1, 32 B", echo(1, 1, 32, Kind::Text)),
    ("64 × 1, 32 B", echo(64, 1, 32, Kind::Text)),
    ("64 × 16, 32 B", echo(64, 16, 32, Kind::Text)),
    ("16 × 1, 16 KiB text", echo(16, 1, 16 << 10, Kind::Text)),
    ("16 × 1, 16 KiB mixed text", echo(16, 1, 16 << 10, Kind::Mixed)),
    ("4 × 1, 1 MiB binary", echo(4, 1, 1 << 20, Kind::Binary)),
    ("1,000 × 1, 128 B", echo(1_000, 1, 128, Kind::Text)),
    ("fan-out to 500, 1 in flight", fan_out(500, 1)),
    ("fan-out to 500, 16 in flight", fan_out(500, 16)),
];
const CONNECT: &str = "connect, handshake, close";

/// The more are open, the more each turn of the server has to do at once.
const CONNECTIONS: &Workloads = &[
    ("1 open", echo(1, 1, 32, Kind::Text)),
    ("10 open", echo(10, 1, 32, Kind::Text)),
    ("100 open", echo(100, 1, 32, Kind::Text)),
    ("1,000 open", echo(1_000, 1, 32, Kind::Text)),
    ("10,000 open", echo(10_000, 1, 32, Kind::Text)),
];
const SIZES: &Workloads = &[
    ("1 KiB", echo(1, 1, 1 << 10, Kind::Binary)),
    ("16 KiB", echo(1, 1, 16 << 10, Kind::Binary)),
    ("256 KiB", echo(1, 1, 256 << 10, Kind::Binary)),
    ("1 MiB", echo(1, 1, 1 << 20, Kind::Binary)),
    ("4 MiB", echo(1, 1, 4 << 20, Kind::Binary)),
    ("16 MiB", echo(1, 1, 16 << 20, Kind::Binary)),
];
/// Through a program that gives back each line.
const LINES: &Workloads = &[
    ("1 × 1, 64 B", echo(1, 1, 64, Kind::Text)),
    ("1 × 64, 64 B", echo(1, 64, 64, Kind::Text)),
    ("50 × 1, 64 B", echo(50, 1, 64, Kind::Text)),
    ("50 × 16, 64 B", echo(50, 16, 64, Kind::Text)),
];
/// Through TCP, to an echo.
const TUNNEL: &Workloads = &[
    ("1 × 1, 64 B", echo(1, 1, 64, Kind::Stream)),
    ("20 × 1, 64 B", echo(20, 1, 64, Kind::Stream)),
];
const BULK: &Workloads = &[("1 × 64, 64 KiB", echo(1, 64, 64 << 10, Kind::Stream))];
/// All servers have this many open at the same time; with more, each has its turn alone.
const TOGETHER: usize = 1_000;

const fn echo(connections: usize, depth: usize, size: usize, kind: Kind) -> Work {
    Work { connections, depth, size, kind, fan_out: false }
}

const fn fan_out(connections: usize, depth: usize) -> Work {
    Work { connections, depth, size: 128, kind: Kind::Text, fan_out: true }
}

/// How often, and how long each time.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    pub each: Duration,
}

/// What one server is measured with.
enum Load {
    Fleet(Box<Fleet>),
    /// Connections that come and go.
    Connect,
}

/// The workloads whose names have one of `only` in them; all, if that is empty.
pub fn run(targets: &[Target], effort: Effort, only: &[String]) -> Table {
    let mut table = Table::new("processor µs per message", targets);
    fill(&mut table, WORKLOADS, targets, effort, only);
    if is_wanted(CONNECT, only) {
        column(&mut table, CONNECT, None, targets, effort);
    }
    table
}

/// How the cost of a message grows with the connections.
pub fn connections(targets: &[Target], effort: Effort, only: &[String]) -> Table {
    let mut table = Table::new("processor µs per message", targets);
    fill(&mut table, CONNECTIONS, targets, effort, only);
    table
}

/// How the cost of a byte grows with the message.
pub fn sizes(targets: &[Target], effort: Effort, only: &[String]) -> Table {
    let mut table = Table::new("processor µs per KiB", targets);
    table.per_bytes = Some(1 << 10);
    fill(&mut table, SIZES, targets, effort, only);
    table
}

/// Lines through a program.
pub fn lines(targets: &[Target], effort: Effort, only: &[String]) -> Table {
    let mut table = Table::new("processor µs per line", targets);
    (table.rates, table.has_company) = (Some("lines/s"), true);
    fill(&mut table, LINES, targets, effort, only);
    table
}

/// Messages there and back through a tunnel.
pub fn tunnel(targets: &[Target], effort: Effort, only: &[String]) -> Table {
    let mut table = Table::new("processor µs per message", targets);
    (table.rates, table.has_company) = (Some("messages/s"), true);
    fill(&mut table, TUNNEL, targets, effort, only);
    table
}

/// As many bytes as a tunnel takes.
pub fn bulk(targets: &[Target], effort: Effort, only: &[String]) -> Table {
    let mut table = Table::new("processor µs per MiB there and back", targets);
    table.per_bytes = Some(1 << 20);
    table.rates = Some("MiB/s there and back");
    fill(&mut table, BULK, targets, effort, only);
    table
}

/// Whether a workload has one of these in its name; all have, if there are none.
fn is_wanted(name: &str, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|part| name.contains(part.as_str()))
}

fn fill(
    table: &mut Table,
    workloads: &Workloads,
    targets: &[Target],
    effort: Effort,
    only: &[String],
) {
    for (name, work) in workloads {
        if is_wanted(name, only) {
            column(table, name, Some(*work), targets, effort);
        }
    }
}

fn column(table: &mut Table, name: &str, work: Option<Work>, targets: &[Target], effort: Effort) {
    eprintln!("{name}");
    let most = if work.is_some_and(|work| work.connections > TOGETHER) { 1 } else { targets.len() };
    let mut samples = Vec::new();
    for group in targets.chunks(most.max(1)) {
        samples.extend(interleaved(group, work, effort));
    }
    let scale =
        work.zip(table.per_bytes).map_or(1.0, |(work, unit)| work.size as f64 / unit as f64);
    let cells = samples.iter().map(|samples| match samples {
        Ok(samples) => summary(samples, scale),
        Err(error) => Cell::Failed(error.clone()),
    });
    let cells = cells.collect();
    let samples: Vec<_> = samples.into_iter().map(Result::unwrap_or_default).collect();
    table.add(name, cells, Noise::of(&samples));
}

/// The samples of each server, taken in turns.
fn interleaved(
    targets: &[Target],
    work: Option<Work>,
    effort: Effort,
) -> Vec<Result<Vec<Sample>, String>> {
    let mut runs: Vec<Result<(Server, Load), String>> =
        targets.iter().map(|target| begin(target, work, effort)).collect();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); runs.len()];
    for round in 0..effort.rounds {
        for turn in 0..runs.len() {
            let place = (round + turn) % runs.len();
            let Ok((server, load)) = &mut runs[place] else { continue };
            match load.run(server, effort.each) {
                Ok(sample) => samples[place].push(sample),
                Err(error) => runs[place] = Err(error),
            }
        }
    }
    runs.into_iter().zip(samples).map(|(run, samples)| run.map(|_| samples)).collect()
}

/// Starts a server, and runs once so that everything is warm.
fn begin(target: &Target, work: Option<Work>, effort: Effort) -> Result<(Server, Load), String> {
    let server = target.start()?;
    let mut load = match work {
        Some(work) => Load::Fleet(Box::new(Fleet::open(&server, work)?)),
        None => Load::Connect,
    };
    load.run(&server, effort.each / 2)?;
    Ok((server, load))
}

impl Load {
    fn run(&mut self, server: &Server, time: Duration) -> Result<Sample, String> {
        match self {
            Load::Fleet(fleet) => fleet.run(server, time),
            Load::Connect => connect::run(server, time),
        }
    }
}

fn summary(samples: &[Sample], scale: f64) -> Cell {
    let costs = samples.iter().map(Sample::cost);
    let mut latencies: Vec<u32> = samples.iter().flat_map(|s| &s.latencies).copied().collect();
    latencies.sort_unstable();
    let rates = samples.iter().map(Sample::rate);
    Cell::Cost {
        value: lower_quartile(costs.collect()) / scale,
        median: f64::from(percentile(&latencies, 50.0)) / 1e3,
        p99: f64::from(percentile(&latencies, 99.0)) / 1e3,
        rate: upper_quartile(rates.collect()) * scale,
    }
}
