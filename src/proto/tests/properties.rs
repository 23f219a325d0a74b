//! What holds for any bytes, messages and splits.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::mask::unmask;
use super::super::utf8::{Invalid, Text};
use super::super::{Framing, Limits, Message, Version, encode_ping};
use super::{ALL_VERSIONS, LIMITS, Reader, Seen, cut, decode};
use crate::proto::pool::Pool;

const FIN: u8 = 0x80;

fn config() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() }
}

/// Some places to cut at, within `len` bytes.
fn places(indices: &[Index], len: usize) -> Vec<usize> {
    indices.iter().map(|index| index.index(len + 1)).collect()
}

fn pieces<'p>(bytes: &'p [u8], indices: &[Index]) -> Vec<&'p [u8]> {
    cut(bytes, &places(indices, bytes.len()))
}

fn string() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..50).prop_map(String::from_iter)
}

/// Mostly short, sometimes at an edge between two forms of a frame's length.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => vec(any::<u8>(), 0..40),
        4 => vec(any::<u8>(), 120..130),
        1 => (any::<u8>(), 0xfffc..0x1_0004usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn control_payload() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=125)
}

/// A message or a ping, and how a client sends it.
#[derive(Debug, Clone)]
struct Sending {
    what: Seen,
    /// Where a message is cut into fragments.
    cuts: Vec<Index>,
    /// Pings between the fragments, as far as there are gaps for them.
    pings: Vec<Vec<u8>>,
    key: [u8; 4],
}

fn sending() -> impl Strategy<Value = Sending> {
    let what = prop_oneof![
        string().prop_map(Seen::Text),
        payload().prop_map(Seen::Binary),
        control_payload().prop_map(Seen::Ping),
    ];
    (what, vec(any::<Index>(), 0..4), vec(control_payload(), 0..2), any::<[u8; 4]>())
        .prop_map(|(what, cuts, pings, key)| Sending { what, cuts, pings, key })
}

/// Makes a client's frame of a server's: the mask bit, the key, the payload masked.
fn mask_frame(frame: &[u8], payload: usize, key: [u8; 4]) -> Vec<u8> {
    let (head, payload) = frame.split_at(frame.len() - payload);
    let mut masked = head.to_vec();
    masked[1] |= 0x80;
    masked.extend_from_slice(&key);
    masked.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    masked
}

fn fragment(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::new();
    assert!(
        Framing::Hybi.encode(Message::Binary(payload), &mut Pool::default(), &mut frame).unwrap()
    );
    frame[0] = first;
    mask_frame(&frame, payload.len(), key)
}

fn ping(payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::new();
    assert!(encode_ping(Framing::Hybi, payload, &mut frame));
    mask_frame(&frame, payload.len(), key)
}

impl Sending {
    /// Appends the frames, and what a server must see of them.
    fn write(&self, wire: &mut Vec<u8>, expected: &mut Vec<Seen>) {
        match &self.what {
            Seen::Text(text) => self.write_message(0x1, text.as_bytes(), wire, expected),
            Seen::Binary(bytes) => self.write_message(0x2, bytes, wire, expected),
            Seen::Ping(payload) => wire.extend(ping(payload, self.key)),
            other => panic!("not sent: {other:?}"),
        }
        expected.push(self.what.clone());
    }

    fn write_message(&self, kind: u8, bytes: &[u8], wire: &mut Vec<u8>, seen: &mut Vec<Seen>) {
        let fragments = pieces(bytes, &self.cuts);
        let mut pings = self.pings.iter();
        for (index, payload) in fragments.iter().enumerate() {
            let opcode = if index == 0 { kind } else { 0 };
            let last = index + 1 == fragments.len();
            wire.extend(fragment(if last { FIN | opcode } else { opcode }, payload, self.key));
            if let Some(payload) = pings.next().filter(|_| !last) {
                wire.extend(ping(payload, self.key));
                seen.push(Seen::Ping(payload.clone()));
            }
        }
    }
}

/// Bytes that look like frames of the HyBi versions more often than chance would have it.
fn hybi_like() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        12 => (any::<bool>(), prop::sample::select(vec![0u8, 0, 1, 2, 9, 10]))
            .prop_map(|(fin, opcode)| if fin { FIN | opcode } else { opcode }),
        4 => prop::sample::select(vec![0x89, 0x8a, 0x81, 0x82, 0x01, 0x80]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        string().prop_map(String::into_bytes),
        vec(any::<u8>(), 0..20),
        vec(0x20..0x7fu8, 0..135),
        (990..1020u16, string())
            .prop_map(|(code, why)| [&code.to_be_bytes(), why.as_bytes()].concat()),
    ];
    (first, payload, any::<[u8; 4]>(), 0..20u8).prop_map(|(first, payload, key, how)| match how {
        // In a form that is too long.
        0 => {
            let len = (payload.len() as u16).to_be_bytes();
            let mut frame = super::masked(first, key, &payload);
            frame.splice(1..2, [0xfe, len[0], len[1]]);
            frame
        }
        // Not masked.
        1 => [&[first, payload.len().min(125) as u8], &payload[..]].concat(),
        _ => super::masked(first, key, &payload),
    })
}

/// The same for the Hixie versions.
fn hixie_like() -> impl Strategy<Value = Vec<u8>> {
    let text = vec(prop_oneof![4 => 0..0x80u8, 1 => 0x80..0xffu8], 0..40);
    prop_oneof![
        8 => text.prop_map(|text| [&[0], &text[..], &[0xff]].concat()),
        2 => (1..0x80u8, vec(0..0xffu8, 0..40))
            .prop_map(|(kind, bytes)| [&[kind], &bytes[..], &[0xff]].concat()),
        4 => (0x80..=0xffu8, 0..4usize, vec(any::<u8>(), 0..127)).prop_map(|(kind, zeros, bytes)| {
            let len = bytes.len() as u8;
            [&[kind], &[0x80].repeat(zeros)[..], &[len], &bytes[..]].concat()
        }),
        1 => vec(any::<u8>(), 0..10),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..100),
        vec(hybi_like(), 0..8).prop_map(|frames| frames.concat()),
        vec(hixie_like(), 0..8).prop_map(|frames| frames.concat()),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let small = (0..150usize, 0..4u32);
    prop_oneof![Just((1 << 20, 1 << 10)), small, Just((usize::MAX, u32::MAX))]
        .prop_map(|(message, fragments)| Limits { message, fragments })
}

/// UTF-8, sometimes with bytes in it that are not.
fn nearly_utf8() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
        2 => prop::sample::select(vec!['\u{7ff}', '\u{800}', '\u{ffff}', '\u{10000}', '\u{10ffff}'])
            .prop_map(|c| c.to_string().into_bytes()),
        1 => vec(0x80..=0xffu8, 1..3),
    ];
    prop_oneof![
        vec(part, 0..12).prop_map(|parts| parts.concat()),
        vec(any::<u8>(), 0..12),
        vec(prop::sample::select(b"\xe0\xed\xf0\xf4\xc2\x80\x8f\x90\x9f\xa0\xbfa".to_vec()), 0..6),
    ]
}

/// Whether some text begins with these bytes. The second byte of a character is the only one
/// with a range of its own, and each range holds one of the three that are tried.
fn can_go_on(bytes: &[u8]) -> bool {
    let rest = |second: u8| [second, 0x80, 0x80];
    let rests = [0x80, 0x90, 0xa0].map(rest);
    str::from_utf8(bytes).is_ok()
        || rests
            .iter()
            .any(|rest| (1..=3).any(|len| str::from_utf8(&[bytes, &rest[..len]].concat()).is_ok()))
}

/// The first byte at which no text can be meant any more.
fn first_wrong(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|&index| !can_go_on(&bytes[..=index]))
}

/// How many pieces are taken before one is refused, and the text if none is.
fn push_all(pieces: &[&[u8]]) -> (usize, Result<String, Invalid>) {
    let mut text = Text::default();
    for (index, piece) in pieces.iter().enumerate() {
        if text.push(piece).is_err() {
            return (index, Err(Invalid));
        }
    }
    assert_eq!(text.len(), pieces.concat().len());
    (pieces.len(), text.finish().map(str::to_string))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_a_client_sends_is_what_the_server_sees(
        sendings in vec(sending(), 0..6),
        splits in vec(any::<Index>(), 0..8),
    ) {
        let (mut wire, mut expected) = (Vec::new(), Vec::new());
        for sending in &sendings {
            sending.write(&mut wire, &mut expected);
        }
        let pieces = pieces(&wire, &splits);
        let seen = decode(Version::Rfc6455, &LIMITS, pieces.iter().copied());
        prop_assert_eq!(&seen, &expected);
        let seen = Reader::new(Version::Rfc6455, &LIMITS).landing().read_all(pieces);
        prop_assert_eq!(&seen, &expected);
    }

    #[test]
    fn hixie_texts_come_through(texts in vec(string(), 0..8), splits in vec(any::<Index>(), 0..8)) {
        let mut wire = Vec::new();
        for text in &texts {
            prop_assert!(Framing::Hixie.encode(text.into(), &mut Pool::default(), &mut wire).unwrap());
        }
        let expected: Vec<Seen> = texts.into_iter().map(Seen::Text).collect();
        for version in [Version::Hixie75, Version::Hixie76] {
            let seen = decode(version, &LIMITS, pieces(&wire, &splits));
            prop_assert_eq!(&seen, &expected);
        }
    }

    #[test]
    fn any_bytes_mean_the_same_at_any_splits(
        bytes in bytes(),
        limits in limits(),
        splits in vec(any::<Index>(), 0..8),
    ) {
        for version in ALL_VERSIONS {
            let whole = decode(version, &limits, [&bytes[..]]);
            let split = decode(version, &limits, pieces(&bytes, &splits));
            prop_assert_eq!(&split, &whole, "{}", version);
            let single = decode(version, &limits, bytes.chunks(1));
            prop_assert_eq!(&single, &whole, "{} byte by byte", version);
        }
    }

    #[test]
    fn the_end_is_the_last_event(bytes in bytes(), limits in limits()) {
        for version in ALL_VERSIONS {
            let seen = decode(version, &limits, bytes.chunks(3));
            let is_end = |seen: &Seen| matches!(seen, Seen::Close(_) | Seen::Failed(_));
            let end = seen.iter().position(is_end);
            prop_assert!(end.is_none_or(|end| end + 1 == seen.len()), "{}: {:?}", version, seen);
        }
    }

    #[test]
    fn no_message_is_over_the_limit(bytes in bytes(), limits in limits()) {
        for version in [Version::Hybi07, Version::Hybi08, Version::Rfc6455] {
            for seen in decode(version, &limits, bytes.chunks(3)) {
                let len = match seen {
                    Seen::Text(text) => text.len(),
                    Seen::Binary(bytes) => bytes.len(),
                    _ => 0,
                };
                prop_assert!(len <= limits.message, "{}: {}", version, len);
            }
        }
    }

    #[test]
    fn masking_in_pieces_equals_the_naive_loop(
        plain in vec(any::<u8>(), 0..100),
        key in any::<[u8; 4]>(),
        splits in vec(any::<Index>(), 0..6),
    ) {
        let naive: Vec<u8> = plain.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        let mut turning = key;
        let mut unmasked = Vec::new();
        for piece in pieces(&plain, &splits) {
            let mut piece = piece.to_vec();
            unmask(&mut piece, &mut turning);
            unmasked.extend(piece);
        }
        prop_assert_eq!(unmasked, naive);
    }

    #[test]
    fn text_in_pieces_is_what_std_takes_for_utf8(
        bytes in nearly_utf8(),
        splits in vec(any::<Index>(), 0..6),
    ) {
        let (_, text) = push_all(&pieces(&bytes, &splits));
        prop_assert_eq!(text.ok(), String::from_utf8(bytes).ok());
    }

    #[test]
    fn text_is_refused_with_the_first_byte_that_cannot_be_right(
        bytes in nearly_utf8(),
        splits in vec(any::<Index>(), 0..6),
    ) {
        for pieces in [pieces(&bytes, &splits), bytes.chunks(1).collect()] {
            let mut ends = pieces.iter().scan(0, |end, piece| {
                *end += piece.len();
                Some(*end)
            });
            let first_wrong = first_wrong(&bytes);
            let wrong_piece = first_wrong.and_then(|wrong| ends.position(|end| end > wrong));
            let (taken, _) = push_all(&pieces);
            prop_assert_eq!(taken, wrong_piece.unwrap_or(pieces.len()));
        }
    }
}
