//! The framing of hixie-75 and -76 (section 5.3 of the latter): text between 0x00 and 0xFF.
//! Hixie-76 is 75 and a closing handshake, FF 00.

use memchr::memchr;

use super::close::Violation;
use super::{Event, Limits, Message, Version};

const TEXT: u8 = 0x00;
const END: u8 = 0xff;
/// From this type octet on a frame announces its length.
const WITH_LENGTH: u8 = 0x80;
/// A length's 7-bit groups: as many as can say anything, so that `80 80 80 …` comes to an end.
const MAX_LENGTH_OCTETS: u8 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a frame's type octet.
    Type,
    /// In a text frame.
    Text,
    /// In a frame of the types 01 to 7F, which mean nothing: up to its FF.
    Unknown { seen: usize },
    /// In the length of a frame of the types 80 to FF.
    Length { kind: u8, value: u64, octets: u8 },
    /// In the octets of such a frame: they mean nothing either.
    Skip { left: u64 },
    /// After the peer's close, or a broken limit: nothing more is read.
    Done,
}

/// What one step of the decoder came to.
enum Step {
    Starved,
    Onward,
    /// A text frame is whole in `input[start..end]`.
    Text {
        start: usize,
        end: usize,
    },
    /// A text frame is whole in `self.text`.
    KeptText,
    Close,
}

/// Cuts a client's octets into messages.
#[derive(Debug)]
pub(crate) struct Decoder {
    version: Version,
    state: State,
    /// What has come of a text frame that is not whole, or the message last lent out.
    text: Vec<u8>,
    /// A message whose wrong octets were replaced.
    mended: String,
    lent: bool,
}

impl Decoder {
    pub(super) fn new(version: Version) -> Decoder {
        Decoder {
            version,
            state: State::Type,
            text: Vec::new(),
            mended: String::new(),
            lent: false,
        }
    }

    /// See [`super::Decoder::next`].
    pub(super) fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        used: &mut usize,
        limits: &Limits,
    ) -> Option<Event<'a>> {
        if std::mem::take(&mut self.lent) {
            self.text = Vec::new();
            self.mended = String::new();
        }
        loop {
            match self.step(input, used, limits.message) {
                Err(violation) => {
                    self.state = State::Done;
                    return Some(Event::Failed(violation));
                }
                Ok(Step::Starved) => return None,
                Ok(Step::Onward) => {}
                Ok(Step::Text { start, end }) => {
                    self.lent = true;
                    let octets = input.get(start..end)?;
                    return Some(Event::Message(mend(octets, &mut self.mended)));
                }
                Ok(Step::KeptText) => {
                    self.lent = true;
                    return Some(Event::Message(mend(&self.text, &mut self.mended)));
                }
                Ok(Step::Close) => {
                    self.state = State::Done;
                    return Some(Event::Close(None));
                }
            }
        }
    }

    #[cfg(fuzzing)]
    pub(super) fn held(&self) -> usize {
        self.text.capacity() + self.mended.capacity()
    }

    fn step(&mut self, input: &[u8], used: &mut usize, limit: usize) -> Result<Step, Violation> {
        let Some((&first, _)) = input.get(*used..).and_then(<[u8]>::split_first) else {
            return Ok(Step::Starved);
        };
        match self.state {
            State::Type => {
                *used += 1;
                self.state = match first {
                    TEXT => State::Text,
                    WITH_LENGTH.. => State::Length { kind: first, value: 0, octets: 0 },
                    _ => State::Unknown { seen: 0 },
                };
                Ok(Step::Onward)
            }
            State::Text => self.read_text(input, used, limit),
            State::Unknown { seen } => self.discard(input, used, seen, limit),
            State::Length { kind, value, octets } => {
                *used += 1;
                let value = value.saturating_mul(128) | u64::from(first & 0x7f);
                self.read_length(first, kind, value, octets + 1, limit)
            }
            State::Skip { left } => {
                let rest = (input.len() - *used) as u64;
                let skipped = left.min(rest);
                *used += skipped as usize;
                self.state = skip(left - skipped);
                Ok(Step::Onward)
            }
            State::Done => {
                *used = input.len();
                Ok(Step::Starved)
            }
        }
    }

    /// Takes text up to FF, or all there is. The limit holds before the FF has come.
    fn read_text(
        &mut self,
        input: &[u8],
        used: &mut usize,
        limit: usize,
    ) -> Result<Step, Violation> {
        let start = *used;
        let fresh = input.get(start..).unwrap_or_default();
        let end = memchr(END, fresh);
        let piece = &fresh[..end.unwrap_or(fresh.len())];
        if piece.len() > limit.saturating_sub(self.text.len()) {
            return Err(Violation::MessageTooBig);
        }
        *used += piece.len();
        if end.is_none() {
            self.text.extend_from_slice(piece);
            return Ok(Step::Starved);
        }
        *used += 1;
        self.state = State::Type;
        if self.text.is_empty() {
            return Ok(Step::Text { start, end: start + piece.len() });
        }
        self.text.extend_from_slice(piece);
        Ok(Step::KeptText)
    }

    fn discard(
        &mut self,
        input: &[u8],
        used: &mut usize,
        seen: usize,
        limit: usize,
    ) -> Result<Step, Violation> {
        let fresh = input.get(*used..).unwrap_or_default();
        let end = memchr(END, fresh);
        let seen = seen + end.unwrap_or(fresh.len());
        if seen > limit {
            return Err(Violation::MessageTooBig);
        }
        *used += end.map_or(fresh.len(), |end| end + 1);
        self.state = if end.is_some() { State::Type } else { State::Unknown { seen } };
        Ok(Step::Onward)
    }

    /// One more 7-bit group of a length; the last is the one whose top bit is clear.
    fn read_length(
        &mut self,
        octet: u8,
        kind: u8,
        value: u64,
        octets: u8,
        limit: usize,
    ) -> Result<Step, Violation> {
        if value > limit as u64 || octets > MAX_LENGTH_OCTETS {
            return Err(Violation::MessageTooBig);
        }
        if octet & 0x80 != 0 {
            self.state = State::Length { kind, value, octets };
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

/// Section 5.4 leaves servers free what to do with octets that are not UTF-8. WebKit of 2010 writes
/// a lone surrogate as three of them, so they are replaced by U+FFFD rather than refused.
fn mend<'a>(octets: &'a [u8], mended: &'a mut String) -> Message<'a> {
    if let Ok(text) = str::from_utf8(octets) {
        return Message::Text(text);
    }
    *mended = String::from_utf8_lossy(octets).into_owned();
    Message::Text(mended)
}

pub(super) fn encode(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(TEXT);
    out.extend_from_slice(text.as_bytes());
    out.push(END);
}
