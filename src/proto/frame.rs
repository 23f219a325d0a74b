//! Frames of RFC 6455 section 5.2: their heads, read and written. hybi-07 and -08 differ in one
//! check.

use super::bytes::Short;
use super::close::{self, Violation};
use super::deflate::Agreed;
use super::mask::unmask;
use super::{Envelope, Message, Version};

pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xa;

pub(super) const FIN: u8 = 0x80;
/// The first reserved bit: the message is compressed (RFC 7692 section 6).
const RSV1: u8 = 0x40;
const RESERVED_BITS: u8 = 0x70;
pub(super) const MASKED: u8 = 0x80;

/// The longest frame head from a client: two bytes, the 64-bit length, the masking key.
pub(crate) const MAX_HEAD: usize = 14;
/// The longest frame head from a server, which does not mask.
pub(super) const MAX_SERVER_HEAD: usize = 10;
/// The longest payload whose length fits a head of two bytes.
pub(super) const MAX_SHORT: usize = 125;
/// The longest payload of a control frame (section 5.5).
const MAX_CONTROL: usize = 125;

/// A frame's head, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) fin: bool,
    pub(super) opcode: u8,
    /// Begins a message that is compressed.
    pub(super) deflated: bool,
    /// The masking key, turned to fit what is still to come of the payload.
    pub(super) key: [u8; 4],
    /// Bytes of the payload that are still to come.
    pub(super) len: u64,
}

impl Head {
    /// Unmasks the next bytes of the payload, and counts them off.
    pub(super) fn unmask(&mut self, bytes: &mut [u8]) {
        unmask(bytes, &mut self.key);
        self.len = self.len.saturating_sub(bytes.len() as u64);
    }

    /// Bytes of the payload that are still to come, at most [`usize::MAX`].
    pub(super) fn to_come(self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }

    pub(super) fn is_control(self) -> bool {
        self.opcode >= CLOSE
    }

    /// Reads a head from the front of `bytes`: the head and its own length, or `None` if it is not
    /// whole yet. What the first two bytes show to be wrong is refused as soon as they are there.
    // Inlined, since it is called for every frame, and its result takes six stores.
    #[inline(always)]
    pub(super) fn parse(
        bytes: &[u8],
        version: Version,
        deflate: Option<Agreed>,
    ) -> Result<Option<(Head, usize)>, Violation> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let opcode = first & 0x0f;
        let fin = first & FIN != 0;
        let short_len = second & 0x7f;
        // Where compression was agreed on, what begins a message may have one reserved bit set.
        let allowed = match opcode {
            TEXT | BINARY if deflate.is_some() => RSV1,
            _ => 0,
        };
        // Section 5.2, and 5.1 for the mask.
        if first & RESERVED_BITS & !allowed != 0 {
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
            (126, [a, b, key @ ..]) => {
                let len = u64::from(u16::from_be_bytes([*a, *b]));
                check_len(len, 126, version)?;
                (len, key, 8)
            }
            (127, [a, b, c, d, e, f, g, h, key @ ..]) => {
                let len = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                check_len(len, 0x1_0000, version)?;
                (len, key, MAX_HEAD)
            }
            (126 | 127, _) => return Ok(None),
            (len, key) => (u64::from(len), key, 6),
        };
        let Some(key) = key.first_chunk() else { return Ok(None) };
        let deflated = first & RSV1 != 0;
        Ok(Some((Head { fin, opcode, deflated, key: *key, len }, size)))
    }
}

/// Section 5.2: at most 63 bits, and no length below `least` in this form. The drafts may, since
/// Firefox 6 to 10 wrote 65,535 in the longest form.
fn check_len(len: u64, least: u64, version: Version) -> Result<(), Violation> {
    if len >> 63 != 0 {
        Err(Violation::LengthTopBit)
    } else if len < least && version == Version::Rfc6455 {
        Err(Violation::LengthNotMinimal)
    } else {
        Ok(())
    }
}

/// The head of a server's frame: not masked, in the shortest form.
pub(super) fn head(first: u8, len: usize) -> Short<MAX_SERVER_HEAD> {
    let [a, b, c, d, e, f, g, h] = (len as u64).to_be_bytes();
    match len {
        0..=MAX_SHORT => Short::of([first, h]),
        126..=0xffff => Short::of([first, 126, g, h]),
        _ => Short::of([first, 127, a, b, c, d, e, f, g, h]),
    }
}

pub(super) fn envelope(message: Message<'_>, deflated: Option<&[u8]>) -> Envelope {
    let opcode = if matches!(message, Message::Text(_)) { TEXT } else { BINARY };
    match deflated {
        None => Envelope::Frame(FIN | opcode, message.as_bytes().len()),
        Some(payload) => Envelope::Frame(FIN | RSV1 | opcode, payload.len()),
    }
}

/// Appends a control frame; payload beyond 125 bytes is cut off.
pub(super) fn encode_control(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    let payload = payload.get(..MAX_CONTROL).unwrap_or(payload);
    Envelope::Frame(FIN | opcode, payload.len()).put(payload, out);
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
    use crate::proto::Framing;
    use crate::proto::pool::Pool;

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
            Framing::Hybi
                .encode(Message::Binary(&payload), &mut Pool::default(), &mut out)
                .unwrap();
            assert!(out == [b"before", head, &payload].concat(), "{len} bytes");
            assert_eq!(envelope(Message::Binary(&payload), None).len(), head.len());
        }
        let mut out = Vec::new();
        Framing::Hybi.encode(Message::Text("\u{e9}"), &mut Pool::default(), &mut out).unwrap();
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
        assert_eq!(Head::parse(&out, Version::Rfc6455, None).err(), Some(Violation::Unmasked));
    }
}
