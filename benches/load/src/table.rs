//! The table: every workload on every server, in turns, so that a busy minute of the machine falls
//! on all of them.

use std::time::Duration;

use crate::fleet::{Fleet, Kind, Sample, Work};
use crate::report::{Cell, Noise, Table, lower_quartile, percentile};
use crate::server::{Server, Target};

pub const WORKLOADS: &[(&str, Work)] = &[
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

/// Runs the workloads whose names have one of `only` in them; all, if that is empty.
pub fn run(targets: &[Target], effort: Effort, only: &[String]) -> Table {
    let mut table = Table::new("processor µs per message", targets);
    for (name, work) in WORKLOADS {
        if only.is_empty() || only.iter().any(|part| name.contains(part.as_str())) {
            eprintln!("{name}");
            column(&mut table, name, *work, targets, effort);
        }
    }
    table
}

fn column(table: &mut Table, name: &str, work: Work, targets: &[Target], effort: Effort) {
    let mut runs: Vec<Result<(Server, Fleet), String>> = Vec::new();
    for target in targets {
        runs.push(target.start().and_then(|server| {
            let mut fleet = Fleet::open(&server, work)?;
            fleet.run(&server, effort.each / 2)?;
            Ok((server, fleet))
        }));
    }
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); runs.len()];
    for round in 0..effort.rounds {
        for turn in 0..runs.len() {
            let place = (round + turn) % runs.len();
            let Ok((server, fleet)) = &mut runs[place] else { continue };
            match fleet.run(server, effort.each) {
                Ok(sample) => samples[place].push(sample),
                Err(error) => runs[place] = Err(error),
            }
        }
    }
    let cells = runs.iter().zip(&samples).map(|(run, samples)| match run {
        Ok(_) => summary(samples),
        Err(error) => Cell::Failed(error.clone()),
    });
    table.add(name, cells.collect(), Noise::of(&samples));
}

fn summary(samples: &[Sample]) -> Cell {
    let costs = samples.iter().map(Sample::cost);
    let mut latencies: Vec<u32> = samples.iter().flat_map(|s| &s.latencies).copied().collect();
    latencies.sort_unstable();
    Cell::Cost {
        value: lower_quartile(costs.collect()),
        median: f64::from(percentile(&latencies, 50.0)) / 1e3,
        p99: f64::from(percentile(&latencies, 99.0)) / 1e3,
    }
}
