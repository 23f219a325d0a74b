//! The protocol code as a whole: the vectors of `tests/vectors`, each at every split, and the
//! properties that hold for any bytes. What they share is here.

mod frames;
mod handshakes;
mod memory;
mod properties;

use super::deflate::Agreed;
use super::{Decoder, Event, Limits, Message, Version, Violation};
use crate::proto::pool::Pool;

/// An [`Event`] that owns its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Failed(Violation),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Seen {
        match event {
            Event::Message(Message::Text(text)) => Seen::Text(text.to_string()),
            Event::Message(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Event::Ping(payload) => Seen::Ping(payload.to_vec()),
            Event::Pong(payload) => Seen::Pong(payload.to_vec()),
            Event::Begun(_) => panic!("depends on how the bytes are cut"),
            Event::Close(close) => Seen::Close(close.map(|(code, why)| (code, why.to_string()))),
            Event::Failed(violation) => Seen::Failed(violation),
        }
    }
}

pub(super) const ALL_VERSIONS: [Version; 5] =
    [Version::Hixie75, Version::Hixie76, Version::Hybi07, Version::Hybi08, Version::Rfc6455];

/// What a server has by default.
pub(super) const LIMITS: Limits = Limits { message: 1 << 20, fragments: 131_072 };

/// A decoder and what goes with it.
pub(super) struct Reader {
    pub(super) decoder: Decoder,
    pub(super) pool: Pool,
    limits: Limits,
    /// Whether permessage-deflate was agreed on.
    deflate: Option<Agreed>,
    /// Whether it reads past the receive buffer where the decoder offers that.
    lands: bool,
}

impl Reader {
    pub(super) fn new(version: Version, limits: &Limits) -> Reader {
        let (decoder, pool) = (Decoder::new(version, None), Pool::default());
        Reader { decoder, pool, limits: *limits, deflate: None, lands: false }
    }

    /// For a connection with permessage-deflate agreed on.
    #[cfg(feature = "deflate")]
    pub(super) fn deflating(limits: &Limits) -> Reader {
        let deflate = super::deflate::agree([&b"permessage-deflate"[..]].into_iter());
        let reader = Reader { deflate, ..Reader::new(Version::Rfc6455, limits) };
        reader.again(Version::Rfc6455)
    }

    pub(super) fn landing(self) -> Reader {
        Reader { lands: true, ..self }
    }

    /// Begins another connection with the same pool of buffers.
    fn again(self, version: Version) -> Reader {
        Reader { decoder: Decoder::new(version, self.deflate), ..self }
    }

    /// Reads bytes that wait in a socket, in as few reads as there is room for.
    pub(super) fn read(&mut self, mut waiting: &[u8]) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(message) = self.decoder.landing().filter(|_| self.lands) {
            let room = message.capacity() - message.len();
            let (now, later) = waiting.split_at(room.min(waiting.len()));
            message.extend_from_slice(now);
            let behind = self.decoder.landed(now.len()).unwrap();
            seen.extend(self.take_in(behind));
            waiting = later;
            if waiting.is_empty() {
                return seen;
            }
        }
        seen.extend(self.take_in(waiting.to_vec()));
        seen
    }

    fn take_in(&mut self, mut input: Vec<u8>) -> Vec<Seen> {
        let (mut input, mut seen) = (&mut input[..], Vec::new());
        while let Some(event) = self.decoder.next(&mut input, &self.limits, &mut self.pool) {
            if !matches!(event, Event::Begun(_)) {
                seen.push(event.into());
            }
        }
        assert!(input.is_empty(), "bytes left over behind {seen:?}");
        seen
    }

    pub(super) fn read_all<'p>(&mut self, reads: impl IntoIterator<Item = &'p [u8]>) -> Vec<Seen> {
        reads.into_iter().flat_map(|bytes| self.read(bytes)).collect()
    }
}

/// What a fresh decoder makes of bytes that come in these pieces.
pub(super) fn decode<'p>(
    version: Version,
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> Vec<Seen> {
    Reader::new(version, limits).read_all(pieces)
}

/// The pieces between these places, which may be in any order.
pub(super) fn cut<'p>(bytes: &'p [u8], places: &[usize]) -> Vec<&'p [u8]> {
    let mut places = places.to_vec();
    places.sort_unstable();
    let starts = std::iter::once(0).chain(places.iter().copied());
    let ends = places.iter().copied().chain([bytes.len()]);
    starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect()
}

/// Asserts that bytes mean the same whole, one at a time, and cut into two at each place; read
/// through the receive buffer and past it, with buffers that others have used. Returns what they
/// mean.
pub(super) fn at_splits(
    version: Version,
    limits: &Limits,
    bytes: &[u8],
    places: impl IntoIterator<Item = usize> + Clone,
) -> Vec<Seen> {
    let fresh = || Reader::new(version, limits);
    splits_of(&fresh, version, bytes, places)
}

/// Miri, which is some hundred times slower, looks at few of the places.
const EVERY: usize = if cfg!(miri) { 16 } else { 1 };

/// The same for readers made by `fresh`.
pub(super) fn splits_of(
    fresh: &dyn Fn() -> Reader,
    version: Version,
    bytes: &[u8],
    places: impl IntoIterator<Item = usize> + Clone,
) -> Vec<Seen> {
    let whole = fresh().read(bytes);
    for mut reader in [fresh(), fresh().landing()] {
        let seen = reader.read_all(bytes.chunks(1));
        assert!(seen == whole, "{version}, byte by byte: {:.200}", format!("{seen:?}"));
        for place in places.clone().into_iter().step_by(EVERY) {
            reader = reader.again(version);
            let seen = reader.read_all(cut(bytes, &[place]));
            assert!(seen == whole, "{version}, cut at {place}: {:.200}", format!("{seen:?}"));
        }
    }
    whole
}

/// [`at_splits`], at every place.
pub(super) fn at_every_split(version: Version, limits: &Limits, bytes: &[u8]) -> Vec<Seen> {
    at_splits(version, limits, bytes, 0..=bytes.len())
}

/// A client's frame: `first` is FIN, the reserved bits and the opcode; the shortest length form.
pub(crate) fn masked(first: u8, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0xfe);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0xff);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
    frame
}

pub(super) fn text(text: &str) -> Seen {
    Seen::Text(text.to_string())
}
