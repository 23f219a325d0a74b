//! Server-Sent Events (WHATWG HTML, "Server-sent events"), as far as they carry messages: each line of
//! a text behind `data: `, and an empty line behind the last.

use super::close::Violation;
use super::{Message, memory};

/// What comes before each line of a text.
const DATA: &[u8] = b"data: ";
/// A comment, which means nothing.
pub(super) const HEARTBEAT: &[u8] = b":\n";

/// Appends a text as an event. A line of it ends in CR LF, CR or LF, and whoever reads the event finds LF
/// in its place. False, and nothing appended, for a binary message. Fails, and nothing appended, if there
/// is no memory for it.
pub(super) fn encode(message: Message<'_>, out: &mut Vec<u8>) -> Result<bool, Violation> {
    let Message::Text(text) = message else { return Ok(false) };
    let mut rest = text.as_bytes();
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let lines = rest.iter().copied().filter(is_end).count().saturating_add(1);
    // What comes before a line, and its end; and the end of the event.
    let around = lines.saturating_mul(DATA.len().saturating_add(1)).saturating_add(1);
    memory::make_room(out, rest.len().saturating_add(around))?;
    while let Some(end) = rest.iter().position(is_end) {
        let (line, behind) = rest.split_at(end);
        put_line(line, out);
        let width = if behind.starts_with(b"\r\n") { 2 } else { 1 };
        rest = behind.get(width..).unwrap_or_default();
    }
    put_line(rest, out);
    out.push(b'\n');
    Ok(true)
}

fn put_line(line: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(DATA);
    out.extend_from_slice(line);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use crate::proto::memory::scarcity::{self, Scarcity};
    use crate::proto::pool::Pool;
    use crate::proto::{Framing, Message, Violation, encode_ping};

    fn event(text: &str) -> String {
        let mut out = Vec::new();
        let message = Message::Text(text);
        assert_eq!(Framing::Events.encode(message, &mut Pool::default(), &mut out), Ok(true));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_line_of_a_text_is_a_line_of_data() {
        for (text, bytes) in [
            ("", "data: \n\n"),
            ("one", "data: one\n\n"),
            (" a space", "data:  a space\n\n"),
            ("data: x", "data: data: x\n\n"),
            ("a\nb", "data: a\ndata: b\n\n"),
            ("a\rb", "data: a\ndata: b\n\n"),
            ("a\r\nb", "data: a\ndata: b\n\n"),
            ("a\n\r\nb", "data: a\ndata: \ndata: b\n\n"),
            ("\n", "data: \ndata: \n\n"),
            ("a\n", "data: a\ndata: \n\n"),
            ("\r\r\n", "data: \ndata: \ndata: \n\n"),
            ("\u{e9}\u{2028}\u{85}", "data: \u{e9}\u{2028}\u{85}\n\n"),
        ] {
            assert_eq!(event(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_no_event() {
        let (mut pool, mut out) = (Pool::default(), Vec::new());
        assert_eq!(Framing::Events.encode(Message::Binary(b"a"), &mut pool, &mut out), Ok(false));
        assert!(out.is_empty());
    }

    #[test]
    fn a_ping_is_a_comment() {
        let mut out = Vec::new();
        assert!(encode_ping(Framing::Events, b"\n\ndata: no", &mut out));
        assert_eq!(out, b":\n");
    }

    #[test]
    fn lines_that_there_is_no_memory_for_are_none() {
        let (mut pool, mut out) = (Pool::default(), Vec::new());
        scarcity::set(Scarcity::After(0));
        let failed = Framing::Events.encode(Message::Text("a\nb"), &mut pool, &mut out);
        assert_eq!((failed, out.len()), (Err(Violation::NoMemory), 0));
    }
}
