//! Lines, sans-I/O: the bytes of a source, cut at LF or CR LF.

use memchr::memchr;

/// The longest line in bytes, its end not counted.
pub(crate) const MAX_LINE: usize = 64 * 1024;

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadLine {
    TooLong,
    NotUtf8,
}

/// Cuts bytes into lines, sans-I/O. They end in LF or CR LF.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The beginning of a line whose end has not come.
    kept: Vec<u8>,
    /// The line at hand is too long; the rest of it is dropped.
    skipping: bool,
    /// Lines so far: an answer names a line by this.
    pub(crate) count: u64,
}

impl Lines {
    /// Takes the next line from the front of `input`; `None` once all of that is used up.
    pub(crate) fn next<'l, 'i: 'l>(
        &'l mut self,
        input: &mut &'i [u8],
    ) -> Option<Result<&'l str, BadLine>> {
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

    /// The last line, if the stream ended without a line end.
    pub(crate) fn last(&mut self) -> Option<Result<&str, BadLine>> {
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
        let bytes = b"one\ntwo\r\n\nfo\rur\nlast";
        let expected = [line("one"), line("two"), line(""), line("fo\rur"), line("last")];
        for cut_at in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut_at);
            assert_eq!(cut(&[a, b]), expected, "cut at {cut_at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(cut(&single), expected);
        assert_eq!(cut(&[b"one\n"]), [line("one")]);
        assert_eq!(cut(&[]), []);
    }

    #[test]
    fn a_line_that_was_handed_over_is_not_the_last_as_well() {
        let mut lines = Lines::default();
        assert_eq!(lines.next(&mut &b"o"[..]), None);
        assert_eq!(lines.next(&mut &b"ne\n"[..]), Some(Ok("one")));
        assert_eq!(lines.last(), None);
        assert_eq!(lines.count, 1);
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
