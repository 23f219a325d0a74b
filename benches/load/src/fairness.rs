//! What one connection that floods does to the round trips of the others.

use std::time::Duration;

use crate::fleet::{Fleet, Kind, Work};
use crate::report::{figures, percentile};
use crate::server::Target;
use crate::table::Effort;

/// The others: one message each at a time.
const WORK: Work = Work { connections: 17, depth: 1, size: 32, kind: Kind::Text, fan_out: false };
/// Messages that the flooding one has under way. It writes them as fast as the server takes them,
/// and the next as soon as the last of them is back.
const FLOOD: usize = 4096;
const PERCENTS: [f64; 3] = [50.0, 99.0, 99.9];

/// Prints a table; an error if a server failed.
pub fn run(targets: &[Target], effort: Effort) -> Result<(), String> {
    println!(
        "| round trips of 16 others, median / 99 % / 99.9 %, µs | alone | beside a flood | times |"
    );
    println!("|---|--:|--:|--:|");
    for target in targets {
        let alone = latencies(target, effort, WORK.depth)?;
        let beside = latencies(target, effort, FLOOD)?;
        let times = [0, 1, 2].map(|place| beside[place] / alone[place]);
        let [alone, beside, times] = [alone, beside, times].map(|row| row.map(figures).join(" / "));
        println!("| {} | {alone} | {beside} | {times} |", target.name);
    }
    Ok(())
}

fn latencies(target: &Target, effort: Effort, flood: usize) -> Result<[f64; 3], String> {
    let server = target.start()?;
    let mut fleet = Fleet::open_flooded(&server, WORK, flood)?;
    fleet.run(&server, effort.each / 2)?;
    let time = effort.each * effort.rounds.min(u32::MAX as usize) as u32;
    let mut all = fleet.run(&server, time.max(Duration::from_millis(1)))?.latencies;
    drop(fleet);
    server.stop()?;
    all.sort_unstable();
    Ok(PERCENTS.map(|percent| f64::from(percentile(&all, percent)) / 1e3))
}
