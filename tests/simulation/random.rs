//! Schedules by the thousand. A seed that fails is printed with the steps that are needed for it, and
//! is played again by `WSLOOP_SEED=1 cargo test --lib simulation -- --nocapture`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::play::play;
use super::schedule::Schedule;

/// What goes wrong in a schedule, if anything does.
fn failure(schedule: &Schedule, seed: u64) -> Option<String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| play(schedule, seed)));
    match outcome {
        Ok(outcome) => outcome.err(),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or(panic.downcast_ref::<&str>().map(|text| text.to_string()));
            Some(format!("panicked: {}", said.unwrap_or_default()))
        }
    }
}

/// Leaves out what is not needed for a schedule to fail: halves, quarters, and so on down to steps.
/// It has to fail in the same way, whatever the numbers are.
fn shrink(mut schedule: Schedule, seed: u64, wrong: &str) -> Schedule {
    let words = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    let same = |other: String| words(&other) == words(wrong);
    let mut size = schedule.steps.len() / 2;
    while size > 0 {
        let mut from = 0;
        let before = schedule.steps.len();
        while from < schedule.steps.len() {
            let mut shorter = schedule.clone();
            let end = (from + size).min(shorter.steps.len());
            shorter.steps.drain(from..end);
            if failure(&shorter, seed).is_some_and(same) {
                schedule = shorter;
            } else {
                from += size;
            }
        }
        // Single steps are tried again as long as any can be left out.
        if size > 1 || schedule.steps.len() == before {
            size /= 2;
        }
    }
    schedule
}

fn run(seed: u64) {
    let schedule = Schedule::of(seed);
    if let Some(failure) = failure(&schedule, seed) {
        println!("WSLOOP_SEED={seed}: {failure}");
        let short = shrink(schedule, seed, &failure);
        let failure = self::failure(&short, seed).unwrap_or(failure);
        panic!("WSLOOP_SEED={seed} fails. The steps that are needed:\n{short}{failure}");
    }
}

/// Seeds that failed once, or that fail if a mend is taken back.
const REGRESSIONS: &[u64] = &[
    // The loop spun beside a reader that had asked for more and took nothing.
    575,
    // Who was blocked before its response was queued was cut, since it had taken nothing of that.
    1_795_897_250_404_521_308,
    // What waits of a page counts as backlog.
    1_795_897_438_904_543_632,
    // A message that came in part was not whole in time.
    1_795_897_911_435_500_213,
    // A message that began with an empty fragment was not counted as it grew.
    1_795_898_254_308_212_655,
    // A part of a message was kept for a client of Hixie behind TLS's goodbye, where nothing is read.
    1_795_898_312_104_693_911,
    1_795_898_625_761_843_720,
    // Room that was made for more of a message was not counted when no more came.
    1_795_903_016_023_037_826,
    // The rest of a late message came while the connection closed for it.
    1_795_903_506_236_859_541,
    // Who was to be pinged and had no room for it was idle only once as much time had passed again.
    1_795_903_776_644_906_055,
    // A message was late, and its rest came just behind the last read.
    1_795_903_961_255_342_918,
    // Who was sent much between two turns is blocked from the next turn on.
    1_795_905_880_667_758_749,
    // A ping lay behind more than a turn writes, and its answer was missed in the next, long after.
    1_795_906_586_678_898_819,
];

#[test]
fn fixed_seeds() {
    if let Ok(seed) = std::env::var("WSLOOP_SEED") {
        return run(seed.parse().expect("a number"));
    }
    REGRESSIONS.iter().copied().chain(0..400).for_each(run);
}

#[test]
#[ignore = "takes two minutes, or WSLOOP_SIMULATE seconds: seeds that nobody has tried before"]
fn fresh_seeds() {
    let seconds = std::env::var("WSLOOP_SIMULATE").ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(120));
    let first = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < time {
        run(first.wrapping_add(count));
        count += 1;
    }
    println!("{count} schedules, {} a second", count / time.as_secs().max(1));
}
