//! The WebSocket versions, sans-I/O: bytes in, [`Event`]s out; messages in, bytes out.
//!
//! Nothing in this folder knows a socket, a clock or a log. `handshake` turns a request head into
//! the opening of one of five versions; from then on a [`Decoder`] and a [`Framing`] are all that
//! is needed. Who hears messages by plain HTTP has a [`Framing`] alone.

mod bytes;
pub(crate) mod close;
#[cfg_attr(not(feature = "deflate"), path = "no_deflate.rs")]
pub(crate) mod deflate;
mod events;
mod frame;
pub(crate) mod handshake;
mod hixie;
mod hybi;
pub(crate) mod lines;
mod mask;
pub(crate) mod memory;
mod partial;
pub(crate) mod pool;
mod utf8;

use std::fmt;

use bytes::Short;
pub(crate) use bytes::{put_rest, take};
pub(crate) use close::Violation;
use deflate::Agreed;
pub(crate) use frame::MAX_HEAD;

use crate::proto::pool::Pool;

/// The protocol versions that browsers shipped, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// draft-hixie-thewebsocketprotocol-75: Chrome 4 and 5, Safari 5.0.0.
    Hixie75,
    /// draft-hixie-thewebsocketprotocol-76, also called hybi-00: Chrome 6 to 13, Safari 5.0.1 and
    /// 5.1, iOS 4.2 to 5.
    Hixie76,
    /// draft-ietf-hybi-thewebsocketprotocol-07: Firefox 6.
    Hybi07,
    /// draft-ietf-hybi-thewebsocketprotocol-08 to -12: Chrome 14 and 15, Firefox 7 to 10.
    Hybi08,
    /// RFC 6455: every browser since 2012.
    Rfc6455,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Version; 5] =
        [Version::Hixie75, Version::Hixie76, Version::Hybi07, Version::Hybi08, Version::Rfc6455];

    /// Whether the version frames text only, between 0x00 and 0xFF, and knows neither binary
    /// messages, pings nor close codes.
    pub fn is_hixie(self) -> bool {
        matches!(self, Version::Hixie75 | Version::Hixie76)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::Hixie75 => "Hixie-75",
            Version::Hixie76 => "Hixie-76",
            Version::Hybi07 => "HyBi-07",
            Version::Hybi08 => "HyBi-08",
            Version::Rfc6455 => "RFC 6455",
        })
    }
}

/// One whole message, borrowed: from the receive buffer on its way in, from the handler on its
/// way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message<'a> {
    /// UTF-8 text, checked.
    Text(&'a str),
    /// Bytes. The Hixie versions cannot carry them.
    Binary(&'a [u8]),
}

impl Message<'_> {
    /// The payload, whichever kind it is.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Message::Binary(bytes)
    }
}

/// What a peer's bytes meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    Message(Message<'a>),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// A message has begun that is not whole yet: this is where the caller may note the time, which
    /// [`under_way`](Decoder::under_way) tells.
    Begun(&'a mut u64),
    /// The peer's close: its code and reason, if it gave any.
    Close(Option<(u16, &'a str)>),
    /// The peer broke a rule. Nothing behind it is read.
    Failed(Violation),
}

/// What one message may grow to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes in one message, all its fragments together.
    pub(crate) message: usize,
    /// Fragments in one message.
    pub(crate) fragments: u32,
}

/// One peer's bytes since the handshake, cut into events.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// Boxed: larger, and rarer by now.
    Hixie(Box<hixie::Decoder>),
    Hybi(hybi::Decoder),
}

impl Decoder {
    pub(crate) fn new(version: Version, deflate: Option<Agreed>) -> Decoder {
        if version.is_hixie() {
            Decoder::Hixie(Box::new(hixie::Decoder::new(version)))
        } else {
            Decoder::Hybi(hybi::Decoder::new(version, deflate))
        }
    }

    /// Takes the next event from the front of `input`; `None` once all of that is used up. Call
    /// again until then; the bytes may be cut anywhere between calls. Payloads are unmasked where
    /// they lie.
    pub(crate) fn next<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i mut [u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Option<Event<'e>> {
        match self {
            Decoder::Hixie(decoder) => decoder.next(input, limits),
            Decoder::Hybi(decoder) => decoder.next(input, limits, pool),
        }
    }

    /// In the middle of a large message: where its next bytes may be read to, past the receive
    /// buffer. Tell [`landed`](Decoder::landed) what was appended before doing anything else.
    pub(crate) fn landing(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Decoder::Hixie(_) => None,
            Decoder::Hybi(decoder) => decoder.landing(),
        }
    }

    /// Takes back what the last event lent out. [`next`](Decoder::next) does so first; for when it
    /// may not be called for long.
    pub(crate) fn take_back(&mut self, pool: &mut Pool) {
        match self {
            Decoder::Hixie(decoder) => decoder.take_back(),
            Decoder::Hybi(decoder) => decoder.take_back(pool),
        }
    }

    /// The message that is not whole yet: when it began, as its [`Event::Begun`] was told, and how many
    /// bytes of it have come, compressed ones as they came.
    pub(crate) fn under_way(&self) -> Option<(u64, usize)> {
        match self {
            Decoder::Hixie(decoder) => decoder.under_way(),
            Decoder::Hybi(decoder) => decoder.under_way(),
        }
    }

    /// The time that counts for that message begins anew.
    pub(crate) fn begin_again(&mut self, now: u64) {
        match self {
            Decoder::Hixie(decoder) => *decoder.begun() = now,
            Decoder::Hybi(decoder) => decoder.begun().into_iter().for_each(|begun| *begun = now),
        }
    }

    /// So many bytes were read to the landing. Gives back those that are not the message's; they
    /// are the next input, even if there are none. Fails if there is no memory for them.
    pub(crate) fn landed(&mut self, bytes: usize) -> Result<Vec<u8>, Violation> {
        match self {
            Decoder::Hixie(_) => Ok(Vec::new()),
            Decoder::Hybi(decoder) => decoder.landed(bytes),
        }
    }

    /// Bytes of memory that incomplete messages hold.
    pub(crate) fn held(&self) -> usize {
        match self {
            Decoder::Hixie(decoder) => decoder.held(),
            Decoder::Hybi(decoder) => decoder.held(),
        }
    }
}

/// What versions have in common on the wire from the server to the client: bytes made for one can
/// be sent to all others of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Hixie,
    Hybi,
    /// As Hybi, but compressed where that makes a message shorter.
    Deflate(Agreed),
    /// Server-Sent Events, to a client of plain HTTP.
    Events,
}

impl Framing {
    pub(crate) fn of(version: Version, deflate: Option<Agreed>) -> Framing {
        match deflate {
            _ if version.is_hixie() => Framing::Hixie,
            None => Framing::Hybi,
            Some(agreed) => Framing::Deflate(agreed),
        }
    }

    /// The compression agreed on, if any.
    pub(crate) fn agreed(self) -> Option<Agreed> {
        match self {
            Framing::Deflate(agreed) => Some(agreed),
            Framing::Hixie | Framing::Hybi | Framing::Events => None,
        }
    }

    /// The compressed payload of a message, if it is to be sent in that form. The buffer belongs to
    /// the pool.
    pub(crate) fn deflate(self, message: Message<'_>, pool: &mut Pool) -> Option<Vec<u8>> {
        match self {
            Framing::Hixie | Framing::Hybi | Framing::Events => None,
            Framing::Deflate(agreed) => pool.deflate(agreed, message.as_bytes()),
        }
    }

    /// What surrounds a message; `None` if the message has no wire form, binary in the Hixie versions,
    /// or none that only surrounds it: in events.
    pub(crate) fn envelope(
        self,
        message: Message<'_>,
        deflated: Option<&[u8]>,
    ) -> Option<Envelope> {
        match (self, message) {
            (Framing::Hybi | Framing::Deflate(_), _) => Some(frame::envelope(message, deflated)),
            (Framing::Hixie, Message::Text(_)) => Some(Envelope::Hixie),
            (Framing::Hixie, Message::Binary(_)) | (Framing::Events, _) => None,
        }
    }

    /// Appends a message with what goes round it. False, and nothing appended, where it has no wire
    /// form. Fails, and nothing appended, if there is no memory for it.
    pub(crate) fn encode(
        self,
        message: Message<'_>,
        pool: &mut Pool,
        out: &mut Vec<u8>,
    ) -> Result<bool, Violation> {
        if self == Framing::Events {
            return events::encode(message, out);
        }
        let deflated = self.deflate(message, pool);
        let Some(envelope) = self.envelope(message, deflated.as_deref()) else { return Ok(false) };
        let payload = deflated.as_deref().unwrap_or(message.as_bytes());
        memory::make_room(out, envelope.len().saturating_add(payload.len()))?;
        envelope.put(payload, out);
        pool.give(deflated.unwrap_or_default());
        Ok(true)
    }
}

/// What surrounds a payload on the wire: a head before it, and in the Hixie versions an end behind
/// it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Envelope {
    /// The head of a frame with this first byte, for a payload of this length.
    Frame(u8, usize),
    /// A byte on either side.
    Hixie,
}

impl Envelope {
    pub(crate) fn head(self) -> Short<{ frame::MAX_SERVER_HEAD }> {
        match self {
            Envelope::Frame(first, len) => frame::head(first, len),
            Envelope::Hixie => Short::of([hixie::TEXT]),
        }
    }

    pub(crate) fn tail(self) -> &'static [u8] {
        match self {
            Envelope::Frame(..) => &[],
            Envelope::Hixie => &[hixie::END],
        }
    }

    /// Appends the payload with what surrounds it.
    #[inline(always)]
    pub(crate) fn put(self, payload: &[u8], out: &mut Vec<u8>) {
        // Nearly all payloads are short, and a head of a fixed size is copied without a call.
        if let Envelope::Frame(first, len @ ..=frame::MAX_SHORT) = self {
            out.extend_from_slice(&[first, len as u8]);
            out.extend_from_slice(payload);
            return;
        }
        put_rest(&[self.head().as_slice(), payload, self.tail()], 0, out);
    }

    /// How many bytes it adds.
    pub(crate) fn len(self) -> usize {
        self.head().len().saturating_add(self.tail().len())
    }
}

/// Appends a ping; in events a comment, which has no payload and no answer. False where there is none:
/// in the Hixie versions.
pub(crate) fn encode_ping(framing: Framing, payload: &[u8], out: &mut Vec<u8>) -> bool {
    match framing {
        Framing::Hixie => return false,
        Framing::Hybi | Framing::Deflate(_) => frame::encode_control(frame::PING, payload, out),
        Framing::Events => out.extend_from_slice(events::HEARTBEAT),
    }
    true
}

/// Appends the answer to a ping.
pub(crate) fn encode_pong(payload: &[u8], out: &mut Vec<u8>) {
    frame::encode_control(frame::PONG, payload, out);
}

/// Appends a close frame: with code and reason in the HyBi versions and RFC 6455, `FF 00` in
/// Hixie-76, nothing in Hixie-75, which only has the end of the stream.
pub(crate) fn encode_close(version: Version, close: Option<(u16, &str)>, out: &mut Vec<u8>) {
    match version {
        Version::Hixie75 => {}
        Version::Hixie76 => out.extend_from_slice(&[0xff, 0x00]),
        _ => frame::encode_close(close, out),
    }
}

#[cfg(test)]
pub(crate) mod tests;
