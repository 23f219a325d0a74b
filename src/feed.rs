//! Lines from outside: a sensor, a log, a script that writes to a TCP port or to standard input,
//! and has its lines handed to the handler of a route.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use log::{debug, info, warn};
use memchr::memchr;

use crate::connection::Inbox;
use crate::context::Context;
use crate::ids::ConnId;
use crate::server::Server;

/// Longest line in octets, its end not counted.
const MAX_LINE: usize = 64 * 1024;
/// A source that does not read what it is answered is answered no more, while so much waits.
const MAX_ANSWERS: usize = 64 * 1024;

/// Names one source of lines, for as long as the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub(crate) ConnId);

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
enum BadLine {
    TooLong,
    NotUtf8,
}

/// Cuts octets into lines, sans-I/O. They end in LF or CR LF.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The beginning of a line whose end has not come.
    kept: Vec<u8>,
    /// The line at hand is too long; what comes of it is dropped.
    skipping: bool,
    /// Lines so far, to name one in an answer.
    count: u64,
}

impl Lines {
    /// Takes the next line from the front of `input`, or `None` once all of it is taken in.
    fn next<'l, 'i: 'l>(&'l mut self, input: &mut &'i [u8]) -> Option<Result<&'l str, BadLine>> {
        if self.kept.last() == Some(&b'\n') {
            self.kept = Vec::new();
        }
        let end = memchr(b'\n', input).map(|place| place.saturating_add(1));
        let piece = input.split_off(..end.unwrap_or(input.len())).unwrap_or_default();
        if self.kept.len().saturating_add(piece.len()) > MAX_LINE + 2 {
            self.kept = Vec::new();
            self.skipping = true;
        }
        if end.is_none() {
            if !self.skipping {
                self.kept.extend_from_slice(piece);
            }
            return None;
        }
        self.count = self.count.saturating_add(1);
        if std::mem::take(&mut self.skipping) {
            return Some(Err(BadLine::TooLong));
        }
        if self.kept.is_empty() {
            return Some(check(piece));
        }
        self.kept.extend_from_slice(piece);
        Some(check(&self.kept))
    }

    /// What there is of a last line that has no end, once nothing more can come.
    fn last(&mut self) -> Option<Result<&str, BadLine>> {
        if self.kept.last() == Some(&b'\n') || (self.kept.is_empty() && !self.skipping) {
            return None;
        }
        self.count = self.count.saturating_add(1);
        Some(if self.skipping { Err(BadLine::TooLong) } else { check(&self.kept) })
    }
}

/// A line without its end.
fn check(line: &[u8]) -> Result<&str, BadLine> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_LINE {
        return Err(BadLine::TooLong);
    }
    str::from_utf8(line).map_err(|_| BadLine::NotUtf8)
}

impl Server {
    /// Hands a source's lines to the handler of its route. The buffer is out of the connection
    /// meanwhile, as with frames.
    pub(crate) fn take_lines(&mut self, id: ConnId, mut input: &[u8]) {
        let Some(mut lines) = self.lend_lines(id) else { return };
        while let Some(line) = lines.next(&mut input) {
            let outcome = self.hand_over(id, line);
            self.answer(id, lines.count, outcome);
        }
        self.return_lines(id, lines);
    }

    /// The source has ended: hands over what has come of its last line.
    pub(crate) fn take_last_line(&mut self, id: ConnId) {
        let Some(mut lines) = self.lend_lines(id) else { return };
        if let Some(line) = lines.last() {
            let outcome = self.hand_over(id, line);
            self.answer(id, lines.count, outcome);
        }
        self.return_lines(id, lines);
    }

    fn lend_lines(&mut self, id: ConnId) -> Option<Box<Lines>> {
        let conn = self.engine.get_mut(id).filter(|conn| matches!(conn.inbox, Inbox::Lines(_)))?;
        match std::mem::replace(&mut conn.inbox, Inbox::Lent) {
            Inbox::Lines(lines) => Some(lines),
            _ => None,
        }
    }

    fn return_lines(&mut self, id: ConnId, lines: Box<Lines>) {
        if let Some(conn) = self.engine.get_mut(id).filter(|c| matches!(c.inbox, Inbox::Lent)) {
            conn.inbox = Inbox::Lines(lines);
        }
    }

    fn hand_over(&mut self, id: ConnId, line: Result<&str, BadLine>) -> Result<(), String> {
        let line = line.map_err(|bad| match bad {
            BadLine::TooLong => format!("over {MAX_LINE} octets"),
            BadLine::NotUtf8 => "not UTF-8".to_string(),
        })?;
        let Some(route) = self.engine.get(id).map(|conn| conn.route) else { return Ok(()) };
        let Some(handler) = self.routes.handler(route) else { return Ok(()) };
        let mut ws = Context::new(&mut self.engine, ConnId::NONE, route);
        handler.on_line(&mut ws, SourceId(id), line)
    }

    /// Tells a source which of its lines was wrong, and why; it goes on.
    fn answer(&mut self, id: ConnId, number: u64, outcome: Result<(), String>) {
        let Err(why) = outcome else { return };
        debug!("#{} line {number}: {why:?}", id.serial());
        let Some(conn) = self.engine.get(id) else { return };
        if !conn.stream.is_writable() {
            warn!("feed {}: line {number}: {why:?}", self.routes.path(conn.route));
        } else if conn.outbox.len() < MAX_ANSWERS {
            let answer = format!("error: line {number}: {why}\n");
            self.engine.append(id, |out| out.extend_from_slice(answer.as_bytes()));
        }
    }

    /// Tells the handler that a source has ended, and the log.
    pub(crate) fn report_source(&mut self, id: ConnId) {
        let Some(route) = self.engine.get(id).map(|conn| conn.route) else { return };
        info!("#{} source of {} ended", id.serial(), self.routes.path(route));
        if let Some(handler) = self.routes.handler(route) {
            let mut ws = Context::new(&mut self.engine, ConnId::NONE, route);
            handler.on_source_end(&mut ws, SourceId(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of these pieces, and what is left at the end.
    fn cut(pieces: &[&[u8]]) -> Vec<Result<String, BadLine>> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            let mut piece = *piece;
            while let Some(line) = lines.next(&mut piece) {
                found.push(line.map(str::to_string));
            }
        }
        found.extend(lines.last().map(|line| line.map(str::to_string)));
        found
    }

    fn line(text: &str) -> Result<String, BadLine> {
        Ok(text.to_string())
    }

    #[test]
    fn lines_end_in_lf_or_cr_lf_and_may_be_cut_anywhere() {
        let octets = b"one\ntwo\r\n\nfo\rur\nlast";
        let expected = [line("one"), line("two"), line(""), line("fo\rur"), line("last")];
        for cut_at in 0..=octets.len() {
            let (a, b) = octets.split_at(cut_at);
            assert_eq!(cut(&[a, b]), expected, "cut at {cut_at}");
        }
        let single: Vec<&[u8]> = octets.chunks(1).collect();
        assert_eq!(cut(&single), expected);
        assert_eq!(cut(&[b"one\n"]), [line("one")]);
        assert_eq!(cut(&[]), []);
    }

    #[test]
    fn wrong_lines_are_told_and_the_next_is_fine() {
        assert_eq!(cut(&[b"\xff\nok\n"]), [Err(BadLine::NotUtf8), line("ok")]);
        let long = vec![b'x'; MAX_LINE + 1];
        let expected = [Err(BadLine::TooLong), line("ok")];
        assert_eq!(cut(&[&long, b"\nok\n"]), expected);
        assert_eq!(cut(&[&long, &long, b"\nok\n"]), expected);
        assert_eq!(cut(&[&long, &long]), [Err(BadLine::TooLong)]);
        let whole = [&long[1..], b"\r\n"].concat();
        assert_eq!(cut(&[&whole]), [line(&"x".repeat(MAX_LINE))]);
    }

    #[test]
    fn a_long_line_holds_no_memory() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            assert!(lines.next(&mut &[b'x'; 10_000][..]).is_none());
            assert!(lines.kept.len() <= MAX_LINE + 2);
        }
        assert_eq!(lines.kept.capacity(), 0);
    }
}
