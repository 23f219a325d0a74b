//! What one connection that floods does to the round trips of the others.

use std::cell::Cell;
use std::time::Duration;

use crate::fleet::{Fleet, Kind, Work};
use crate::report::{figures, percentile, print_waiting, rows};
use crate::server::{Target, Times};
use crate::table::Effort;

/// The others: one message each at a time.
const WORK: Work = Work { connections: 17, depth: 1, size: 32, kind: Kind::Text, fan_out: false };
/// Messages that the flooding one has under way. It writes them as fast as the server takes them,
/// and the next as soon as the last of them is back.
const FLOOD: usize = 4096;
const PERCENTS: [f64; 3] = [50.0, 99.0, 99.9];

/// Prints a table; an error if a server failed.
pub fn run(targets: &[Target], effort: Effort) -> Result<(), String> {
    let heads = ["alone", "beside a flood", "times"];
    let title = "round trips of 16 others, median / 99 % / 99.9 %, µs";
    let (ran, waited) = (Cell::new(0), Cell::new(0));
    let done = rows(title, &heads, targets, |target| {
        let (alone, first) = latencies(target, effort, WORK.depth)?;
        let (beside, second) = latencies(target, effort, FLOOD)?;
        ran.set(ran.get() + first.cpu + second.cpu);
        waited.set(waited.get() + first.waited + second.waited);
        let times = [0, 1, 2].map(|place| beside[place] / alone[place]);
        Ok([alone, beside, times].map(|row| row.map(figures).join(" / ")).to_vec())
    });
    print_waiting(ran.get(), waited.get());
    done
}

fn latencies(target: &Target, effort: Effort, flood: usize) -> Result<([f64; 3], Times), String> {
    let server = target.start()?;
    let mut fleet = Fleet::open_flooded(&server, WORK, flood)?;
    fleet.run(&server, effort.each / 2)?;
    let time = effort.each * effort.rounds.min(u32::MAX as usize) as u32;
    let sample = fleet.run(&server, time.max(Duration::from_millis(1)))?;
    let mut all = sample.latencies;
    drop(fleet);
    server.stop()?;
    all.sort_unstable();
    Ok((PERCENTS.map(|percent| f64::from(percentile(&all, percent)) / 1e3), sample.server))
}
