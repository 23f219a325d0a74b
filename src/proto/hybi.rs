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
        self.partial.get_or_insert_default().control.extend_from_slice(piece);
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
