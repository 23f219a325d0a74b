//! The framing of RFC 6455 section 5, and of hybi-07 and -08, which differ in what they let pass.

use std::ops::Range;

use super::close::{self, Violation};
use super::mask::unmask;
use super::utf8::Text;
use super::{Event, Limits, Message, Version, Wrapping};
use crate::pool::Pool;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xa;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const MASKED: u8 = 0x80;

/// The longest frame head from a client: two octets, the 64-bit length, the masking key.
const MAX_HEAD: usize = 14;
/// The longest payload of a control frame (section 5.5).
const MAX_CONTROL: usize = 125;
/// An announced payload gets this much memory at once; more as it arrives.
const RESERVE_AT_ONCE: usize = 64 * 1024;
/// So much must be missing for octets to be read past the receive buffer.
const LAND_FROM: usize = 16 * 1024;

/// A frame's head, checked.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    fin: bool,
    opcode: u8,
    key: [u8; 4],
    len: u64,
}

impl Head {
    fn is_control(self) -> bool {
        self.opcode >= CLOSE
    }

    /// Reads a head from the front of `octets`: the head and its own length, or `None` if it is
    /// not whole yet. What can be refused by the first two octets is refused by them.
    fn parse(octets: &[u8], version: Version) -> Result<Option<(Head, usize)>, Violation> {
        let [first, second, rest @ ..] = octets else { return Ok(None) };
        let opcode = first & 0x0f;
        let fin = first & FIN != 0;
        let short_len = second & 0x7f;
        // Section 5.2, and 5.1 for the mask; no extension that uses a reserved bit is spoken here.
        if first & RESERVED_BITS != 0 {
            return Err(Violation::ReservedBit);
        }
        if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
            return Err(Violation::ReservedOpcode);
        }
        if second & MASKED == 0 {
            return Err(Violation::Unmasked);
        }
        // Section 5.5.
        if opcode >= CLOSE && !fin {
            return Err(Violation::ControlFragmented);
        }
        if opcode >= CLOSE && usize::from(short_len) > MAX_CONTROL {
            return Err(Violation::ControlTooLong);
        }
        let (len, key, size) = match (short_len, rest) {
            (126, [a, b, key @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), key, 8),
            (127, [a, b, c, d, e, f, g, h, key @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), key, MAX_HEAD)
            }
            (126 | 127, _) => return Ok(None),
            (len, key) => (u64::from(len), key, 6),
        };
        check_len(len, short_len, version)?;
        let Some(key) = key.first_chunk() else { return Ok(None) };
        Ok(Some((Head { fin, opcode, key: *key, len }, size)))
    }
}

/// Section 5.2: the shortest of the three forms, and no more than 63 bits. Firefox 6 to 10 wrote
/// 65,535 in the long form, so the drafts may.
fn check_len(len: u64, short_len: u8, version: Version) -> Result<(), Violation> {
    let shortest = match len {
        0..=125 => short_len <= 125,
        126..=0xffff => short_len == 126,
        _ => short_len == 127,
    };
    if len >> 63 != 0 {
        Err(Violation::LengthTopBit)
    } else if !shortest && version == Version::Rfc6455 {
        Err(Violation::LengthNotMinimal)
    } else {
        Ok(())
    }
}

/// What is kept while something is incomplete; an idle connection has none.
#[derive(Debug, Default)]
struct Partial {
    /// The opcode of the message whose fragments are coming in.
    opcode: Option<u8>,
    /// Its fragments behind the first.
    continuations: u32,
    text: Text,
    binary: Vec<u8>,
    /// A control frame's payload; it may come between the fragments.
    control: Vec<u8>,
}

impl Partial {
    /// Begins a message, in a buffer from the pool.
    fn begin(&mut self, opcode: u8, buffer: Vec<u8>) {
        self.opcode = Some(opcode);
        if opcode == TEXT {
            self.text = Text::within(buffer);
        } else {
            self.binary = buffer;
        }
    }

    /// Makes room for octets that are here and for some of those that are announced: no more than
    /// have come already, since an announcement costs the peer nothing.
    fn reserve(&mut self, here: usize, announced: usize) {
        let room = here + announced.min(RESERVE_AT_ONCE.max(self.message_len() + here));
        if self.opcode == Some(TEXT) {
            self.text.reserve(room);
        } else {
            self.binary.reserve(room);
        }
    }

    fn message_len(&self) -> usize {
        self.text.len() + self.binary.len()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waiting for the rest of a frame's head.
    Head,
    /// Taking in a frame's payload.
    Payload,
    /// After the peer's close, or a broken rule: nothing more is read.
    Done,
}

/// What one step of the decoder came to.
enum Step {
    /// All input is taken in.
    Starved,
    /// Something, but no event.
    Onward,
    /// A frame is whole and lies unmasked in the input.
    Frame(Range<usize>),
    /// A message is whole in `Partial`.
    Message,
    /// A control frame is whole in `Partial`.
    Control,
}

/// Cuts a client's octets into messages and control frames.
#[derive(Debug)]
pub(crate) struct Decoder {
    version: Version,
    state: State,
    /// The first octets of a head that came in pieces.
    head_octets: [u8; MAX_HEAD],
    head_len: u8,
    /// The frame at hand; `len` counts down to what is still to come of it.
    frame: Head,
    partial: Option<Box<Partial>>,
    /// The last event lent out what `partial` holds; it goes before the next.
    lent: Option<Lent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lent {
    Message,
    Control,
}

impl Decoder {
    pub(super) fn new(version: Version) -> Decoder {
        Decoder {
            version,
            state: State::Head,
            head_octets: [0; MAX_HEAD],
            head_len: 0,
            frame: Head::default(),
            partial: None,
            lent: None,
        }
    }

    /// See [`super::Decoder::next`].
    pub(super) fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        used: &mut usize,
        limits: &Limits,
        pool: &mut Pool,
    ) -> Option<Event<'a>> {
        self.take_back(pool);
        loop {
            match self.step(input, used, limits, pool) {
                Err(violation) => return Some(self.fail(violation)),
                Ok(Step::Starved) => return None,
                Ok(Step::Onward) => {}
                Ok(Step::Frame(range)) => {
                    return Some(self.deliver(self.frame.opcode, input.get(range)?));
                }
                Ok(Step::Message) => return Some(self.deliver_message()),
                Ok(Step::Control) => return Some(self.deliver_control()),
            }
        }
    }

    fn step(
        &mut self,
        input: &mut [u8],
        used: &mut usize,
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<Step, Violation> {
        match self.state {
            State::Head => self.read_head(input, used, limits),
            State::Payload => self.read_payload(input, used, pool),
            State::Done => {
                *used = input.len();
                Ok(Step::Starved)
            }
        }
    }

    fn read_head(
        &mut self,
        input: &[u8],
        used: &mut usize,
        limits: &Limits,
    ) -> Result<Step, Violation> {
        let fresh = input.get(*used..).unwrap_or_default();
        let kept = usize::from(self.head_len);
        if kept == 0
            && let Some((head, size)) = Head::parse(fresh, self.version)?
        {
            *used += size;
            return self.begin(head, limits);
        }
        let room = &mut self.head_octets[kept..];
        let taken = fresh.len().min(room.len());
        room[..taken].copy_from_slice(&fresh[..taken]);
        let Some((head, size)) = Head::parse(&self.head_octets[..kept + taken], self.version)?
        else {
            *used += taken;
            self.head_len = (kept + taken) as u8;
            return Ok(Step::Starved);
        };
        *used += size - kept;
        self.head_len = 0;
        self.begin(head, limits)
    }

    /// Starts a frame, if the message at hand and the limits allow it.
    fn begin(&mut self, head: Head, limits: &Limits) -> Result<Step, Violation> {
        if !head.is_control() {
            self.check_message(head, limits)?;
        }
        self.frame = head;
        self.state = State::Payload;
        Ok(Step::Onward)
    }

    /// Section 5.4, and the limits: by the announced length, before any of it is stored.
    fn check_message(&mut self, head: Head, limits: &Limits) -> Result<(), Violation> {
        let open = self.partial.as_deref_mut().filter(|partial| partial.opcode.is_some());
        let so_far = match (&open, head.opcode) {
            (None, CONTINUATION) => return Err(Violation::ContinuationOfNothing),
            (Some(partial), CONTINUATION) => partial.message_len(),
            (Some(_), _) => return Err(Violation::MessageInMessage),
            (None, _) => 0,
        };
        if head.len > limits.message.saturating_sub(so_far) as u64 {
            return Err(Violation::MessageTooBig);
        }
        if let Some(partial) = open {
            partial.continuations = partial.continuations.saturating_add(1);
            if partial.continuations >= limits.fragments {
                return Err(Violation::TooManyFragments);
            }
        }
        Ok(())
    }

    fn read_payload(
        &mut self,
        input: &mut [u8],
        used: &mut usize,
        pool: &mut Pool,
    ) -> Result<Step, Violation> {
        let fresh = input.get_mut(*used..).unwrap_or_default();
        let taken = self.to_come().min(fresh.len());
        let piece = &mut fresh[..taken];
        unmask(piece, &mut self.frame.key);
        let range = *used..*used + taken;
        *used += taken;
        self.frame.len -= taken as u64;
        let ended = self.frame.len == 0;
        if ended {
            self.state = State::Head;
        }
        if self.frame.is_control() {
            return Ok(self.read_control(piece, ended, range));
        }
        let fragmented = self.partial.as_ref().is_some_and(|partial| partial.opcode.is_some());
        if ended && self.frame.fin && !fragmented {
            return Ok(Step::Frame(range));
        }
        if taken == 0 && !ended {
            return Ok(Step::Starved);
        }
        self.keep(piece, pool)?;
        Ok(match (ended, self.frame.fin) {
            (true, true) => Step::Message,
            (true, false) => Step::Onward,
            (false, _) => Step::Starved,
        })
    }

    fn read_control(&mut self, piece: &[u8], ended: bool, range: Range<usize>) -> Step {
        let kept = self.partial.as_ref().is_some_and(|partial| !partial.control.is_empty());
        if ended && !kept {
            return Step::Frame(range);
        }
        if !piece.is_empty() {
            self.partial.get_or_insert_default().control.extend_from_slice(piece);
        }
        if ended { Step::Control } else { Step::Starved }
    }

    /// Keeps a piece of a message that is not whole yet; text is checked now, not at the end
    /// (section 8.1).
    fn keep(&mut self, piece: &[u8], pool: &mut Pool) -> Result<(), Violation> {
        let (opcode, to_come) = (self.frame.opcode, self.to_come());
        let partial = self.partial.get_or_insert_default();
        if partial.opcode.is_none() {
            partial.begin(opcode, pool.take(piece.len().saturating_add(to_come)));
        }
        partial.reserve(piece.len(), to_come);
        if partial.opcode == Some(TEXT) {
            partial.text.push(piece).map_err(|_| Violation::NotUtf8)
        } else {
            partial.binary.extend_from_slice(piece);
            Ok(())
        }
    }

    /// Octets of the frame at hand that are still to come.
    fn to_come(&self) -> usize {
        usize::try_from(self.frame.len).unwrap_or(usize::MAX)
    }

    /// Where the next octets may be read to directly: in the midst of a large binary frame, into
    /// the message itself. [`landed`](Decoder::landed) must be told.
    pub(super) fn landing(&mut self) -> Option<&mut Vec<u8>> {
        let to_come = self.to_come();
        if self.state != State::Payload || to_come < LAND_FROM || self.frame.is_control() {
            return None;
        }
        let partial =
            self.partial.as_deref_mut().filter(|partial| partial.opcode == Some(BINARY))?;
        partial.reserve(0, to_come);
        Some(&mut partial.binary)
    }

    /// So many octets were read directly. Gives back those behind the frame's end.
    pub(super) fn landed(&mut self, octets: usize) -> Vec<u8> {
        let ours = octets.min(self.to_come());
        let Some(partial) = self.partial.as_deref_mut() else { return Vec::new() };
        let start = partial.binary.len().saturating_sub(octets);
        let behind = partial.binary.split_off(start + ours);
        unmask(&mut partial.binary[start..], &mut self.frame.key);
        self.frame.len -= ours as u64;
        behind
    }

    fn deliver<'a>(&mut self, opcode: u8, payload: &'a [u8]) -> Event<'a> {
        match opcode {
            TEXT => match str::from_utf8(payload) {
                Ok(text) => Event::Message(Message::Text(text)),
                Err(_) => self.fail(Violation::NotUtf8),
            },
            PING => Event::Ping(payload),
            PONG => Event::Pong,
            CLOSE => match close::parse(self.version, payload) {
                Ok(close) => {
                    self.state = State::Done;
                    Event::Close(close)
                }
                Err(violation) => self.fail(violation),
            },
            _ => Event::Message(Message::Binary(payload)),
        }
    }

    fn deliver_message(&mut self) -> Event<'_> {
        self.lent = Some(Lent::Message);
        let partial = self.partial.get_or_insert_default();
        if partial.opcode != Some(TEXT) {
            return Event::Message(Message::Binary(&partial.binary));
        }
        match partial.text.finish() {
            Ok(text) => Event::Message(Message::Text(text)),
            Err(_) => {
                self.state = State::Done;
                Event::Failed(Violation::NotUtf8)
            }
        }
    }

    fn deliver_control(&mut self) -> Event<'_> {
        self.lent = Some(Lent::Control);
        let partial = self.partial.get_or_insert_default();
        match self.frame.opcode {
            PING => Event::Ping(&partial.control),
            PONG => Event::Pong,
            _ => {
                self.state = State::Done;
                match close::parse(self.version, &partial.control) {
                    Ok(close) => Event::Close(close),
                    Err(violation) => Event::Failed(violation),
                }
            }
        }
    }

    /// Takes back what the last event lent out. Nothing can lie between the last fragment of a
    /// message and its delivery, so with the message everything goes.
    fn take_back(&mut self, pool: &mut Pool) {
        match self.lent.take() {
            None => {}
            Some(Lent::Message) => {
                let partial = self.partial.take().unwrap_or_default();
                pool.give(partial.binary);
                pool.give(partial.text.into_buffer());
            }
            Some(Lent::Control) => {
                if let Some(partial) = &mut self.partial {
                    partial.control = Vec::new();
                }
                self.partial.take_if(|partial| partial.opcode.is_none());
            }
        }
    }

    fn fail<'a>(&mut self, violation: Violation) -> Event<'a> {
        self.state = State::Done;
        self.partial = None;
        Event::Failed(violation)
    }
}

/// The head of a server's frame: unfragmented, not masked, in the shortest form.
fn head(opcode: u8, len: usize) -> Wrapping {
    let mut head = Wrapping::default();
    match len {
        0..=125 => head.push(&[FIN | opcode, len as u8]),
        126..=0xffff => {
            head.push(&[FIN | opcode, 126]);
            head.push(&(len as u16).to_be_bytes());
        }
        _ => {
            head.push(&[FIN | opcode, 127]);
            head.push(&(len as u64).to_be_bytes());
        }
    }
    head
}

pub(super) fn wrap(message: Message<'_>) -> Wrapping {
    let opcode = if matches!(message, Message::Text(_)) { TEXT } else { BINARY };
    head(opcode, message.as_bytes().len())
}

/// Appends a control frame; what is over 125 octets of payload is left off.
pub(super) fn encode_control(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    let payload = &payload[..payload.len().min(MAX_CONTROL)];
    out.extend_from_slice(head(opcode, payload.len()).head());
    out.extend_from_slice(payload);
}

pub(super) fn encode_close(close: Option<(u16, &str)>, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(MAX_CONTROL);
    if let Some((code, reason)) = close {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(close::truncate_reason(reason).as_bytes());
    }
    encode_control(CLOSE, &payload, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tests::{LIMITS, Seen, at_every_split, decode, feed, masked, text};

    const HYBI: [Version; 3] = [Version::Hybi07, Version::Hybi08, Version::Rfc6455];
    const NO_KEY: [u8; 4] = [0; 4];

    fn binary(octets: &[u8]) -> Seen {
        Seen::Binary(octets.to_vec())
    }

    fn ping(payload: &[u8]) -> Seen {
        Seen::Ping(payload.to_vec())
    }

    fn failed(violation: Violation) -> Vec<Seen> {
        vec![Seen::Failed(violation)]
    }

    /// The state behind these reads, and what was seen.
    fn after(limits: &Limits, pieces: &[&[u8]]) -> (Decoder, Vec<Seen>) {
        let mut decoder = super::super::Decoder::new(Version::Rfc6455);
        let seen = pieces.iter().flat_map(|piece| feed(&mut decoder, piece, limits)).collect();
        match decoder {
            super::super::Decoder::Hybi(decoder) => (decoder, seen),
            super::super::Decoder::Hixie(_) => panic!("the wrong decoder"),
        }
    }

    /// What octets mean, at every split and in every version.
    fn meaning(octets: &[u8]) -> Vec<Seen> {
        meaning_within(&LIMITS, octets)
    }

    fn meaning_within(limits: &Limits, octets: &[u8]) -> Vec<Seen> {
        let [a, b, c] = HYBI.map(|version| at_every_split(version, limits, octets));
        assert!(a == b && b == c, "{octets:x?}");
        c
    }

    #[test]
    fn heads_have_three_forms() {
        for (octets, opcode, len) in [
            (&b"\x81\x80abcd"[..], TEXT, 0),
            (b"\x81\xfdabcd", TEXT, 125),
            (b"\x82\xfe\x00\x7eabcd", BINARY, 126),
            (b"\x80\xfe\xff\xffabcd", CONTINUATION, 0xffff),
            (b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00abcd", BINARY, 0x1_0000),
            (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd", BINARY, (1 << 63) - 1),
            (b"\x88\x82abcd", CLOSE, 2),
        ] {
            let (head, size) = Head::parse(octets, Version::Rfc6455).unwrap().unwrap();
            assert_eq!((head.fin, head.opcode, head.len), (true, opcode, len), "{octets:x?}");
            assert_eq!((size, &head.key), (octets.len(), b"abcd"), "{octets:x?}");
            for cut in 0..octets.len() {
                let head = Head::parse(&octets[..cut], Version::Rfc6455);
                assert!(matches!(head, Ok(None)), "{octets:x?} cut at {cut}");
            }
        }
    }

    #[test]
    fn two_octets_are_enough_to_refuse_a_frame() {
        for (octets, violation) in [
            (b"\xc1\x80", Violation::ReservedBit),
            (b"\xa1\x80", Violation::ReservedBit),
            (b"\x91\x80", Violation::ReservedBit),
            (b"\x83\x80", Violation::ReservedOpcode),
            (b"\x87\x80", Violation::ReservedOpcode),
            (b"\x8b\x80", Violation::ReservedOpcode),
            (b"\x8f\x80", Violation::ReservedOpcode),
            (b"\x81\x00", Violation::Unmasked),
            (b"\x88\x02", Violation::Unmasked),
            (b"\x81\x7f", Violation::Unmasked),
            (b"\x08\x80", Violation::ControlFragmented),
            (b"\x09\x80", Violation::ControlFragmented),
            (b"\x0a\x80", Violation::ControlFragmented),
            (b"\x88\xfe", Violation::ControlTooLong),
            (b"\x89\xfe", Violation::ControlTooLong),
            (b"\x8a\xff", Violation::ControlTooLong),
        ] {
            assert_eq!(meaning(octets), failed(violation), "{octets:x?}");
        }
    }

    #[test]
    fn six_opcodes_are_known() {
        let is_known = |opcode| Head::parse(&[FIN | opcode, MASKED], Version::Rfc6455).is_ok();
        let known: Vec<u8> = (0..16).filter(|opcode| is_known(*opcode)).collect();
        assert_eq!(known, [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG]);
    }

    #[test]
    fn lengths_may_be_longer_than_needed_in_the_drafts_only() {
        for (octets, expected) in [
            (&b"\x81\xfe\x00\x02\0\0\0\0hi"[..], text("hi")),
            (b"\x81\xfe\x00\x00\0\0\0\0", text("")),
            (b"\x82\xff\0\0\0\0\0\0\0\x02\0\0\0\0hi", binary(b"hi")),
            (&[&b"\x82\xfe\x00\x7d\0\0\0\0"[..], &[7; 125]].concat(), Seen::Binary(vec![7; 125])),
            (
                &[&b"\x82\xff\0\0\0\0\0\0\x00\x7e\0\0\0\0"[..], &[7; 126]].concat(),
                Seen::Binary(vec![7; 126]),
            ),
        ] {
            for version in [Version::Hybi07, Version::Hybi08] {
                assert_eq!(at_every_split(version, &LIMITS, octets), [expected.clone()]);
            }
            let seen = at_every_split(Version::Rfc6455, &LIMITS, octets);
            assert_eq!(seen, failed(Violation::LengthNotMinimal), "{octets:.20x?}");
        }
    }

    #[test]
    fn lengths_of_64_bits_are_refused_before_the_key_has_come() {
        let octets = b"\x82\xff\x80\0\0\0\0\0\0\0";
        assert_eq!(meaning(octets), failed(Violation::LengthTopBit));
    }

    #[test]
    fn messages_are_unmasked_where_they_lie() {
        let mut input = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let mut decoder = Decoder::new(Version::Rfc6455);
        let event = decoder.next(&mut input, &mut 0, &LIMITS);
        assert_eq!(event, Some(Event::Message(Message::Text("Hello"))));
        assert!(decoder.partial.is_none());
        assert_eq!(&input[6..], b"Hello");
    }

    #[test]
    fn control_frames_may_come_between_fragments() {
        let octets = [
            &b"\x01\x83\0\0\0\0Hel"[..],
            b"\x89\x81abcd\x11",
            b"\x8a\x80\0\0\0\0",
            b"\x00\x80\0\0\0\0",
            b"\x89\x80\0\0\0\0",
            b"\x80\x82abcd\x0d\x0d",
            b"\x82\x81\0\0\0\0x",
        ];
        let expected = [ping(b"p"), Seen::Pong, ping(b""), text("Hello"), binary(b"x")];
        assert_eq!(meaning(&octets.concat()), expected);
    }

    #[test]
    fn a_ping_split_across_reads_leaves_the_message_around_it_alone() {
        let reads =
            [&b"\x01\x83\0\0\0\0Hel\x89\x84\0\0\0\0pi"[..], b"n", b"g\x80\x82\0\0", b"\0\0lo"];
        let (decoder, seen) = after(&LIMITS, &reads[..2]);
        assert_eq!(seen, []);
        let partial = decoder.partial.unwrap();
        assert_eq!((partial.text.finish(), &partial.control[..]), (Ok("Hel"), &b"pin"[..]));
        let (decoder, seen) = after(&LIMITS, &reads[..3]);
        assert_eq!(seen, [ping(b"ping")]);
        assert_eq!(decoder.partial.unwrap().control.capacity(), 0);
        let (decoder, seen) = after(&LIMITS, &reads);
        assert_eq!(seen, [ping(b"ping"), text("Hello")]);
        assert!(decoder.partial.is_none());
    }

    #[test]
    fn a_close_between_fragments_ends_the_message_too() {
        let octets = b"\x01\x81\0\0\0\0a\x88\x80\0\0\0\0\x80\x81\0\0\0\0b";
        assert_eq!(meaning(octets), [Seen::Close(None)]);
    }

    #[test]
    fn fragments_follow_a_beginning_and_nothing_else() {
        for (octets, violation) in [
            (&b"\x80\x80\0\0\0\0"[..], Violation::ContinuationOfNothing),
            (b"\x00\x80\0\0\0\0", Violation::ContinuationOfNothing),
            (b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", Violation::MessageInMessage),
            (b"\x02\x81\0\0\0\0a\x01\x80\0\0\0\0", Violation::MessageInMessage),
        ] {
            assert_eq!(meaning(octets), failed(violation), "{octets:x?}");
        }
        let octets = b"\x01\x80\0\0\0\0\x80\x80\0\0\0\0\x80\x80\0\0\0\0";
        let expected = [text(""), Seen::Failed(Violation::ContinuationOfNothing)];
        assert_eq!(meaning(octets), expected);
    }

    #[test]
    fn an_announced_length_over_the_limit_takes_no_memory() {
        let limits = Limits { message: 1024, ..LIMITS };
        for octets in [
            &b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"[..],
            b"\x81\xfe\x04\x01\0\0\0\0",
            b"\x02\x81\0\0\0\0a\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
            b"\x01\x81\0\0\0\0a\x80\xfe\x04\x00\0\0\0\0",
        ] {
            assert_eq!(meaning_within(&limits, octets), failed(Violation::MessageTooBig));
            assert!(after(&limits, &[octets]).0.partial.is_none(), "{octets:x?}");
        }
    }

    #[test]
    fn an_announced_length_within_the_limit_takes_no_more_than_arrives_for_long() {
        let limits = Limits { message: usize::MAX, ..LIMITS };
        for first in [0x81, 0x82] {
            let octets = [&[first][..], b"\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0a"].concat();
            let (decoder, seen) = after(&limits, &octets.chunks(1).collect::<Vec<_>>());
            assert_eq!(seen, []);
            let partial = decoder.partial.unwrap();
            assert_eq!(partial.message_len(), 1);
            assert!(partial.binary.capacity() <= 2 * RESERVE_AT_ONCE);
        }
    }

    #[test]
    fn the_limit_itself_is_within_it() {
        let limits = Limits { message: 4, ..LIMITS };
        let whole = [masked(0x82, NO_KEY, b"1234"), masked(0x81, NO_KEY, b"5678")].concat();
        assert_eq!(meaning_within(&limits, &whole), [binary(b"1234"), text("5678")]);
        let halves = [masked(0x02, NO_KEY, b"12"), masked(0x80, NO_KEY, b"34")].concat();
        assert_eq!(meaning_within(&limits, &halves), [binary(b"1234")]);
        let none = Limits { message: 0, ..LIMITS };
        assert_eq!(meaning_within(&none, &masked(0x82, NO_KEY, b"")), [binary(b"")]);
        assert_eq!(meaning_within(&none, &masked(0x89, NO_KEY, b"12")), [ping(b"12")]);
    }

    /// `count` fragments of one octet, a ping behind each but the last.
    fn in_fragments(count: usize) -> Vec<u8> {
        let fragment = |index| {
            let first = if index == 0 { BINARY } else { CONTINUATION };
            if index + 1 == count {
                return masked(FIN | first, NO_KEY, b"x");
            }
            [masked(first, NO_KEY, b"x"), masked(FIN | PING, NO_KEY, b"")].concat()
        };
        (0..count).flat_map(fragment).collect()
    }

    #[test]
    fn all_fragments_of_a_message_are_counted_and_nothing_else() {
        let limits = Limits { fragments: 3, ..LIMITS };
        let mut expected = vec![ping(b""), ping(b""), binary(b"xxx")];
        expected.extend_from_within(..);
        assert_eq!(meaning_within(&limits, &in_fragments(3).repeat(2)), expected);
        let seen = meaning_within(&limits, &in_fragments(4));
        let refused = Seen::Failed(Violation::TooManyFragments);
        assert_eq!(seen, [ping(b""), ping(b""), ping(b""), refused]);
        let none = Limits { fragments: 0, ..LIMITS };
        assert_eq!(meaning_within(&none, &in_fragments(1)), [binary(b"x")]);
    }

    #[test]
    fn text_fails_at_its_first_wrong_octet_in_an_unfinished_frame() {
        for (start, good, bad) in [
            (&b"\x81\xfe\x03\xe8\0\0\0\0"[..], &b"abc"[..], 0xff),
            (b"\x81\xfe\x03\xe8\0\0\0\0", b"abc\xe2\x82", b'a'),
            (b"\x01\x8a\0\0\0\0", b"\xed", 0xa0),
            (b"\x01\x81\0\0\0\0\xf4\x00\x8a\0\0\0\0", b"", 0x90),
            (b"\x01\x81\0\0\0\0\xf0\x89\x81\0\0\0\0p\x80\x8a\0\0\0\0", b"\x9f", 0xc0),
        ] {
            let before = [start, good].concat();
            assert!(!meaning(&before).contains(&Seen::Failed(Violation::NotUtf8)));
            let (decoder, seen) = after(&LIMITS, &[&before, &[bad]]);
            assert_eq!(seen.last(), Some(&Seen::Failed(Violation::NotUtf8)), "{before:x?}");
            assert!(decoder.partial.is_none());
            meaning(&[&before[..], &[bad]].concat());
        }
    }

    #[test]
    fn text_ends_with_a_whole_character() {
        for octets in [
            &b"\x81\x82\0\0\0\0\xe2\x82"[..],
            b"\x01\x81\0\0\0\0\xe2\x80\x81\0\0\0\0\x82",
            b"\x01\x82\0\0\0\0\xe2\x82\x80\x80\0\0\0\0",
        ] {
            assert_eq!(meaning(octets), failed(Violation::NotUtf8), "{octets:x?}");
        }
        let across = b"\x01\x81\0\0\0\0\xe2\x00\x80\0\0\0\0\x80\x82\0\0\0\0\x82\xac";
        assert_eq!(meaning(across), [text("\u{20ac}")]);
    }

    #[test]
    fn binary_messages_and_pings_are_any_octets() {
        let octets =
            b"\x82\x82\0\0\0\0\xff\xc0\x89\x82\0\0\0\0\xff\xc0\x02\x81\0\0\0\0\xed\x80\x80\0\0\0\0";
        assert_eq!(meaning(octets), [binary(b"\xff\xc0"), ping(b"\xff\xc0"), binary(b"\xed")]);
    }

    #[test]
    fn control_frames_hold_125_octets() {
        let payload = [b'p'; 125];
        assert_eq!(meaning(&masked(0x89, [1, 2, 3, 4], &payload)), [ping(&payload)]);
        let close = [&b"\x03\xe8"[..], &[b'r'; 123]].concat();
        let reason = "r".repeat(123);
        let expected = [Seen::Close(Some((1000, reason)))];
        assert_eq!(meaning(&masked(0x88, [1, 2, 3, 4], &close)), expected);
    }

    #[test]
    fn close_frames_are_read_at_every_split() {
        for (octets, expected) in [
            (&b"\x88\x80abcd"[..], Seen::Close(None)),
            (b"\x88\x82\0\0\0\0\x03\xe8", Seen::Close(Some((1000, String::new())))),
            (b"\x88\x85\0\0\0\0\x0f\xa0bye", Seen::Close(Some((4000, "bye".to_string())))),
            (b"\x88\x85\0\0\0\0\x03\xe9\xe2\x82\xac", Seen::Close(Some((1001, "\u{20ac}".into())))),
            (b"\x88\x81\0\0\0\0\x03", Seen::Failed(Violation::CloseTooShort)),
            (b"\x88\x82\0\0\0\0\x03\xed", Seen::Failed(Violation::CloseCode)),
            (b"\x88\x82\0\0\0\0\0\0", Seen::Failed(Violation::CloseCode)),
            (b"\x88\x84\0\0\0\0\x03\xe8\xe2\x82", Seen::Failed(Violation::CloseReason)),
        ] {
            assert_eq!(meaning(octets), [expected], "{octets:x?}");
        }
    }

    #[test]
    fn close_code_1004_meant_too_large_in_the_drafts() {
        let octets = b"\x88\x82\0\0\0\0\x03\xec";
        for version in [Version::Hybi07, Version::Hybi08] {
            let expected = [Seen::Close(Some((1004, String::new())))];
            assert_eq!(at_every_split(version, &LIMITS, octets), expected);
        }
        let seen = at_every_split(Version::Rfc6455, &LIMITS, octets);
        assert_eq!(seen, failed(Violation::CloseCode));
    }

    #[test]
    fn nothing_is_read_behind_the_end() {
        for end in [&b"\x88\x80\0\0\0\0"[..], b"\x83\x80", b"\x81\x81\0\0\0\0\xff"] {
            let mut octets = end.to_vec();
            let expected = meaning(&octets);
            assert_eq!(expected.len(), 1);
            octets.extend_from_slice(b"\x81\x81\0\0\0\0a\x83\x80");
            assert_eq!(meaning(&octets), expected, "{octets:x?}");
        }
    }

    #[test]
    fn a_message_in_pieces_is_lent_then_freed() {
        let mut input = *b"\x80\x81\0\0\0\0b";
        let (mut decoder, _) = after(&LIMITS, &[b"\x02\x81\0\0\0\0a"]);
        let mut used = 0;
        let event = decoder.next(&mut input, &mut used, &LIMITS);
        assert_eq!(event, Some(Event::Message(Message::Binary(b"ab"))));
        assert!(decoder.partial.is_some());
        assert_eq!(decoder.next(&mut input, &mut used, &LIMITS), None);
        assert!(decoder.partial.is_none() && decoder.lent.is_none());
    }

    #[test]
    fn an_idle_decoder_keeps_nothing() {
        for octets in [
            masked(0x81, [1, 2, 3, 4], b"text"),
            masked(0x82, [1, 2, 3, 4], b""),
            masked(0x89, [1, 2, 3, 4], b"ping"),
            masked(0x8a, [1, 2, 3, 4], b""),
            masked(0x8a, [1, 2, 3, 4], b"pong"),
            in_fragments(3),
        ] {
            for cut in 0..=octets.len() {
                let (first, second) = octets.split_at(cut);
                let (decoder, seen) = after(&LIMITS, &[first, second]);
                assert!(!seen.is_empty());
                assert!(decoder.partial.is_none(), "{octets:x?} cut at {cut}");
                assert_eq!((decoder.state, decoder.head_len), (State::Head, 0));
            }
        }
    }

    #[test]
    fn messages_are_encoded_in_the_shortest_form() {
        for (len, head) in [
            (0, &b"\x82\x00"[..]),
            (125, b"\x82\x7d"),
            (126, b"\x82\x7e\x00\x7e"),
            (0xffff, b"\x82\x7e\xff\xff"),
            (0x1_0000, b"\x82\x7f\0\0\0\0\0\x01\0\0"),
        ] {
            let payload = vec![7; len];
            let mut out = b"before".to_vec();
            encode(Message::Binary(&payload), &mut out);
            assert!(out == [b"before", head, &payload].concat(), "{len} octets");
            assert_eq!(head_len(len), head.len());
        }
        let mut out = Vec::new();
        encode(Message::Text("\u{e9}"), &mut out);
        assert_eq!(out, b"\x81\x02\xc3\xa9");
    }

    #[test]
    fn control_frames_are_encoded_with_what_fits() {
        let mut out = Vec::new();
        encode_control(PONG, &[b'p'; 126], &mut out);
        assert_eq!(out, [&b"\x8a\x7d"[..], &[b'p'; 125]].concat());
        for (close, expected) in [
            (None, &b"\x88\x00"[..]),
            (Some((1000, "")), b"\x88\x02\x03\xe8"),
            (Some((4999, "bye")), b"\x88\x05\x13\x87bye"),
        ] {
            let mut out = Vec::new();
            encode_close(close, &mut out);
            assert_eq!(out, expected);
        }
        let (reason, mut out) = ("\u{20ac}".repeat(41) + "\u{e9}", Vec::new());
        encode_close(Some((1001, &reason)), &mut out);
        assert_eq!(out, [b"\x88\x7d\x03\xe9", "\u{20ac}".repeat(41).as_bytes()].concat());
        assert_eq!(Head::parse(&out, Version::Rfc6455).err(), Some(Violation::Unmasked));
    }

    #[test]
    fn frames_of_a_server_are_not_taken_from_a_client() {
        let mut out = Vec::new();
        encode(Message::Text("Hello"), &mut out);
        assert_eq!(decode(Version::Rfc6455, &LIMITS, [&out[..]]), failed(Violation::Unmasked));
    }
}
