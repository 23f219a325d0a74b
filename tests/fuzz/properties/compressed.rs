//! Whole connections with compression: what a client says is made here, so that most of it is right.

use zlib_rs::{DeflateFlush, InflateFlush};

use super::{Cuts, frame, same_however_cut};

/// Most messages that are made of an input.
const MESSAGES: usize = 12;
/// The largest message that the server takes.
const MAX_MESSAGE: usize = 4096;
/// What is cut off a compressed message (RFC 7692 section 7.2.1).
const TAIL: &[u8] = b"\x00\x00\xff\xff";

/// What one message is to be, and what comes of it.
struct Said {
    text: bool,
    payload: Vec<u8>,
    /// It breaks no rule.
    right: bool,
}

/// `mode[1] cuts[3]` and messages, each `kind[1] how[1] len[1] payload`: however the bytes of a
/// connection with compression are cut, it comes to the same end; all messages up to the first that
/// breaks a rule are heard; and what comes back inflates to them.
///
/// The low three bits of the mode choose the window of what is sent back; bits 3 and 4 are those of
/// [`connection`](super::connection).
pub fn compressed(input: &[u8]) {
    let Some(([mode, cuts @ ..], mut rest)) = input.split_first_chunk::<4>() else { return };
    let mut bytes = opening(8 + (mode & 7));
    let mut said = Vec::new();
    while let Some(([kind, how, len], behind)) = rest.split_first_chunk::<3>()
        && said.len() < MESSAGES
    {
        let (payload, behind) = behind.split_at(behind.len().min(usize::from(*len)));
        rest = behind;
        said.push(say(*kind, *how, payload, &mut bytes));
    }
    let cuts: Cuts = *cuts;
    let outcome = same_however_cut(mode & 0x18, &bytes, cuts);

    let right: Vec<&Said> = {
        let end = said.iter().position(|said| !said.right).unwrap_or(said.len());
        // The handler closes for a message that begins with C, and hears nothing more.
        let closed = said.iter().position(|said| said.payload.first() == Some(&b'C'));
        said[..end.min(closed.map_or(end, |place| place + 1))].iter().collect()
    };
    let heard: Vec<&String> =
        outcome.calls.iter().filter(|call| call.starts_with("message ")).collect();
    assert!(heard.len() >= right.len(), "{} of {} messages", heard.len(), right.len());
    for (heard, said) in heard.iter().zip(&right) {
        assert_eq!(**heard, note(said.text, &said.payload));
    }
    let echoed: Vec<String> = echoes(&outcome.bytes);
    assert_eq!(echoed.first().map(String::as_str), Some("message Text(\"hello\")"));
    assert!(echoed[1..].iter().eq(heard), "{echoed:?}");
}

/// A message as the handler notes it.
fn note(text: bool, payload: &[u8]) -> String {
    match text {
        true => format!("message Text({:?})", str::from_utf8(payload).unwrap()),
        false => format!("message Binary({payload:?})"),
    }
}

fn opening(window_bits: u8) -> Vec<u8> {
    format!(
        "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={window_bits}\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// Appends the frames of a message. Of its kind bit 0 says that it is text, bit 1 that it is not
/// compressed, and bit 2 that the payload claims to be compressed and is taken as it stands. Bits 3 to
/// 5 tell how many fragments follow the first, with pings between, and bits 6 and 7 how often the
/// payload is repeated: as it is, 8, 64 or 512 times. Bits 0 to 2 of `how` are the level of
/// compression, bit 3 ends it by a last block, bit 4 flushes in the midst, and bit 5 flips a bit of
/// it, where the upper bits say.
fn say(kind: u8, how: u8, payload: &[u8], out: &mut Vec<u8>) -> Said {
    let text = kind & 1 != 0;
    let plain = kind & 2 != 0;
    let payload = payload.repeat([1, 8, 64, 512][usize::from(kind >> 6)]);
    let raw = !plain && kind & 4 != 0;
    let mut carried = match plain || raw {
        true => payload.clone(),
        false => deflate(&payload, how),
    };
    let spoilt = !plain && how & 0x20 != 0 && !carried.is_empty();
    if spoilt {
        let place = usize::from(how >> 6) * carried.len() / 4;
        carried[place] ^= 1 << (how & 7);
    }
    let parts = 1 + usize::from(kind >> 3 & 7);
    let size = carried.len().div_ceil(parts).max(1);
    let first = (if text { 1 } else { 2 }) | if plain { 0 } else { 0x40 };
    for part in 0..parts {
        let from = (part * size).min(carried.len());
        let piece = &carried[from..(from + size).min(carried.len())];
        let fin = if part + 1 == parts { 0x80 } else { 0 };
        out.extend(frame(fin | if part == 0 { first } else { 0 }, piece));
        if part % 2 == 1 {
            out.extend(frame(0x89, b"between"));
        }
    }
    let fits = payload.len() <= MAX_MESSAGE && carried.len() <= MAX_MESSAGE;
    let right = !raw && !spoilt && fits && (!text || str::from_utf8(&payload).is_ok());
    Said { text, payload, right }
}

fn deflate(payload: &[u8], how: u8) -> Vec<u8> {
    let mut deflater = zlib_rs::Deflate::new(i32::from(how & 7), false, 15);
    let mut made = vec![0; payload.len() * 2 + 200];
    let half = if how & 0x10 != 0 { payload.len() / 2 } else { 0 };
    let (first, second) = payload.split_at(half);
    if half > 0 {
        deflater.compress(first, &mut made, DeflateFlush::SyncFlush).unwrap();
    }
    let last = how & 8 != 0;
    let flush = if last { DeflateFlush::Finish } else { DeflateFlush::SyncFlush };
    let at = deflater.total_out() as usize;
    deflater.compress(second, &mut made[at..], flush).unwrap();
    made.truncate(deflater.total_out() as usize);
    if last {
        // A message that ends with a last block has an empty one behind it (section 7.2.3.4).
        made.push(0);
    } else if made.ends_with(TAIL) {
        made.truncate(made.len() - TAIL.len());
    }
    made
}

/// The messages that a server has sent behind the head of its answer, as the handler notes them.
fn echoes(bytes: &[u8]) -> Vec<String> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let (mut rest, mut messages) = (&bytes[end..], Vec::new());
    while let [first, short, behind @ ..] = rest {
        let (len, behind) = match short {
            126 => (usize::from(u16::from_be_bytes([behind[0], behind[1]])), &behind[2..]),
            _ => (usize::from(*short), behind),
        };
        let (payload, behind) = behind.split_at(len);
        rest = behind;
        match first & 0x0f {
            1 | 2 if first & 0x40 != 0 => {
                messages.push(note(first & 1 != 0, &inflate(payload)));
            }
            1 | 2 => messages.push(note(first & 1 != 0, payload)),
            _ => assert!(matches!(first, 0x88 | 0x8a), "a frame that begins with {first:x}"),
        }
    }
    messages
}

fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut inflater = zlib_rs::Inflate::new(false, 15);
    let input = [payload, TAIL].concat();
    let mut made = vec![0; MAX_MESSAGE + 1];
    inflater.decompress(&input, &mut made, InflateFlush::SyncFlush).unwrap();
    assert!(inflater.total_in() == input.len() as u64, "more than a message");
    made.truncate(inflater.total_out() as usize);
    made
}
