//! The framing of hixie-75 and -76 (section 5.3 of the latter): text between 0x00 and 0xFF.
//! Hixie-76 is 75 with a closing handshake, FF 00.

use memchr::memchr;

use super::close::Violation;
use super::memory;
use super::{Event, Limits, Message, Version, take};

pub(super) const TEXT: u8 = 0x00;
pub(super) const END: u8 = 0xff;
/// Frames of this type and above announce their length.
const WITH_LENGTH: u8 = 0x80;
/// A length's 7-bit groups: as many as can say anything, so that `80 80 80 …` comes to an end.
const MAX_LENGTH_BYTES: u8 = 10;
/// What stands for bytes that are not UTF-8.
const REPLACEMENT: &str = "\u{fffd}";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a frame's type byte.
    Type,
    /// In a text frame.
    Text,
    /// In a frame of the types 01 to 7F, which mean nothing: skipped up to its FF.
    Unknown { seen: usize },
    /// In the length of a frame of the types 80 to FF.
    Length { kind: u8, value: u64, bytes: u8 },
    /// In the payload of such a frame, which means nothing either.
    Skip { left: u64 },
    /// After the peer's close, or a broken limit: nothing more is read.
    Done,
}

/// What one step of the decoder led to.
enum Step<'i> {
    Starved,
    Onward,
    /// A text frame is whole, and all of it was in the input.
    Text(&'i [u8]),
    /// The first of a text frame that is not whole lies in `self.text`.
    Begun,
    /// A text frame is whole in `self.text`.
    KeptText,
    Close,
}

/// Cuts a client's bytes into messages.
#[derive(Debug)]
pub(crate) struct Decoder {
    version: Version,
    state: State,
    /// What has come of a text frame that is not whole, or the message that was last lent out.
    text: Vec<u8>,
    /// When it began, if anybody said so.
    begun: u64,
    /// A message whose wrong bytes were replaced.
    mended: String,
    lent: bool,
}

impl Decoder {
    pub(super) fn new(version: Version) -> Decoder {
        Decoder {
            version,
            state: State::Type,
            text: Vec::new(),
            begun: 0,
            mended: String::new(),
            lent: false,
        }
    }

    /// See [`super::Decoder::next`].
    pub(super) fn next<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i mut [u8],
        limits: &Limits,
    ) -> Option<Event<'e>> {
        self.take_back();
        let text = loop {
            match self.step(input, limits.message) {
                Err(violation) => {
                    self.state = State::Done;
                    return Some(Event::Failed(violation));
                }
                Ok(Step::Starved) => return None,
                Ok(Step::Onward) => {}
                Ok(Step::Begun) => return Some(Event::Begun(&mut self.begun)),
                Ok(Step::Text(bytes)) => break bytes,
                Ok(Step::KeptText) => break &self.text,
                Ok(Step::Close) => {
                    self.state = State::Done;
                    return Some(Event::Close(None));
                }
            }
        };
        self.lent = true;
        Some(mend(text, &mut self.mended, limits.message).map_or_else(
            |violation| {
                self.state = State::Done;
                Event::Failed(violation)
            },
            Event::Message,
        ))
    }

    /// See [`super::Decoder::under_way`].
    pub(super) fn under_way(&self) -> Option<(u64, usize)> {
        let come = self.text.len();
        (self.state == State::Text && come > 0).then_some((self.begun, come))
    }

    /// When the message at hand began.
    pub(super) fn begun(&mut self) -> &mut u64 {
        &mut self.begun
    }

    /// Frees what the last event lent out.
    pub(super) fn take_back(&mut self) {
        if std::mem::take(&mut self.lent) {
            self.text = Vec::new();
            self.mended = String::new();
        }
    }

    pub(super) fn held(&self) -> usize {
        self.text.capacity().saturating_add(self.mended.capacity())
    }

    fn step<'i>(&mut self, input: &mut &'i mut [u8], limit: usize) -> Result<Step<'i>, Violation> {
        let Some(&first) = input.first() else { return Ok(Step::Starved) };
        match self.state {
            State::Type => {
                take(input, 1);
                self.state = match first {
                    TEXT => State::Text,
                    WITH_LENGTH.. => State::Length { kind: first, value: 0, bytes: 0 },
                    _ => State::Unknown { seen: 0 },
                };
                Ok(Step::Onward)
            }
            State::Text => self.read_text(input, limit),
            State::Unknown { seen } => self.discard(input, seen, limit),
            State::Length { kind, value, bytes } => {
                take(input, 1);
                let value = value.saturating_mul(128) | u64::from(first & 0x7f);
                self.read_length(first, kind, value, bytes.saturating_add(1), limit)
            }
            State::Skip { left } => {
                let skipped = take(input, usize::try_from(left).unwrap_or(usize::MAX));
                self.state = skip(left.saturating_sub(skipped.len() as u64));
                Ok(Step::Onward)
            }
            State::Done => {
                *input = &mut [];
                Ok(Step::Starved)
            }
        }
    }

    /// Takes text up to FF, or all there is. The limit holds even before the FF has come.
    fn read_text<'i>(
        &mut self,
        input: &mut &'i mut [u8],
        limit: usize,
    ) -> Result<Step<'i>, Violation> {
        let end = memchr(END, input);
        let len = end.unwrap_or(input.len());
        if len > limit.saturating_sub(self.text.len()) {
            return Err(Violation::MessageTooBig);
        }
        let piece = take(input, len);
        if end.is_some() {
            take(input, 1);
            self.state = State::Type;
            if self.text.is_empty() {
                return Ok(Step::Text(piece));
            }
        }
        let begins = self.text.is_empty();
        // Twice as much as before, if it grows: nobody knows how long the text will be.
        memory::make_room(&mut self.text, piece.len())?;
        self.text.extend_from_slice(piece);
        Ok(match end {
            Some(_) => Step::KeptText,
            None if begins => Step::Begun,
            None => Step::Starved,
        })
    }

    fn discard<'i>(
        &mut self,
        input: &mut &'i mut [u8],
        seen: usize,
        limit: usize,
    ) -> Result<Step<'i>, Violation> {
        let end = memchr(END, input);
        let len = end.unwrap_or(input.len());
        let seen = seen.saturating_add(len);
        if seen > limit {
            return Err(Violation::MessageTooBig);
        }
        take(input, len.saturating_add(1));
        self.state = if end.is_some() { State::Type } else { State::Unknown { seen } };
        Ok(Step::Onward)
    }

    /// One more 7-bit group of a length; the last is the one whose top bit is clear.
    fn read_length(
        &mut self,
        byte: u8,
        kind: u8,
        value: u64,
        bytes: u8,
        limit: usize,
    ) -> Result<Step<'static>, Violation> {
        if value > limit as u64 || bytes > MAX_LENGTH_BYTES {
            return Err(Violation::MessageTooBig);
        }
        if byte & 0x80 != 0 {
            self.state = State::Length { kind, value, bytes };
            return Ok(Step::Onward);
        }
        if kind == END && value == 0 && self.version == Version::Hixie76 {
            return Ok(Step::Close);
        }
        self.state = skip(value);
        Ok(Step::Onward)
    }
}

fn skip(left: u64) -> State {
    if left == 0 { State::Type } else { State::Skip { left } }
}

/// Section 5.4 leaves servers free what to do with bytes that are not UTF-8. WebKit of 2010 writes
/// a lone surrogate as three of them, so they are replaced by U+FFFD rather than refused. That can
/// make the text three times as long; the limit is that of what is delivered.
fn mend<'a>(
    bytes: &'a [u8],
    mended: &'a mut String,
    limit: usize,
) -> Result<Message<'a>, Violation> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Ok(Message::Text(text));
    }
    let parts = || {
        bytes.utf8_chunks().flat_map(|chunk| {
            [chunk.valid(), if chunk.invalid().is_empty() { "" } else { REPLACEMENT }]
        })
    };
    let len = parts().fold(0, |len: usize, part| len.saturating_add(part.len()));
    if len > limit {
        return Err(Violation::MessageTooBig);
    }
    memory::make_exact_text_room(mended, len)?;
    mended.extend(parts());
    Ok(Message::Text(mended))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::pool::Pool;
    use crate::proto::tests::{LIMITS, Reader, Seen, at_every_split, text};
    use crate::proto::{Decoder as EitherDecoder, Framing};

    const SMALL: Limits = Limits { message: 16, ..LIMITS };

    /// What bytes mean in both versions, at every split.
    fn meaning(bytes: &[u8]) -> Vec<Seen> {
        meaning_within(&LIMITS, bytes)
    }

    fn meaning_within(limits: &Limits, bytes: &[u8]) -> Vec<Seen> {
        let seen = at_every_split(Version::Hixie76, limits, bytes);
        assert_eq!(at_every_split(Version::Hixie75, limits, bytes), seen, "{bytes:x?}");
        seen
    }

    fn too_big() -> [Seen; 1] {
        [Seen::Failed(Violation::MessageTooBig)]
    }

    /// The state behind these reads, and what was seen.
    fn after(version: Version, limits: &Limits, reads: &[&[u8]]) -> (Decoder, Vec<Seen>) {
        let mut reader = Reader::new(version, limits);
        let seen = reader.read_all(reads.iter().copied());
        match reader.decoder {
            EitherDecoder::Hixie(decoder) => (*decoder, seen),
            EitherDecoder::Hybi(_) => panic!("the wrong decoder"),
        }
    }

    #[test]
    fn only_type_00_is_a_message() {
        for kind in 0..=0xff {
            let bytes = match kind {
                0..0x80 => [&[kind][..], b"a\0b\xff\0after\xff"].concat(),
                0x80.. => [&[kind][..], b"\x03\0b\xff\0after\xff"].concat(),
            };
            let seen = meaning(&bytes);
            assert_eq!(seen.last(), Some(&text("after")), "type {kind:x}");
            assert_eq!(seen.contains(&text("a\0b")), kind == 0, "type {kind:x}");
            assert_eq!(seen.len(), if kind == 0 { 2 } else { 1 }, "type {kind:x}");
        }
    }

    #[test]
    fn text_runs_up_to_the_first_ff() {
        for (bytes, expected) in [
            (&b"\0\xff"[..], vec![text("")]),
            (b"\0\0\xff", vec![text("\0")]),
            (b"\0\xc3\xbf\xff\0\x80\xff", vec![text("\u{ff}"), text("\u{fffd}")]),
            (b"\0a\xff\0\xff\0b", vec![text("a"), text("")]),
            (b"\0\x80\x00\xff", vec![text("\u{fffd}\0")]),
        ] {
            assert_eq!(meaning(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn frames_with_a_length_are_skipped_unread() {
        for skipped in [
            &b"\x80\x00"[..],
            b"\x80\x80\x00",
            b"\x80\x03\xff\x00\xff",
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\xff\xff",
            b"\xff\x02\xff\x00",
            b"\xfe\x01\x00",
            &[&b"\x80\x81\x00"[..], &[0xff; 128]].concat(),
        ] {
            let bytes = [skipped, b"\0after\xff"].concat();
            assert_eq!(meaning(&bytes), [text("after")], "{skipped:x?}");
        }
    }

    #[test]
    fn ff_with_no_bytes_is_a_close_in_76_and_nothing_in_75() {
        for close in
            [&b"\xff\x00"[..], b"\xff\x80\x00", b"\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"]
        {
            let bytes = [b"\0a\xff", close, b"\0b\xff"].concat();
            let seen = at_every_split(Version::Hixie76, &LIMITS, &bytes);
            assert_eq!(seen, [text("a"), Seen::Close(None)], "{close:x?}");
            let seen = at_every_split(Version::Hixie75, &LIMITS, &bytes);
            assert_eq!(seen, [text("a"), text("b")], "{close:x?}");
        }
    }

    #[test]
    fn the_limit_holds_for_text_that_does_not_end() {
        let sixteen = b"0123456789abcdef";
        for kind in [0x00, 0x01, 0x7f] {
            let within = [&[kind][..], sixteen].concat();
            assert_eq!(meaning_within(&SMALL, &within), []);
            assert_eq!(meaning_within(&SMALL, &[&within[..], b"g"].concat()), too_big());
            assert_eq!(meaning_within(&SMALL, &[&within[..], b"g\xff\0a\xff"].concat()), too_big());
        }
        let whole =
            [b"\0", &sixteen[..], b"\xff\x01", sixteen, b"\xff\0", sixteen, b"\xff"].concat();
        let sixteen = str::from_utf8(sixteen).unwrap();
        assert_eq!(meaning_within(&SMALL, &whole), [text(sixteen), text(sixteen)]);
    }

    #[test]
    fn the_limit_holds_for_announced_lengths() {
        for bytes in [
            &b"\x80\x11"[..],
            b"\x80\x81\x00",
            b"\x80\x91",
            b"\xff\x11",
            b"\x80\x80\x80\x11",
            b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        ] {
            assert_eq!(meaning_within(&SMALL, bytes), too_big(), "{bytes:x?}");
        }
        let exact = [b"\x80\x10", &[0xff; 16][..], b"\0a\xff"].concat();
        assert_eq!(meaning_within(&SMALL, &exact), [text("a")]);
    }

    #[test]
    fn lengths_neither_overflow_nor_go_on_for_ever() {
        let no_limit = Limits { message: usize::MAX, ..LIMITS };
        let overflow = [&[0x80][..], &[0xff; 9], &[0x7f]].concat();
        let (decoder, seen) = after(Version::Hixie76, &no_limit, &[&overflow]);
        assert_eq!((seen, decoder.state), (vec![], State::Skip { left: u64::MAX }));
        assert_eq!(meaning(&[0x80; 11]), []);
        assert_eq!(meaning(&[0x80; 12]), too_big());
        assert_eq!(meaning_within(&no_limit, &[&[0x80; 11][..], &[0x00]].concat()), too_big());
        assert_eq!(meaning(&[&[0x80; 10][..], b"\x00\0a\xff"].concat()), [text("a")]);
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_replaced() {
        for (bytes, expected) in [
            (&b"a\xc0\xafb"[..], "a\u{fffd}\u{fffd}b"),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xe2\x82", "\u{fffd}"),
            (b"\xf0\x9f\x98a", "\u{fffd}a"),
            (b"\xe2\x82\xac\x80", "\u{20ac}\u{fffd}"),
        ] {
            let frame = [b"\0", bytes, b"\xff\0next\xff"].concat();
            assert_eq!(meaning(&frame), [text(expected), text("next")], "{bytes:x?}");
        }
    }

    #[test]
    fn the_limit_is_that_of_the_text_with_what_was_replaced() {
        let wrong = |count| [b"\0", &vec![0x80; count][..], b"\xff"].concat();
        assert_eq!(meaning_within(&SMALL, &wrong(5)), [text(&REPLACEMENT.repeat(5))]);
        assert_eq!(meaning_within(&SMALL, &[wrong(6), wrong(1)].concat()), too_big());
    }

    #[test]
    fn nothing_is_read_behind_a_broken_limit() {
        let bytes = b"\x80\x11\0a\xff\xff\x00";
        assert_eq!(meaning_within(&SMALL, bytes), too_big());
    }

    #[test]
    fn a_whole_text_is_lent_from_the_input() {
        let mut input = *b"\0hi\xff";
        let mut decoder = Decoder::new(Version::Hixie76);
        let event = decoder.next(&mut &mut input[..], &LIMITS);
        assert_eq!(event, Some(Event::Message(Message::Text("hi"))));
        assert_eq!((decoder.text.capacity(), decoder.mended.capacity()), (0, 0));
    }

    #[test]
    fn a_text_in_pieces_is_lent_then_freed() {
        let (mut decoder, _) = after(Version::Hixie76, &LIMITS, &[b"\0a"]);
        let mut bytes = *b"\x80\xff";
        let mut input = &mut bytes[..];
        let event = decoder.next(&mut input, &LIMITS);
        assert_eq!(event, Some(Event::Message(Message::Text("a\u{fffd}"))));
        assert!(decoder.text.capacity() > 0 && decoder.mended.capacity() > 0);
        assert_eq!(decoder.next(&mut input, &LIMITS), None);
        assert_eq!((decoder.text.capacity(), decoder.mended.capacity()), (0, 0));
    }

    #[test]
    fn a_text_is_under_way_from_its_first_byte_to_its_end() {
        for (bytes, come) in [
            (&b""[..], None),
            (b"\0", None),
            (b"\0ab", Some(2)),
            (b"\0ab\xff", None),
            (b"\x80\x05ab", None),
            (b"\0ab\xff\x01cd", None),
        ] {
            let (mut decoder, _) = after(Version::Hixie76, &LIMITS, &[bytes]);
            *decoder.begun() = 5;
            assert_eq!(decoder.under_way(), come.map(|come| (5, come)), "{bytes:x?}");
        }
    }

    #[test]
    fn an_idle_decoder_keeps_nothing() {
        let bytes = b"\x80\x02\0\0\0a\x80\xff\x01zz\xff\0text\xff";
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            let (decoder, seen) = after(Version::Hixie75, &LIMITS, &[first, second]);
            assert_eq!(seen, [text("a\u{fffd}"), text("text")]);
            assert_eq!((decoder.text.capacity(), decoder.mended.capacity()), (0, 0), "{cut}");
            assert_eq!(decoder.state, State::Type);
        }
    }

    #[test]
    fn text_is_encoded_between_00_and_ff() {
        let mut out = b"before".to_vec();
        Framing::Hixie.encode(Message::Text("\u{ff}\0"), &mut Pool::default(), &mut out).unwrap();
        assert_eq!(out, b"before\0\xc3\xbf\0\xff");
        assert!(
            !Framing::Hixie.encode(Message::Binary(b""), &mut Pool::default(), &mut out).unwrap()
        );
    }
}
