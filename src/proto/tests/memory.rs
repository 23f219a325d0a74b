//! How much memory messages take as they come.

use super::{ALL_VERSIONS, Limits, Reader, masked};
use crate::proto::Version;

/// As much as a program may allow.
const LIMITS: Limits = Limits { message: isize::MAX as usize / 4, fragments: u32::MAX };
/// What a message may take beside twice its length.
const SLACK: usize = 64 * 1024;

/// A part of what a client sends, and how many bytes of its message have come with it.
struct Part {
    bytes: Vec<u8>,
    come: usize,
}

/// Cuts a frame into parts of `size`, the first with its head, which takes `head` bytes.
fn parts(frame: &[u8], head: usize, size: usize, come: &mut usize) -> Vec<Part> {
    let (head, payload) = frame.split_at(head);
    let mut parts = vec![Part { bytes: head.to_vec(), come: *come }];
    for piece in payload.chunks(size) {
        *come += piece.len();
        parts.push(Part { bytes: piece.to_vec(), come: *come });
    }
    parts
}

/// Bytes of a client's frame that are not payload.
fn head_len(payload: usize) -> usize {
    match payload {
        0..=125 => 6,
        126..=0xffff => 8,
        _ => 14,
    }
}

/// Asserts at each step that an unfinished message takes no more than it may, and that it moves to
/// more memory so seldom that all of it together costs no more than a few copies.
fn takes_little(mut reader: Reader, parts: Vec<Part>, what: &str) {
    let (mut held, mut moves) = (0, 0);
    for Part { bytes, come } in parts {
        assert!(reader.read(&bytes).is_empty(), "{what}");
        if reader.lands {
            // Makes room for the next bytes.
            reader.decoder.landing();
        }
        let now = reader.decoder.held();
        assert!(now <= 2 * come + SLACK, "{what}: {come} bytes have come, {now} are taken");
        assert!(now >= come.saturating_sub(3), "{what}");
        moves += usize::from(now != held);
        held = now;
    }
    assert!(moves <= 42, "{what}: {moves} moves");
}

fn readers(version: Version) -> [(Reader, &'static str); 2] {
    let reader = || Reader::new(version, &LIMITS);
    [(reader(), "through the buffer"), (reader().landing(), "past it")]
}

/// Sizes of reads, and how many bytes they bring in all.
const SIZES: [(usize, usize); 6] = [
    (1, 3_000),
    (333, 100_000),
    (1_000, 400_000),
    (16_500, 1_000_000),
    (66_000, 1_000_000),
    (132_000, 1_000_000),
];

/// Text whose characters are cut at most places, or any bytes.
fn payload(first: u8, len: usize) -> Vec<u8> {
    if first & 0x0f == 0x01 {
        "\u{20ac}".repeat(len.div_ceil(3)).into_bytes()[..len].to_vec()
    } else {
        vec![0xee; len]
    }
}

#[test]
fn a_message_in_one_frame_takes_no_more_than_twice_what_has_come_and_64_kib() {
    for first in [0x81, 0x82, 0x01, 0x02] {
        for (size, total) in SIZES {
            for announced in [total + 1, LIMITS.message] {
                for (reader, way) in readers(Version::Rfc6455) {
                    let length = (announced as u64).to_be_bytes();
                    let head = [&[first, 0xff][..], &length, &[0; 4]].concat();
                    let head = if announced > 0xffff {
                        head
                    } else {
                        [&[first, 0xfe][..], &length[6..], &[0; 4]].concat()
                    };
                    let frame = [&head[..], &payload(first, total)].concat();
                    let parts = parts(&frame, head.len(), size, &mut 0);
                    takes_little(
                        reader,
                        parts,
                        &format!("{first:x} by {size} of {announced}, {way}"),
                    );
                }
            }
        }
    }
}

#[test]
fn a_message_in_fragments_takes_no_more_than_twice_what_has_come_and_64_kib() {
    for first in [0x01, 0x02] {
        for (size, total) in SIZES {
            for fragment in [1, 100, 20_000, 70_000, 132_000] {
                if fragment < size / 100 || total / fragment > 10_000 {
                    continue;
                }
                for (reader, way) in readers(Version::Rfc6455) {
                    let (payload, mut come) = (payload(first, total), 0);
                    let frames = payload.chunks(fragment).enumerate().flat_map(|(index, piece)| {
                        let frame = masked(if index == 0 { first } else { 0 }, [0; 4], piece);
                        parts(&frame, head_len(piece.len()), size, &mut come)
                    });
                    let frames = frames.collect();
                    takes_little(
                        reader,
                        frames,
                        &format!("{first:x} by {size} of {fragment}, {way}"),
                    );
                }
            }
        }
    }
}

#[test]
fn a_hixie_text_takes_no_more_than_twice_what_has_come_and_64_kib() {
    for version in &ALL_VERSIONS[..2] {
        for (size, total) in SIZES {
            let frame = [b"\0", &payload(0x01, total)[..]].concat();
            let parts = parts(&frame, 1, size, &mut 0);
            takes_little(Reader::new(*version, &LIMITS), parts, &format!("{version} by {size}"));
        }
    }
}

/// Each wrong byte becomes a character of three.
#[test]
fn a_hixie_text_that_is_mended_takes_no_more_than_that_and_its_length_again() {
    for len in [1000, 1 << 20] {
        let mut reader = Reader::new(Version::Hixie76, &LIMITS);
        assert_eq!(reader.read(&[b"\0", &vec![0x80; len][..]].concat()), []);
        let before = reader.decoder.held();
        let mut end = *b"\xff";
        let mut input = &mut end[..];
        assert!(reader.decoder.next(&mut input, &LIMITS, &mut reader.pool).is_some());
        assert_eq!(reader.decoder.held(), before + 3 * len);
    }
}

#[cfg(feature = "deflate")]
#[test]
fn a_compressed_message_takes_no_more_than_twice_what_was_inflated_and_64_kib() {
    use super::Seen;
    use crate::proto::deflate::Inflater;

    // Stored blocks (RFC 1951 section 3.2.4), each of which ends on a byte.
    let block = |len: u16| {
        let head = [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes()].concat();
        [head, vec![b'a'; len.into()]].concat()
    };
    for first in [0x41, 0x42] {
        for len in [100, 16_384, 65_535] {
            let mut reader = Reader::deflating(&LIMITS);
            let mut come = 0;
            for index in 0..64 {
                let first = if index == 0 { first } else { 0 };
                assert_eq!(reader.read(&masked(first, [0; 4], &block(len))), []);
                come += usize::from(len);
                let held = reader.decoder.held();
                assert!(held <= 2 * come + SLACK + Inflater::SIZE, "{come} bytes, {held} taken");
            }
            assert!(matches!(
                &reader.read(&masked(0x80, [0; 4], b"\0"))[..],
                [Seen::Text(_) | Seen::Binary(_)]
            ));
        }
    }
}
