//! Lines, sans-I/O: the bytes of a source, cut at LF or CR LF.
//!
//! A web page can have a browser connect to any address and send a request of its making there, in
//! whose body it writes what it likes. So who begins with a line of another protocol is no source.

use memchr::memchr;

use super::take;
use crate::http::request::{is_proxy_protocol, is_token_byte};

/// The longest line in bytes, its end not counted.
pub(crate) const MAX_LINE: usize = 64 * 1024;

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadLine {
    TooLong,
    NotUtf8,
    /// The first line, or what has come of it, is of this protocol: nothing that follows is a line.
    OfProtocol(&'static str),
}

/// What a record of a TLS handshake begins with (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Longer than any method that a browser sends without having asked first, and its space.
const LONG_METHOD: usize = 64;

/// Cuts bytes into lines, sans-I/O. They end in LF or CR LF.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The beginning of a line whose end has not come.
    kept: Vec<u8>,
    /// The line at hand is too long; the rest of it is dropped.
    skipping: bool,
    /// Lines so far: an answer names a line by this.
    pub(crate) count: u64,
    /// This program has connected to it, so that no web page is behind it.
    known: bool,
}

impl Lines {
    /// Of somebody whom this program has connected to: what it begins with is a line like any other.
    pub(crate) fn of_a_known_source() -> Lines {
        Lines { known: true, ..Lines::default() }
    }

    /// Takes the next line from the front of `input`; `None` once all of that is used up. Nothing is
    /// to be taken behind [`BadLine::OfProtocol`].
    pub(crate) fn next<'l, 'i: 'l>(
        &'l mut self,
        input: &mut &'i mut [u8],
    ) -> Option<Result<&'l str, BadLine>> {
        if self.kept.last() == Some(&b'\n') {
            self.kept = Vec::new();
        }
        let is_first = self.count == 0 && !self.skipping && !self.known;
        // There may be no line end in it.
        if is_first && self.kept.is_empty() && input.first() == Some(&TLS_HANDSHAKE) {
            return Some(Err(BadLine::OfProtocol("TLS")));
        }
        let end = memchr(b'\n', input).map(|place| place.saturating_add(1));
        let piece = take(input, end.unwrap_or(input.len()));
        if self.kept.len().saturating_add(piece.len()) > MAX_LINE + 2 {
            self.kept.extend_from_slice(piece.get(..LONG_METHOD).unwrap_or(piece));
            if is_first && begins_like_a_request(&self.kept) {
                return Some(Err(BadLine::OfProtocol("HTTP")));
            }
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
        let line = if self.kept.is_empty() {
            &*piece
        } else {
            self.kept.extend_from_slice(piece);
            &self.kept
        };
        Some(check(line, is_first))
    }

    /// Bytes of memory that the beginning of a line takes.
    pub(crate) fn held(&self) -> usize {
        self.kept.capacity()
    }

    /// The last line, if the stream ended without a line end; once.
    pub(crate) fn last(&mut self) -> Option<Result<&str, BadLine>> {
        if self.kept.last() == Some(&b'\n') || (self.kept.is_empty() && !self.skipping) {
            return None;
        }
        let is_first = self.count == 0 && !self.known;
        self.count = self.count.saturating_add(1);
        if std::mem::take(&mut self.skipping) {
            self.kept.clear();
            return Some(Err(BadLine::TooLong));
        }
        self.kept.push(b'\n');
        Some(check(&self.kept, is_first))
    }
}

/// A line without its end.
fn check(line: &[u8], is_first: bool) -> Result<&str, BadLine> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if is_first && is_request_line(line) {
        return Err(BadLine::OfProtocol("HTTP"));
    }
    if is_first && is_proxy_protocol(line) {
        return Err(BadLine::OfProtocol("the PROXY protocol"));
    }
    if line.len() > MAX_LINE {
        return Err(BadLine::TooLong);
    }
    str::from_utf8(line).map_err(|_| BadLine::NotUtf8)
}

/// `METHOD target HTTP/x` (RFC 9112 section 3), in whatever version.
fn is_request_line(line: &[u8]) -> bool {
    let version = line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    version.starts_with(b"HTTP/") && begins_like_a_request(line)
}

/// A method, a space, and the beginning of a target.
fn begins_like_a_request(line: &[u8]) -> bool {
    let method_len = line.iter().take_while(|&&byte| is_token_byte(byte)).count();
    let target = line.get(method_len..).and_then(|rest| rest.strip_prefix(b" "));
    method_len > 0 && target.is_some_and(|target| !target.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of these pieces, and what is left at the end.
    fn cut(pieces: &[&[u8]]) -> Vec<Result<String, BadLine>> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            let mut piece = piece.to_vec();
            let mut input = &mut piece[..];
            while let Some(line) = lines.next(&mut input) {
                let ends = matches!(line, Err(BadLine::OfProtocol(_)));
                found.push(line.map(str::to_string));
                if ends {
                    return found;
                }
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
        assert_eq!(lines.next(&mut &mut b"o".to_vec()[..]), None);
        assert_eq!(lines.next(&mut &mut b"ne\n".to_vec()[..]), Some(Ok("one")));
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
    fn who_begins_with_another_protocol_is_no_source() {
        let begins = |bytes: &[u8], protocol: &'static str| {
            for cut_at in 0..=bytes.len().min(100) {
                let (a, b) = bytes.split_at(cut_at);
                let found = cut(&[a, b]).into_iter().next();
                let shown = bytes[..bytes.len().min(100)].escape_ascii();
                assert_eq!(found, Some(Err(BadLine::OfProtocol(protocol))), "{shown} {cut_at}");
            }
        };
        for line in ["POST / HTTP/1.1", "GET / HTTP/1.0", "PRI * HTTP/2.0", "x-y http://a/ HTTP/9"]
        {
            for end in ["", "\n", "\r\nHost: a\r\n\r\n1 2\n"] {
                begins(format!("{line}{end}").as_bytes(), "HTTP");
            }
        }
        // A target may be longer than a line, and what follows it would be lines.
        let long = format!("GET /?{} HTTP/1.1\r\nHost: a\r\n\r\n1 2\n", "x".repeat(2 * MAX_LINE));
        begins(long.as_bytes(), "HTTP");
        begins(b"\x16\x03\x01\x02\0\x01\n1 2\n", "TLS");
        begins(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n1 2\n", "the PROXY protocol");
        // Later lines may say what they like, and so may a first line that is none of these.
        let fine = ["temperature", "GET / HTTP/1.1", "GET /", "\u{16}", "1 2 http/1.1", "HTTP/1.1"];
        let expected: Vec<_> = fine.iter().map(|text| line(text)).collect();
        assert_eq!(cut(&[fine.join("\n").as_bytes()]), expected);
        for first in ["GET /", "HTTP/1.1", "HTTP/1.1 200 OK", " / HTTP/1.1", ""] {
            assert_eq!(cut(&[first.as_bytes(), b"\n"]), [line(first)]);
        }
    }

    #[test]
    fn only_the_first_line_is_taken_for_a_request() {
        let long = [b"GET /", &vec![b'x'; MAX_LINE][..], b"\n"].concat();
        assert_eq!(cut(&[b"one\n", &long]), [line("one"), Err(BadLine::TooLong)]);
        assert_eq!(cut(&[b"one\nGET / HTTP/1.1\n"]), [line("one"), line("GET / HTTP/1.1")]);
    }

    #[test]
    fn a_long_line_holds_no_memory() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            assert!(lines.next(&mut &mut [b'x'; 10_000][..]).is_none());
            assert!(lines.kept.len() <= MAX_LINE + 2);
        }
        assert_eq!(lines.kept.capacity(), 0);
    }
}
