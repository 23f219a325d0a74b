//! What the log says of peers: no more than somebody reads, whatever they send and however often.

use std::fmt;

use log::{Level, log, log_enabled};

use super::Peers;
use super::time::Millis;
use crate::ids::ConnId;

/// Most bytes that are shown of what came from outside.
const MOST_BYTES: usize = 100;
/// Most lines of a level in a period.
const MOST_LINES: u32 = 10;
const PERIOD: Millis = 1000;

/// The lines of one level in the period at hand, which begins with the first of them.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    end: Millis,
    written: u32,
    left_out: u32,
}

impl Allowance {
    /// Whether one more may be written. If not, it is counted.
    fn admits(&mut self, now: Millis) -> bool {
        if self.end <= now {
            *self = Allowance { end: now.saturating_add(PERIOD), ..Allowance::default() };
        }
        let admitted = self.written < MOST_LINES;
        let count = if admitted { &mut self.written } else { &mut self.left_out };
        *count = count.saturating_add(1);
        admitted
    }

    /// How many were left out, if the period is over; told once.
    fn take_left_out(&mut self, now: Millis) -> u32 {
        if self.end <= now { std::mem::take(&mut self.left_out) } else { 0 }
    }
}

impl Peers {
    /// Writes a line that a peer can cause as often as it likes, unless too many were written just
    /// before it. Each level is limited by itself: a flood of refusals hides no warning.
    #[cold]
    pub(crate) fn complain(&mut self, level: Level, line: fmt::Arguments<'_>) {
        if !log_enabled!(level) {
            return;
        }
        let now = self.clock.now();
        self.count_left_out(now);
        let allowance = self.complaints.entry(level).or_default();
        if allowance.admits(now) {
            log!(level, "{line}");
        } else if allowance.left_out == 1 {
            // Nobody's deadline: when it falls due, what was left out is counted.
            self.deadlines.push(allowance.end, ConnId::NONE);
        }
    }

    /// Says how many lines were left out in the periods that are over.
    #[cold]
    pub(crate) fn count_left_out(&mut self, now: Millis) {
        for (level, allowance) in &mut self.complaints {
            let count = allowance.take_left_out(now);
            if count > 0 {
                log!(*level, "{count} more like these were left out");
            }
        }
    }
}

/// Bytes from outside as the log shows them: escaped, and cut at a mark if they are many.
pub(crate) fn shown(bytes: &[u8]) -> String {
    match bytes.split_at_checked(MOST_BYTES) {
        Some((first, rest)) if !rest.is_empty() => format!("{}…", first.escape_ascii()),
        _ => bytes.escape_ascii().to_string(),
    }
}

/// The same of text that is put in quotes; the mark stands behind them.
pub(crate) fn quoted(text: &str) -> String {
    let (first, rest) = text.split_at(text.floor_char_boundary(MOST_BYTES));
    let mark = if rest.is_empty() { "" } else { "…" };
    format!("{first:?}{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_in_a_second_and_the_others_are_counted() {
        let mut allowance = Allowance::default();
        for second in [0, 1000, 5000] {
            let admitted = (0..25).filter(|_| allowance.admits(second)).count();
            assert_eq!((admitted, allowance.take_left_out(second)), (10, 0));
            assert!(!allowance.admits(second + 999));
            assert_eq!(allowance.take_left_out(second + 999), 0, "it is not over yet");
            assert_eq!(allowance.take_left_out(second + 1000), 16);
            assert_eq!(allowance.take_left_out(second + 1000), 0, "it was told");
        }
    }

    #[test]
    fn a_period_begins_with_its_first_line() {
        let mut allowance = Allowance::default();
        assert!((0..10).all(|_| allowance.admits(1700)));
        assert!(!allowance.admits(2699));
        assert_eq!(allowance.take_left_out(2700), 1);
        assert!((0..10).all(|_| allowance.admits(2700)));
        assert!(!allowance.admits(2700));
    }

    #[test]
    fn long_things_are_cut_at_a_mark() {
        assert_eq!(shown(b"a\xff\n\"\\"), r#"a\xff\n\"\\"#);
        assert_eq!(shown(&[b'a'; 100]), "a".repeat(100));
        assert_eq!(shown(&[b'\xff'; 101]), format!("{}…", r"\xff".repeat(100)));
        assert_eq!(quoted("a\u{1b}\u{e4}\""), "\"a\\u{1b}\u{e4}\\\"\"");
        assert_eq!(quoted(&"a".repeat(100)), format!("\"{}\"", "a".repeat(100)));
        // Between characters, not within one.
        let euros = "\u{20ac}".repeat(34);
        assert_eq!(quoted(&euros), format!("\"{}\"…", "\u{20ac}".repeat(33)));
    }
}
