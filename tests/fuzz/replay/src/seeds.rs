//! Inputs that reach far, for libFuzzer to begin with: each vector, as each target wants it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The lengths of pieces: single bytes; a few; mixed; and so long that they are one.
const CUTS: [[u8; 3]; 4] = [[0, 0, 0], [9, 5, 12], [4, 90, 0], [255, 255, 255]];
/// Longer ones would slow all others down, and say no more.
const LONGEST: usize = 5000;

type Seeds = Vec<(&'static str, Vec<u8>)>;

pub fn all() -> Seeds {
    let mut seeds = Seeds::new();
    frames(&mut seeds);
    deflated(&mut seeds);
    compressed(&mut seeds);
    tls(&mut seeds);
    handshakes(&mut seeds);
    heads(&mut seeds);
    paths(&mut seeds);
    seeds.retain(|(_, bytes)| bytes.len() <= LONGEST);
    seeds
}

/// `mode`, `cuts`, bytes, for each way to cut.
fn in_pieces(seeds: &mut Seeds, target: &'static str, mode: &[u8], bytes: &[u8]) {
    for cuts in CUTS {
        seeds.push((target, [mode, &cuts, bytes].concat()));
    }
}

fn vectors(text: &str) -> Vec<Value> {
    let mut file: Value = serde_json::from_str(text).expect("vectors that are JSON");
    match file["vectors"].take() {
        Value::Array(vectors) => vectors,
        _ => panic!("no vectors"),
    }
}

/// Hexadecimal strings, and such with the times they are repeated.
fn joined(list: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in list.as_array().expect("a list of bytes") {
        match part {
            Value::String(text) => bytes.extend(hex(text)),
            _ => {
                let (text, times) = (part[0].as_str(), part[1].as_u64());
                bytes.extend(hex(text.expect("bytes")).repeat(times.expect("times") as usize));
            }
        }
    }
    bytes
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("digits"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
}

fn frames(seeds: &mut Seeds) {
    let mut all = [Vec::new(), Vec::new()];
    for vector in vectors(include_str!("../../../vectors/frames.json")) {
        let bytes = joined(&vector["bytes"]);
        let hixie = vector["framing"] == "hixie";
        all[usize::from(hixie)].extend_from_slice(&bytes[..bytes.len().min(200)]);
        for version in vector["versions"].as_array().expect("versions") {
            // The places in the lists of versions in tests/fuzz/properties.rs, and in OPENINGS there.
            let (place, opening) = match version.as_u64() {
                Some(75) => (0, 4),
                Some(76) => (1, 3),
                Some(7) => (2, 2),
                Some(8) => (1, 1),
                _ => (0, 0),
            };
            in_pieces(seeds, if hixie { "hixie" } else { "hybi" }, &[place], &bytes);
            for cuts in [CUTS[0], CUTS[2]] {
                for end in [0, 8] {
                    seeds.push(("connection", [&[opening | end], &cuts[..], &bytes].concat()));
                }
            }
        }
    }
    large_frames(seeds);
    for text in ["Close", "Pause", "\u{20ac}uro"] {
        let heads = [0x81, 0x82, 0x89, 0x01, 0x80];
        let hybi = heads.map(|head| masked(head, text.as_bytes())).concat();
        let one = [b"\x00", text.as_bytes(), b"\xff"].concat();
        for (opening, bytes) in [(0, hybi), (3, one.repeat(3)), (4, one.repeat(3))] {
            in_pieces(seeds, "connection", &[opening], &bytes);
        }
    }
}

/// Over the sizes from which the decoder does something else, and about the largest message.
fn large_frames(seeds: &mut Seeds) {
    let payload: Vec<u8> = (b'0'..=b'z').cycle().take(1025).collect();
    let two =
        |second: usize| [masked(0x02, &payload[..724]), masked(0x80, &payload[..second])].concat();
    for bytes in [
        masked(0x82, &payload[..300]),
        [masked(0x82, &payload[..300]), masked(0x81, &payload[..70]), vec![0x88]].concat(),
        [masked(0x02, &payload[..90]), masked(0x89, b"ping"), masked(0x80, &payload[..500])]
            .concat(),
        masked(0x81, &payload[..1024]),
        masked(0x82, &payload),
        two(300),
        two(301),
        [masked(0x01, b"a"), masked(0x00, b"").repeat(62), masked(0x80, b"b")].concat(),
        [masked(0x01, b"a"), masked(0x00, b"").repeat(63), masked(0x80, b"b")].concat(),
    ] {
        in_pieces(seeds, "hybi", &[0], &bytes);
        in_pieces(seeds, "connection", &[0], &bytes);
    }
    for (kind, len) in [(0, 1024), (0, 1025), (1, 1024), (1, 1025)] {
        in_pieces(seeds, "hixie", &[1], &[&[kind], &payload[..len], b"\xff\x00a\xff"].concat());
    }
}

/// Compressed payloads (RFC 7692 section 7.2.3), whole and spoilt, and frames that hold them.
fn deflated(seeds: &mut Seeds) {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let stored = |bytes: &[u8]| {
        let len = bytes.len() as u16;
        [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), bytes].concat()
    };
    // A block of the fixed code: `a`, then runs of 258 more of it.
    let bomb =
        [&[0x4a, 0x1c, 0x05, 0xa3][..], &[0x60, 0x14, 0x8c, 0x82, 0x51].repeat(200)].concat();
    for payload in [
        hello.to_vec(),
        hello[..6].to_vec(),
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00".to_vec(),
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00".to_vec(),
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00".to_vec(),
        b"\x00".to_vec(),
        b"\x02\x13\x00".to_vec(),
        [stored("\u{20ac}".repeat(300).as_bytes()), vec![0]].concat(),
        [stored(b"\xe2\x82"), stored(b""), stored(b"\xac"), vec![0]].concat(),
        [stored(&[b'x'; 1024]), vec![0]].concat(),
        [stored(&[b'x'; 1025]), vec![0]].concat(),
        bomb,
    ] {
        for mode in [0, 2, 6, 30] {
            in_pieces(seeds, "inflate", &[mode], &payload);
        }
        let frames = [
            masked(0xc1, &payload),
            masked(0x42, &payload[..1]),
            masked(0x89, b"ping"),
            masked(0x80, &payload[1..]),
            masked(0x81, b"plain"),
        ]
        .concat();
        in_pieces(seeds, "inflate", &[1], &frames);
        in_pieces(seeds, "connection", &[6], &frames);
        in_pieces(seeds, "connection", &[6 + 8], &frames);
    }
}

/// Messages for `compressed`, which makes frames of them: right ones, and each kind of wrong one.
fn compressed(seeds: &mut Seeds) {
    let message =
        |kind: u8, how: u8, payload: &[u8]| [&[kind, how, payload.len() as u8], payload].concat();
    let text = "so much of this, so much of that, \u{20ac}".as_bytes();
    let right = [
        message(1, 6, text),
        message(0, 1, b"\xff\x00\xff"),
        message(3, 0, b"plain"),
        message(1 | 3 << 3, 6 | 0x10, text),
        message(1 | 1 << 6, 6 | 8, text),
        message(0x80, 6, &[0; 64]),
        message(1, 6, b"Pause"),
        message(1, 0, b""),
    ]
    .concat();
    for mode in [0, 1, 7, 7 + 8, 4 + 16] {
        in_pieces(seeds, "compressed", &[mode], &right);
    }
    for last in [
        message(1, 6, b"Close"),
        message(1, 6, b"a\xff"),
        message(0xc0, 6, &[b'x'; 9]),
        message(0xc0, 6, &[b'x'; 200]),
        message(4, 0, b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
        message(4, 0, b"not compressed"),
        message(5 | 7 << 3, 0, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
        message(1, 6 | 0x20, text),
        message(1, 6 | 0xa0, text),
        message(0, 6 | 0xe0, text),
    ] {
        in_pieces(seeds, "compressed", &[7], &[&right[..], &last, &right].concat());
    }
}

/// Steps for `tls`, and how much of each: what they mean stands there.
fn tls(seeds: &mut Seeds) {
    const SAYS: [u8; 2] = [0x40, 200];
    const ANSWERS: [u8; 2] = [0x42, 220];
    const ALL: [u8; 2] = [8, 0];
    let plain = [ALL, SAYS, ANSWERS, ALL, SAYS, [0xf2, 255], ALL].concat();
    let up = |count: u8| [3, count];
    let down = |count: u8| [6, count];
    for mode in [0, 1, 2, 3] {
        for buffer in [0, 9, 70, 255] {
            let mut add = |steps: &[u8]| {
                seeds.push(("tls", [&[mode, buffer], steps].concat()));
            };
            add(&plain);
            // In small pieces: the handshake, and what is said at once.
            add(&[SAYS, up(5), up(90), up(255), down(5), down(255), up(1), ALL].concat());
            add(&[&SAYS, &ANSWERS, &[up(60), down(100)].concat().repeat(20)[..]].concat());
            // Ends: of what is said, of the stream, of the server's words; and new keys.
            add(&[&plain[..], &[14, 0], &ANSWERS, &ALL].concat());
            add(&[&plain[..], &SAYS, &[15, 0], &ALL].concat());
            add(&[&plain[..], &SAYS, &[15, 7]].concat());
            add(&[SAYS, up(100), [15, 0]].concat());
            add(&[&plain[..], &[13, 0], &SAYS, &ALL].concat());
            add(&[&plain[..], &[12, 0], &SAYS, &[12, 0], &SAYS, &ALL].concat());
            // Spoilt: in the handshake, and behind it, at the head of a record and within it.
            for place in [0, 3, 4, 50] {
                add(&[[9, place], ALL, SAYS, ALL].concat());
                add(&[ALL, SAYS, [9, place], ALL].concat());
                add(&[ALL, ANSWERS, [10, place], ALL].concat());
                add(&[ALL, SAYS, SAYS, [11, place], ALL].concat());
            }
        }
    }
}

/// A client's frame: its first byte, the length, a key, the payload.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().zip(key.into_iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn handshakes(seeds: &mut Seeds) {
    for vector in vectors(include_str!("../../../vectors/handshakes.json")) {
        let bytes = |field: &Value| STANDARD.decode(field.as_str().unwrap_or("")).expect("base64");
        let request = bytes(&vector["request"]["b64"]);
        let rest = bytes(&vector["expect"]["rest_b64"]);
        in_pieces(seeds, "head", &[], &request);
        let bytes = [request, rest].concat();
        in_pieces(seeds, "connection", &[5], &bytes);
        in_pieces(seeds, "connection", &[5 + 16], &bytes);
    }
}

/// What the vectors have not.
fn heads(seeds: &mut Seeds) {
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /digits.txt?a=b HTTP/1.0\r\n\r\n",
        "GET http://a/digits.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-3\r\nConnection: close\r\n\r\n",
        "\r\nOPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nX: \t y \t\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         X-Forwarded-For: 1.2.3.4, ::1\r\nX-Forwarded-Proto: https\r\nOrigin: null\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET /sub?x=y HTTP/1.1\r\nHost: a\r\nX: \u{e9}\u{0}\r\n\r\n",
    ] {
        in_pieces(seeds, "head", &[], head.as_bytes());
        let twice = head.repeat(2);
        in_pieces(seeds, "connection", &[5], twice.as_bytes());
        in_pieces(seeds, "connection", &[5 + 8], twice.as_bytes());
        in_pieces(seeds, "connection", &[5 + 16], twice.as_bytes());
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n", "a".repeat(1100));
    in_pieces(seeds, "connection", &[5], long.as_bytes());
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(17));
    in_pieces(seeds, "connection", &[5], many.as_bytes());
    in_pieces(seeds, "head", &[], many.as_bytes());
}

fn paths(seeds: &mut Seeds) {
    for target in [
        "/",
        "/index.html",
        "/sub",
        "/sub/",
        "/sub?a=b",
        "/sub/empty",
        "/sub/empty/",
        "/sub/a%20b.txt",
        "/sub/%2541",
        "/sub/%ff%FE",
        "/back%5Cslash",
        "/back\\slash",
        "/.well-known/security.txt",
        "/.well-known",
        "/.well-known/.hidden",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.git",
        "/../beside",
        "/sub/../index.html",
        "/%2e%2e/beside",
        "/..%2fbeside",
        "/..%2f",
        "/out",
        "/outside/a",
        "/outside/",
        "/sub/up/digits.txt",
        "/sub/far/beside",
        "/loop",
        "/in",
        "/fifo",
        "/fifo/",
        "//evil.org",
        "//sub",
        "/\\evil.org",
        "/%5cevil.org",
        "/%2fsub",
        "/sub//",
        "/./",
        "/.",
        "/..",
        "/a",
        "/a/",
        "/a/b%20c.html",
        "/a/b%2520c.html",
        "/%00",
        "/%",
        "/%4",
        "/%zz",
        "*",
        "/sub/%0d%0aX:",
        "/sub?%0d%0aX:",
        "/sub#x",
        "http://a/sub",
        "HTTP://A",
        "http://b/sub",
    ] {
        seeds.push(("path", target.as_bytes().to_vec()));
    }
    for fields in [
        "Range: bytes=0-3\r\n",
        "Range: bytes=3-\r\n",
        "Range: bytes=-3\r\n",
        "Range: bytes=99-\r\n",
        "Range: bytes=0-1,3-4\r\n",
        "If-None-Match: *\r\n",
        "If-Match: \"x\"\r\n",
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
        "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        "Range: bytes=0-3\r\nIf-Range: \"x\"\r\n",
    ] {
        seeds.push(("path", format!("/digits.txt\n{fields}").into_bytes()));
        seeds.push(("path", format!("/a/\n{fields}").into_bytes()));
    }
}
