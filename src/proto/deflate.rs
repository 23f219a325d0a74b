//! permessage-deflate (RFC 7692): what is agreed on, and messages made smaller and whole again.
//!
//! Neither side keeps its window from one message to the next: every answer says
//! `server_no_context_takeover` and `client_no_context_takeover`, which a server may ask for
//! unasked (section 7.1.1.2). So a connection needs a context only while one of its messages is
//! under way, and all of a loop share a few.

use std::fmt;

use zlib_rs::{DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

use super::Violation;

const NAME: &str = "permessage-deflate";
/// What is appended to a message before it is inflated, and cut off when it was deflated: the end
/// of an empty block (section 7.2.1).
const TAIL: [u8; 4] = *b"\x00\x00\xff\xff";
/// The same, and behind it an empty last block: only a message that is whole ends with it.
const END: [u8; 9] = *b"\x00\x00\xff\xff\x01\x00\x00\xff\xff";
/// Octets inflated at a time.
const PIECE: usize = if cfg!(fuzzing) { 64 } else { 16 * 1024 };
/// Most inflaters that are kept for the next message.
const MOST_INFLATERS: usize = 4;

/// How messages are compressed on their way out, for clients that offer permessage-deflate
/// (RFC 7692). See [`Config::deflate`](crate::Config::deflate).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deflate {
    /// Messages of fewer octets are sent as they are: to compress them costs more than it saves.
    /// Default 1 KiB.
    pub threshold: usize,
    /// From 1, fast, to 9, small. Default 3.
    pub level: u8,
}

impl Default for Deflate {
    fn default() -> Self {
        Deflate { threshold: 1024, level: 3 }
    }
}

// Negotiation.

/// What this server and a client have agreed on, beside that neither keeps its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// The client's window for our messages is two to this power, from 8 to 15; if it said so.
    window_bits: Option<u8>,
}

/// The first offer that can be accepted, out of the values of all `Sec-WebSocket-Extensions` fields
/// (section 5.1).
pub(crate) fn agree<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Option<Agreed> {
    fields.find_map(|field| split(str::from_utf8(field).ok()?, ',').find_map(accept))
}

/// Section 7.1: an offer with a parameter that is unknown, there twice or has a wrong value is
/// declined.
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
            // Any window that the client may choose is inflated, so the answer asks for none.
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
    /// How many kinds there are: messages made for one client suit all others of its kind.
    pub(crate) const KINDS: usize = 7;

    /// Which kind this is, from 0.
    pub(crate) fn kind(self) -> usize {
        usize::from(self.window_bits().saturating_sub(9))
    }

    /// A window of 8 bits is that of 9 here: a compressor looks no further back than its window
    /// less 262 octets, and so not beyond 250.
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
pub(crate) struct Contexts {
    settings: Deflate,
    inflaters: Vec<Box<Inflater>>,
    /// By the kind of what was agreed on.
    deflaters: [Option<zlib_rs::Deflate>; Agreed::KINDS],
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

    /// For one message on its way in.
    pub(crate) fn take_inflater(&mut self) -> Option<Box<Inflater>> {
        Some(self.inflaters.pop().unwrap_or_else(Inflater::new))
    }

    /// Takes an inflater back whose message was whole.
    pub(crate) fn give_inflater(&mut self, inflater: Box<Inflater>) {
        if self.inflaters.len() < MOST_INFLATERS {
            self.inflaters.push(inflater);
        }
    }

    /// Appends a payload in its compressed form to `out`. False, and `out` is of no use, if it
    /// should be sent as it is: it is short, or would not become shorter.
    pub(crate) fn deflate(&mut self, agreed: Agreed, payload: &[u8], out: &mut Vec<u8>) -> bool {
        if payload.len() < self.settings.threshold.max(1) {
            return false;
        }
        let Some(slot) = self.deflaters.get_mut(agreed.kind()) else { return false };
        let level = self.settings.level.clamp(1, 9);
        let deflater = slot.get_or_insert_with(|| {
            let window_bits = -i32::from(agreed.window_bits());
            let level = i32::from(level);
            let config = DeflateConfig { window_bits, level, ..DeflateConfig::default() };
            zlib_rs::Deflate::new_with_config(config)
        });
        deflater.reset();
        // No room for as many octets as there were, but for the tail that is cut off.
        out.resize(payload.len().saturating_add(TAIL.len()).saturating_sub(1), 0);
        let status = deflater.compress(payload, out, DeflateFlush::SyncFlush);
        let made = grown(0, deflater.total_out());
        let all = grown(0, deflater.total_in()) == payload.len() && made < out.len();
        out.truncate(made.saturating_sub(TAIL.len()));
        status == Ok(Status::Ok) && all
    }
}

/// Takes one message in.
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
    /// Octets of memory that one takes, about.
    #[cfg(fuzzing)]
    pub(crate) const SIZE: usize = 48 * 1024;

    /// The largest window, which all others are part of.
    fn new() -> Box<Inflater> {
        Box::new(Inflater { inflate: Inflate::new(false, 15), ended: true })
    }

    /// Inflates a piece of a message, and hands over what comes of it, a part at a time.
    pub(crate) fn inflate(
        &mut self,
        mut input: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let mut piece = [0; PIECE];
        loop {
            let before = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, &mut piece, InflateFlush::NoFlush);
            let taken = grown(before.0, self.inflate.total_in());
            let made = grown(before.1, self.inflate.total_out());
            take(piece.get(..made).unwrap_or_default())?;
            input = input.get(taken..).unwrap_or_default();
            self.ended = status == Ok(Status::StreamEnd);
            if self.ended {
                // What follows a last block begins anew (section 7.2.3.4).
                self.inflate.reset(false);
            } else if status.is_err() {
                return Err(Violation::NotDeflated);
            }
            // A full piece may not have been all.
            if input.is_empty() && (self.ended || made < PIECE) {
                return Ok(());
            }
        }
    }

    /// The message is whole: hands over the rest of it, and is ready for another. One whose end is
    /// missing is refused; one without any octets is empty.
    pub(crate) fn finish(
        &mut self,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        if !self.ended {
            self.inflate(&END, take)?;
        }
        if self.ended { Ok(()) } else { Err(Violation::NotDeflated) }
    }
}

fn grown(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}
