//! permessage-deflate (RFC 7692): what is agreed on, and messages made smaller and whole again.
//!
//! Neither side keeps its window from one message to the next: every answer says
//! `server_no_context_takeover` and `client_no_context_takeover`, which a server may demand without
//! being asked (section 7.1.1.2). So a connection needs a context only while one of its messages is
//! under way, and all connections of a loop share a few.

use std::fmt;

use zlib_rs::{DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

use super::Violation;
use super::memory;

const NAME: &str = "permessage-deflate";
/// What is appended to a message before it is inflated, and cut off after it was deflated: the end
/// of an empty block (section 7.2.1).
const TAIL: [u8; 4] = *b"\x00\x00\xff\xff";
/// The same, followed by an empty last block: only a message that is whole ends with it.
const END: [u8; 9] = *b"\x00\x00\xff\xff\x01\x00\x00\xff\xff";
/// Bytes inflated at a time.
const PIECE: usize = if cfg!(fuzzing) { 64 } else { 16 * 1024 };
/// Payloads of at least this many bytes are probed.
const PROBE_FROM: usize = 64 * 1024;
/// How many of their bytes are compressed first, to see whether they become fewer.
const PROBE: usize = 8 * 1024;
/// Bytes that are inflated in a unit of work, and what the least of it costs.
const INFLATED_PER_UNIT: u64 = 64;
const LEAST_WORK: u64 = 4;
/// Most inflaters that are kept for the next message.
const MOST_INFLATERS: usize = 4;

/// How messages are compressed on their way out, for clients that offer permessage-deflate
/// (RFC 7692). See [`Config::deflate`](crate::Config::deflate).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deflate {
    /// Messages of fewer bytes are sent as they are: compressing them costs more than it saves.
    /// Default 1 KiB.
    pub threshold: usize,
    /// From 1, fast, to 9, small; other values count as the nearest of these. Default 3.
    pub level: u8,
}

impl Default for Deflate {
    fn default() -> Self {
        Deflate { threshold: 1024, level: 3 }
    }
}

// Negotiation.

/// What this server and a client have agreed on, besides that neither keeps its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// The client's window for our messages is two to this power, 8 to 15, if the client named one.
    window_bits: Option<u8>,
}

/// The first offer that can be accepted, out of the values of all `Sec-WebSocket-Extensions` fields
/// (section 5.1).
pub(crate) fn agree<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Option<Agreed> {
    fields.find_map(|field| split(str::from_utf8(field).ok()?, ',').find_map(accept))
}

/// Section 7.1: an offer is declined if a parameter is unknown, occurs twice or has a wrong value.
fn accept(offer: &str) -> Option<Agreed> {
    let mut parameters = split(offer, ';');
    if parameters.next()? != NAME {
        return None;
    }
    let mut agreed = Agreed { window_bits: None };
    let mut seen = Vec::new();
    for parameter in parameters {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_end_matches(WHITE), Some(unquote(value)?)),
            None => (parameter, None),
        };
        match (name, value) {
            _ if seen.contains(&name) => return None,
            ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
            ("server_max_window_bits", Some(bits)) => {
                agreed.window_bits = Some(parse_window_bits(&bits)?);
            }
            // Whatever window the client chooses can be inflated, so the answer does not limit it.
            ("client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(bits)) => {
                parse_window_bits(&bits)?;
            }
            _ => return None,
        }
        seen.push(name);
    }
    Some(agreed)
}

const WHITE: [char; 2] = [' ', '\t'];

/// The parts between separators that stand outside of quotes, without the white space around them.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let separates = move |c| {
        let plain = !std::mem::take(&mut escaped);
        quoted ^= c == '"' && plain;
        escaped = c == '\\' && quoted && plain;
        c == separator && !quoted
    };
    text.split(separates).map(|part| part.trim_matches(WHITE))
}

/// A value, which may stand in quotes (RFC 6455 section 9.1).
fn unquote(value: &str) -> Option<String> {
    let value = value.trim_start_matches(WHITE);
    match value.strip_prefix('"') {
        None => Some(value.to_string()),
        Some(quoted) => Some(quoted.strip_suffix('"')?.replace('\\', "")),
    }
}

/// Section 7.1.2: 8 to 15, without leading zeros.
fn parse_window_bits(digits: &str) -> Option<u8> {
    (8..=15).find(|bits| bits.to_string() == digits)
}

impl Agreed {
    /// How many kinds there are: a message made for one client suits all others of its kind.
    const KINDS: usize = 7;

    /// Which kind this is, from 0.
    fn kind(self) -> usize {
        usize::from(self.window_bits().saturating_sub(9))
    }

    /// A window of 8 bits counts as one of 9 here: a compressor looks no further back than its
    /// window less 262 bytes, and so not beyond 250.
    fn window_bits(self) -> u8 {
        self.window_bits.unwrap_or(15).clamp(9, 15)
    }
}

/// The value of the answer's field.
impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}; server_no_context_takeover; client_no_context_takeover")?;
        match self.window_bits {
            Some(bits) => write!(f, "; server_max_window_bits={bits}"),
            None => Ok(()),
        }
    }
}

// Contexts.

/// What the connections of a loop share.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "one moves as a pointer, between here and a connection")]
pub(super) struct Contexts {
    settings: Deflate,
    inflaters: Vec<Box<Inflater>>,
    /// By the kind of what was agreed on.
    deflaters: [Option<zlib_rs::Deflate>; Agreed::KINDS],
    /// What was inflated and compressed so far, in units of about 100 ns.
    work: u64,
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Contexts {
    pub(crate) fn new(settings: Option<Deflate>) -> Contexts {
        Contexts { settings: settings.unwrap_or_default(), ..Contexts::default() }
    }

    pub(super) fn work(&self) -> u64 {
        self.work
    }

    /// So many bytes were inflated, which takes some 2 ns for each, and a while if there are none.
    pub(super) fn note_inflated(&mut self, bytes: usize) {
        self.note_work(bytes as u64);
    }

    /// So many bytes were compressed: at level 3, the default, some 10 ns for each.
    fn note_deflated(&mut self, bytes: usize, level: u8) {
        self.note_work((bytes as u64).saturating_mul(u64::from(level).saturating_add(2)));
    }

    /// As much as to inflate so many bytes.
    fn note_work(&mut self, bytes: u64) {
        self.work = self.work.wrapping_add(bytes / INFLATED_PER_UNIT).saturating_add(LEAST_WORK);
    }

    /// An inflater for one incoming message.
    pub(super) fn take_inflater(&mut self) -> Option<Box<Inflater>> {
        Some(self.inflaters.pop().unwrap_or_else(Inflater::new))
    }

    /// Keeps an inflater for later, once its message was whole.
    pub(super) fn give_inflater(&mut self, inflater: Box<Inflater>) {
        if self.inflaters.len() < MOST_INFLATERS {
            self.inflaters.push(inflater);
        }
    }

    /// Fills `out` with a payload's compressed form. False, and `out` is of no use, if it should be
    /// sent as it is: it is short, would not become shorter, or there is no memory to compress it to.
    pub(crate) fn deflate(&mut self, agreed: Agreed, payload: &[u8], out: &mut Vec<u8>) -> bool {
        if payload.len() < self.settings.threshold.max(1) {
            return false;
        }
        // What was compressed before, such as pictures, mostly shows it at its beginning.
        match payload.get(..PROBE) {
            Some(start) if payload.len() >= PROBE_FROM => {
                self.shrink(agreed, start, out) && self.shrink(agreed, payload, out)
            }
            _ => self.shrink(agreed, payload, out),
        }
    }

    fn shrink(&mut self, agreed: Agreed, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let level = self.settings.level.clamp(1, 9);
        self.note_deflated(payload.len(), level);
        let Some(slot) = self.deflaters.get_mut(agreed.kind()) else { return false };
        // Room for more than there can be, so that nothing stays within.
        let room = longest(payload.len());
        if memory::make_room(out, room.saturating_sub(out.len())).is_err() {
            return false;
        }
        let deflater = slot.get_or_insert_with(|| {
            let window_bits = i32::from(agreed.window_bits()).saturating_neg();
            let level = i32::from(level);
            let config = DeflateConfig { window_bits, level, ..DeflateConfig::default() };
            zlib_rs::Deflate::new_with_config(config)
        });
        deflater.reset();
        out.resize(room, 0);
        let status = deflater.compress(payload, out, DeflateFlush::SyncFlush);
        let made = grown(0, deflater.total_out());
        let whole = status == Ok(Status::Ok)
            && grown(0, deflater.total_in()) == payload.len()
            && made < out.len();
        out.truncate(made.saturating_sub(TAIL.len()));
        if !whole {
            // `reset` does not clear output that it had no room for, which would spoil the next
            // message (zlib-rs 0.6.8).
            *slot = None;
        }
        whole && out.len() < payload.len()
    }
}

/// Inflates one message at a time.
pub(crate) struct Inflater {
    inflate: Inflate,
    /// A last block has ended, and nothing has come behind it; or nothing has come at all.
    ended: bool,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Inflater {
    /// Bytes of memory that one takes, about.
    pub(crate) const SIZE: usize = 48 * 1024;

    /// With the largest window, which includes all others.
    fn new() -> Box<Inflater> {
        Box::new(Inflater { inflate: Inflate::new(false, 15), ended: true })
    }

    /// Inflates a piece of a message, and hands over the result, a part at a time.
    pub(super) fn inflate(
        &mut self,
        mut input: &[u8],
        push: &mut dyn FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let (mut piece, mut made) = ([0; PIECE], 0);
        // After a full piece there may be more.
        while !input.is_empty() || made == PIECE {
            let before = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, &mut piece, InflateFlush::NoFlush);
            let taken = grown(before.0, self.inflate.total_in());
            made = grown(before.1, self.inflate.total_out());
            push(piece.get(..made).unwrap_or_default())?;
            input = input.get(taken..).unwrap_or_default();
            self.ended = status == Ok(Status::StreamEnd);
            if self.ended {
                // What follows a last block begins anew (section 7.2.3.4).
                self.inflate.reset(false);
                made = 0;
            } else if status.is_err() || (taken == 0 && made == 0 && !input.is_empty()) {
                return Err(Violation::NotDeflated);
            }
        }
        Ok(())
    }

    /// The message is whole: hands over the rest of it, and gets ready for another. One whose end
    /// is missing is refused; one without any bytes is empty.
    pub(super) fn finish(
        &mut self,
        push: &mut dyn FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        if !self.ended {
            self.inflate(&END, push)?;
        }
        if self.ended { Ok(()) } else { Err(Violation::NotDeflated) }
    }
}

/// The most bytes that a payload of this length deflates to: what cannot be made shorter becomes
/// longer, by an eighth at worst.
pub(super) fn longest(len: usize) -> usize {
    len.saturating_add(len / 8).saturating_add(64)
}

fn grown(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::pool::Pool;
    use crate::proto::tests::{LIMITS, Reader, Seen, masked, splits_of, text};
    use crate::proto::{Limits, Message, Version};
    use proptest::prelude::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// The answer to these fields.
    fn answer(fields: &[&str]) -> Option<String> {
        agree(fields.iter().map(|field| field.as_bytes())).map(|agreed| agreed.to_string())
    }

    fn agreed(bits: u8) -> Agreed {
        accept(&format!("permessage-deflate; server_max_window_bits={bits}")).unwrap()
    }

    #[test]
    fn offers_are_accepted_with_what_they_ask_for() {
        let always = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for (offer, more) in [
            ("permessage-deflate", ""),
            ("permessage-deflate; client_max_window_bits", ""),
            ("permessage-deflate; client_max_window_bits=8", ""),
            ("permessage-deflate; client_max_window_bits=\"15\"", ""),
            ("permessage-deflate;server_no_context_takeover;client_no_context_takeover", ""),
            ("permessage-deflate; server_max_window_bits=8", "; server_max_window_bits=8"),
            ("permessage-deflate; server_max_window_bits=15", "; server_max_window_bits=15"),
            (
                "permessage-deflate;\tserver_max_window_bits = \"1\\0\"",
                "; server_max_window_bits=10",
            ),
            (
                " permessage-deflate ; client_max_window_bits ; server_max_window_bits=9 ; \
                 client_no_context_takeover ; server_no_context_takeover ",
                "; server_max_window_bits=9",
            ),
        ] {
            assert_eq!(answer(&[offer]), Some(format!("{always}{more}")), "{offer}");
        }
    }

    #[test]
    fn offers_with_anything_wrong_are_declined() {
        for offer in [
            "",
            "permessage-deflat",
            "Permessage-Deflate",
            "x-webkit-deflate-frame",
            "deflate-stream",
            "permessage-deflate=1",
            "permessage-deflate;",
            "permessage-deflate; unknown",
            "permessage-deflate; unknown=1",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; server_no_context_takeover=\"\"",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_max_window_bits=9=9",
            "permessage-deflate; server_max_window_bits=\"9",
            "permessage-deflate; server_max_window_bits='9'",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=99999999999999999999",
            "permessage-deflate; SERVER_MAX_WINDOW_BITS=9",
            "x; y=\"a, permessage-deflate, b\"",
            "x; y=\"a\\\", permessage-deflate, b\"",
        ] {
            assert_eq!(answer(&[offer]), None, "{offer}");
        }
        assert_eq!(agree([&b"permessage-deflate; \xff"[..]].into_iter()), None);
        assert_eq!(answer(&[]), None);
    }

    #[test]
    fn the_first_offer_that_can_be_accepted_is() {
        let bits = |bits| Some(agreed(bits).to_string());
        for fields in [
            &["permessage-deflate; server_max_window_bits=9, permessage-deflate"][..],
            &["permessage-deflate; server_max_window_bits=9", "permessage-deflate"],
            &["foo; bar=\"1;2,3\" ,, permessage-deflate; no, permessage-deflate; \
               server_max_window_bits=9"],
            &["x-webkit-deflate-frame", "permessage-deflate; server_max_window_bits=9"],
            // A backslash means nothing outside of quotes.
            &["x; y=\\\"a\", permessage-deflate; server_max_window_bits=9"],
        ] {
            assert_eq!(answer(fields), bits(9), "{fields:?}");
        }
    }

    /// What bytes mean where compression was agreed on, at every split.
    fn meaning(bytes: &[u8]) -> Vec<Seen> {
        meaning_within(&LIMITS, bytes)
    }

    fn meaning_within(limits: &Limits, bytes: &[u8]) -> Vec<Seen> {
        let fresh = || Reader::deflating(limits);
        splits_of(&fresh, Version::Rfc6455, bytes, 0..=bytes.len())
    }

    fn failed(violation: Violation) -> Vec<Seen> {
        vec![Seen::Failed(violation)]
    }

    /// A text message, compressed, in one frame.
    fn frame(payload: &[u8]) -> Vec<u8> {
        masked(0xc1, KEY, payload)
    }

    #[test]
    fn the_messages_of_rfc_7692_section_7_2_3() {
        let one_block = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        let fragments = [masked(0x41, KEY, &one_block[..3]), masked(0x80, KEY, &one_block[3..])];
        for bytes in [
            frame(one_block),
            fragments.concat(),
            frame(b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
            frame(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
            frame(b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
        ] {
            assert_eq!(meaning(&bytes.repeat(2)), [text("Hello"), text("Hello")], "{bytes:x?}");
        }
        // Section 7.2.3.2: this one needs the window of the message before, which is not kept.
        let twice = [frame(one_block), frame(b"\xf2\x00\x11\x00\x00")].concat();
        assert_eq!(meaning(&twice), [text("Hello"), Seen::Failed(Violation::NotDeflated)]);
        // Section 7.2.3.6, and what some send in its place.
        assert_eq!(meaning(&frame(b"\x00")), [text("")]);
        assert_eq!(meaning(&frame(b"")), [text("")]);
    }

    #[test]
    fn compressed_and_plain_messages_may_follow_each_other() {
        let bytes = [
            masked(0x42, KEY, b"\xf2\x48"),
            masked(0x89, KEY, b"ping"),
            masked(0x00, KEY, b""),
            masked(0x00, KEY, b"\xcd\xc9\xc9"),
            masked(0x80, KEY, b"\x07\x00"),
            masked(0x81, KEY, b"plain"),
            masked(0x01, KEY, b"pla"),
            masked(0x80, KEY, b"in"),
            // Not a last block's end and another stream, but two of them.
            masked(0xc2, KEY, b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00"),
        ];
        let binary = |bytes: &[u8]| Seen::Binary(bytes.to_vec());
        let ping = Seen::Ping(b"ping".to_vec());
        let expected =
            [ping, binary(b"Hello"), text("plain"), text("plain"), binary(b"HelloHello")];
        assert_eq!(meaning(&bytes.concat()), expected);
    }

    #[test]
    fn only_the_beginning_of_a_message_may_say_that_it_is_compressed() {
        for bytes in [
            [masked(0x41, KEY, b"\xf2"), vec![0xc0, 0x80]].concat(),
            [masked(0x01, KEY, b"a"), vec![0x40, 0x80]].concat(),
            vec![0xc0, 0x80],
            vec![0xc8, 0x80],
            vec![0xc9, 0x80],
            vec![0xca, 0x80],
            vec![0xc3, 0x80],
            vec![0xa1, 0x80],
            vec![0x91, 0x80],
            vec![0xe1, 0x80],
            vec![0xd2, 0x80],
        ] {
            assert_eq!(meaning(&bytes), failed(Violation::ReservedBit), "{bytes:x?}");
        }
    }

    #[test]
    fn what_does_not_inflate_to_its_end_is_refused() {
        for payload in [
            &b"\xff"[..],
            b"\x07",
            b"Hello, as it is",
            b"\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00",
            // Cut short: within a stored block, a compressed one, and before its end is marked.
            b"\x00\x05\x00\xfa\xff\x48\x65",
            b"\xf2\x48\xcd",
            b"\xf2\x48\xcd\xc9\xc9\x07",
            // The same, and what is appended does not reach its end.
            b"\x00\xff\x00\x00\xff\x48",
            // Bytes behind the end.
            b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00",
            b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x07",
            // A window that reaches before the beginning.
            b"\x02\x13\x00",
        ] {
            let seen = meaning(&masked(0xc2, KEY, payload));
            assert_eq!(seen, failed(Violation::NotDeflated), "{payload:x?}");
        }
    }

    /// A stored block.
    fn stored(bytes: &[u8]) -> Vec<u8> {
        let len = bytes.len() as u16;
        [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), bytes].concat()
    }

    #[test]
    fn text_is_checked_as_it_is_inflated() {
        let whole = [stored(b"\xe2\x82"), stored(b""), stored(b"\xac"), vec![0]].concat();
        assert_eq!(meaning(&frame(&whole)), [text("\u{20ac}")]);
        let cut = [stored(b"\xe2\x82"), vec![0]].concat();
        assert_eq!(meaning(&frame(&cut)), failed(Violation::NotUtf8));
        let wrong = [stored(b"\xe2\x82"), stored(b"a")].concat();
        assert_eq!(meaning(&masked(0x41, KEY, &wrong)), failed(Violation::NotUtf8));
        // Within a frame that is not whole.
        let unfinished = masked(0xc1, KEY, &[&wrong[..], &[0; 100]].concat());
        assert_eq!(meaning(&unfinished[..20]), failed(Violation::NotUtf8));
    }

    /// `len` bytes that are all the same, compressed by a compressor of its own.
    fn bomb(len: usize) -> Vec<u8> {
        let mut out = vec![0; len / 500 + 100];
        let mut deflater = zlib_rs::Deflate::new(9, false, 15);
        deflater.compress(&vec![b'0'; len], &mut out, DeflateFlush::SyncFlush).unwrap();
        out.truncate(deflater.total_out() as usize - TAIL.len());
        out
    }

    #[test]
    fn the_limit_counts_what_is_inflated() {
        let limits = Limits { message: 1000, ..LIMITS };
        let within = meaning_within(&limits, &masked(0xc2, KEY, &bomb(1000)));
        assert_eq!(within, [Seen::Binary(vec![b'0'; 1000])]);
        for first in [0xc1, 0xc2, 0x41, 0x42] {
            let seen = meaning_within(&limits, &masked(first, KEY, &bomb(1001)));
            assert_eq!(seen, failed(Violation::MessageTooBig));
        }
    }

    #[test]
    fn a_bomb_takes_no_more_than_the_limit() {
        let limits = Limits { message: 100_000, ..LIMITS };
        let mut reader = Reader::deflating(&limits);
        let bomb = bomb(20_000_000);
        assert!(bomb.len() < 20_000);
        let frame = masked(0x42, KEY, &bomb);
        // The limit is met by the first hundred of its bytes or so.
        assert_eq!(reader.read(&frame[..80]), []);
        assert_eq!(reader.read(&frame[80..200]), failed(Violation::MessageTooBig));
        assert_eq!(reader.read(&frame[200..]), []);
        assert_eq!(reader.pool.contexts.inflaters.len(), 0);
    }

    #[test]
    fn an_announced_length_may_be_over_the_limit_by_an_eighth_and_64() {
        let limits = Limits { message: 80, ..LIMITS };
        // 154 bytes at most, all frames together.
        let empty = stored(b"");
        let mut payload = empty.repeat(30);
        payload.extend([&stored(b"")[..2], &[0]].concat());
        let head = |len: u8| [&[0xc2, 0xfe, 0, len][..], &KEY].concat();
        assert_eq!(meaning_within(&limits, &head(154)), []);
        assert_eq!(meaning_within(&limits, &head(155)), failed(Violation::MessageTooBig));
        let first = masked(0x42, KEY, &empty.repeat(30));
        let rest = |len: u8| [&first[..], &[0x80, 0x80 | len], &KEY].concat();
        assert_eq!(meaning_within(&limits, &rest(4)), []);
        assert_eq!(meaning_within(&limits, &rest(5)), failed(Violation::MessageTooBig));
    }

    #[test]
    fn contexts_are_held_while_a_message_is_under_way_and_shared() {
        let mut reader = Reader::deflating(&LIMITS);
        let [first, last] =
            [masked(0x41, KEY, b"\xf2\x48"), masked(0x80, KEY, b"\xcd\xc9\xc9\x07\x00")];
        let idle = |reader: &Reader| reader.pool.contexts.inflaters.len();
        assert_eq!(reader.read(&first), []);
        assert_eq!(idle(&reader), 0);
        assert_eq!(reader.read(&last), [text("Hello")]);
        assert_eq!(idle(&reader), 1);
        for _ in 0..3 {
            assert_eq!(reader.read(&first), []);
            assert_eq!(idle(&reader), 0);
            assert_eq!(reader.read(&last), [text("Hello")]);
        }
        assert_eq!(idle(&reader), 1);
        let mut contexts = Contexts::default();
        for _ in 0..10 {
            contexts.give_inflater(Inflater::new());
        }
        assert_eq!(contexts.inflaters.len(), MOST_INFLATERS);
    }

    #[test]
    fn a_compressed_message_does_not_land() {
        let mut reader = Reader::deflating(&LIMITS);
        let payload = [stored(&[7; 60_000]), vec![0]].concat();
        let bytes = masked(0xc2, KEY, &payload);
        assert_eq!(reader.read(&bytes[..100]), []);
        assert!(reader.decoder.landing().is_none());
        assert_eq!(reader.read(&bytes[100..]), [Seen::Binary(vec![7; 60_000])]);
    }

    /// Bytes that do not repeat.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn deflated(bits: u8, payload: &[u8]) -> Option<Vec<u8>> {
        Pool::default().deflate(agreed(bits), payload)
    }

    #[test]
    fn short_messages_and_such_as_would_grow_are_sent_as_they_are() {
        let repeated = b"0123456789".repeat(200_000);
        for (payload, smaller) in [
            (&repeated[..1023], false),
            (&repeated[..1024], true),
            (&repeated, true),
            (&noise(1024), false),
            (&noise(100_000), false),
            (b"", false),
            // Only the beginning of a long one is tried.
            (&[noise(PROBE), repeated.clone()].concat()[..], false),
            (&[noise(PROBE), repeated[..1000].to_vec()].concat()[..], true),
        ] {
            let made = deflated(15, payload);
            assert_eq!(made.is_some(), smaller, "{} bytes", payload.len());
            assert!(made.is_none_or(|made| made.len() < payload.len()));
        }
    }

    #[test]
    fn a_match_may_go_past_the_end_of_a_piece_and_of_the_input() {
        // Compressed, it is a long row of matches, one of which lies across the end of a piece.
        let payload = noise(300).repeat(60);
        assert!(payload.len() > PIECE);
        let made = deflated(15, &payload).unwrap();
        assert!(meaning(&masked(0xc2, KEY, &made)) == [Seen::Binary(payload)]);
    }

    #[test]
    fn a_wire_form_of_one_window_is_made_for_its_kind_only() {
        let kinds: Vec<usize> = (8..=15).map(|bits| agreed(bits).kind()).collect();
        assert_eq!(kinds, [0, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(agree([&b"permessage-deflate"[..]].into_iter()).unwrap().kind(), 6);
        assert_eq!(Agreed::KINDS, 7);
    }

    #[test]
    fn nothing_reaches_further_back_than_the_window() {
        for bits in 8..=15u8 {
            // Of a window of 256 or 512 bytes, 250 are used; see `window_bits`.
            let reach = (1usize << bits.max(9)) - 262;
            let twice = |period: usize| {
                let once = noise(period);
                [&once[..], &once, &once[..period.min(200)]].concat().repeat(1)
            };
            let pool = &mut Pool::new(Some(Deflate { threshold: 1, ..Deflate::default() }));
            assert!(pool.deflate(agreed(bits), &twice(reach)).is_some(), "{bits}");
            for period in [reach + 1, reach + 2, reach + 6, reach + 7, 2 * reach] {
                assert!(pool.deflate(agreed(bits), &twice(period)).is_none(), "{bits}, {period}");
            }
        }
    }

    #[test]
    fn what_was_made_smaller_can_be_read() {
        let mut pool = Pool::default();
        for level in 1..=9 {
            pool.contexts = Contexts::new(Some(Deflate { level, ..Deflate::default() }));
            for bits in 8..=15 {
                for payload in [vec![b'a'; 1024], "Hello, ".repeat(30_000).into_bytes()] {
                    let made = pool.deflate(agreed(bits), &payload).unwrap();
                    let mut reader = Reader::deflating(&LIMITS);
                    let seen = reader.read(&masked(0xc2, KEY, &made));
                    assert!(seen == [Seen::Binary(payload)], "{level}, {bits}");
                }
            }
        }
    }

    #[test]
    fn frames_say_that_they_are_compressed() {
        use crate::proto::Framing;
        let framing = Framing::of(Version::Rfc6455, Some(agreed(15)));
        let (mut pool, mut out) = (Pool::default(), Vec::new());
        assert!(framing.encode(Message::Text("short"), &mut pool, &mut out).unwrap());
        assert_eq!(out, b"\x81\x05short");
        for (first, message) in
            [(0xc1, Message::Text(&"a".repeat(2000))), (0xc2, Message::Binary(&[b'a'; 2000]))]
        {
            let mut out = Vec::new();
            assert!(framing.encode(message, &mut pool, &mut out).unwrap());
            assert_eq!((out[0], usize::from(out[1])), (first, out.len() - 2));
            let seen = Reader::deflating(&LIMITS).read(&masked(out[0], KEY, &out[2..]));
            assert!(matches!(&seen[..], [Seen::Text(_) | Seen::Binary(_)]));
        }
        assert_eq!(Framing::of(Version::Rfc6455, None), Framing::Hybi);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_message_survives_both_ways_in_any_pieces(
            words in prop::collection::vec("[a-c\u{20ac}]{1,9}", 1..300),
            bits in 8u8..=15,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let said = words.concat();
            let mut pool = Pool::new(Some(Deflate { threshold: 1, ..Deflate::default() }));
            let made = pool.deflate(agreed(bits), said.as_bytes());
            let Some(made) = made else { return Ok(()) };
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(made.len() + 1)).collect();
            places.sort_unstable();
            let (mut bytes, mut from, mut first) = (Vec::new(), 0, 0x41);
            for to in places {
                bytes.extend(masked(first, KEY, &made[from..to]));
                (from, first) = (to, 0x00);
            }
            bytes.extend(masked(0x80 | first, KEY, &made[from..]));
            let places = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect::<Vec<_>>();
            let fresh = || Reader::deflating(&LIMITS);
            let seen = splits_of(&fresh, Version::Rfc6455, &bytes, places);
            prop_assert_eq!(seen, [text(&said)]);
        }
    }
}
