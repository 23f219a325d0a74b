//! `tests/vectors/frames.json`.

use serde_json::Value;

use super::super::{Framing, Message, Version, encode_close, encode_ping, encode_pong};
use super::{LIMITS, Seen, at_every_split, at_splits, decode};
use crate::proto::Limits;
use crate::proto::pool::Pool;

const FRAMES: &str = include_str!("../../../tests/vectors/frames.json");

/// Longer vectors are not cut everywhere, but around every place where something changes.
const CUT_EVERYWHERE: usize = 1024;

fn vectors() -> Vec<Value> {
    let file: Value = serde_json::from_str(FRAMES).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_else(|| panic!("a list: {value}"))
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a string: {value}"))
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap_or_else(|| panic!("a number: {value}"))).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
    assert_eq!(digits.len() % 2, 0, "{hex}");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The bytes of each item of a vector's `bytes`.
fn parts(vector: &Value) -> Vec<Vec<u8>> {
    let part = |item: &Value| match item {
        Value::String(hex) => unhex(hex),
        repeated => unhex(string(&repeated[0])).repeat(number(&repeated[1])),
    };
    list(&vector["bytes"]).iter().map(part).collect()
}

fn versions(vector: &Value) -> Vec<Version> {
    let version = |number: &Value| match number.as_u64() {
        Some(75) => Version::Hixie75,
        Some(76) => Version::Hixie76,
        Some(7) => Version::Hybi07,
        Some(8) => Version::Hybi08,
        Some(13) => Version::Rfc6455,
        _ => panic!("no version: {number}"),
    };
    let versions: Vec<Version> = list(&vector["versions"]).iter().map(version).collect();
    assert!(versions.iter().all(|version| version.is_hixie() == (vector["framing"] == "hixie")));
    versions
}

fn limits(vector: &Value) -> Limits {
    match &vector["limit"] {
        Value::Null => LIMITS,
        limit => Limits { message: number(limit), ..LIMITS },
    }
}

/// Where to cut: everywhere, or within eight bytes of the ends of each part.
fn places(parts: &[Vec<u8>]) -> Vec<usize> {
    let len: usize = parts.iter().map(Vec::len).sum();
    if len <= CUT_EVERYWHERE {
        return (0..=len).collect();
    }
    let mut edges = vec![0, len / 2];
    edges.extend(parts.iter().scan(0, |end, part| {
        *end += part.len();
        Some(*end)
    }));
    let around = |edge: usize| edge.saturating_sub(8)..=(edge + 8).min(len);
    let mut places: Vec<usize> = edges.into_iter().flat_map(around).collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn repeated_text(repeat: &Value) -> String {
    string(&repeat[0]).repeat(number(&repeat[1]))
}

fn repeated_bytes(repeat: &Value) -> Vec<u8> {
    unhex(string(&repeat[0])).repeat(number(&repeat[1]))
}

/// Whether this is the event that a vector expects.
fn is_expected(expected: &Value, seen: &Seen) -> bool {
    if expected == "closing" {
        return *seen == Seen::Close(None);
    }
    let (kind, value) = expected.as_object().and_then(|event| event.iter().next()).unwrap();
    match (kind.as_str(), seen) {
        ("text", Seen::Text(text)) => value == text,
        ("text_repeat", Seen::Text(text)) => *text == repeated_text(value),
        ("binary_repeat", Seen::Binary(bytes)) => *bytes == repeated_bytes(value),
        ("ping_hex", Seen::Ping(payload)) => *payload == unhex(string(value)),
        ("pong_hex", Seen::Pong(payload)) => *payload == unhex(string(value)),
        ("close", Seen::Close(None)) => *value == 1005 && expected["reason"] == "",
        ("close", Seen::Close(Some((code, why)))) => value == code && expected["reason"] == **why,
        ("fail", Seen::Failed(violation)) if value.is_u64() => *value == violation.code(),
        // The Hixie versions have no codes.
        ("fail", Seen::Failed(violation)) => value == "too large" && violation.code() == 1009,
        _ => false,
    }
}

/// What the connection writes for what was seen, as `dispatch` and `closing` do.
fn replies(version: Version, events: &[Seen]) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events {
        match event {
            Seen::Ping(payload) => encode_pong(payload, &mut out),
            Seen::Close(close) => {
                encode_close(version, close.as_ref().map(|(code, _)| (*code, "")), &mut out);
            }
            Seen::Failed(violation) => {
                encode_close(version, Some((violation.code(), violation.reason())), &mut out);
            }
            Seen::Text(_) | Seen::Binary(_) | Seen::Pong(_) => {}
        }
    }
    out
}

/// Takes one expected reply from the front of what was written.
fn without_reply<'o>(expected: &Value, out: &'o [u8]) -> Option<&'o [u8]> {
    if let Some(hex) = expected.get("hex") {
        return out.strip_prefix(&unhex(string(hex))[..]);
    }
    let [0x88, len @ 0..=125, rest @ ..] = out else { return None };
    let (payload, rest) = rest.split_at_checked(usize::from(*len))?;
    let as_expected = match expected["close"].as_u64() {
        None => payload.is_empty(),
        Some(code) => payload.starts_with(&u16::try_from(code).unwrap().to_be_bytes()),
    };
    as_expected.then_some(rest)
}

fn check_events(id: &str, expected: &[Value], seen: &[Seen]) {
    let as_expected = expected.len() == seen.len()
        && expected.iter().zip(seen).all(|(expected, seen)| is_expected(expected, seen));
    // Not the events themselves: some are of 70,000 bytes.
    assert!(as_expected, "{id}: {:.200}", format!("{seen:?}"));
}

fn check_replies(id: &str, version: Version, expected: &[Value], seen: &[Seen]) {
    let out = replies(version, seen);
    let rest = expected.iter().try_fold(&out[..], |out, reply| without_reply(reply, out));
    assert_eq!(rest, Some(&[][..]), "{id}, {version}: wrote {out:x?}");
}

fn check_end(id: &str, expected: &Value, seen: &[Seen]) {
    let closed = matches!(seen.last(), Some(Seen::Close(_) | Seen::Failed(_)));
    assert_eq!(expected, if closed { "closed" } else { "open" }, "{id}");
}

fn check_in(vector: &Value) {
    let (id, expect) = (string(&vector["id"]), &vector["expect"]);
    let (parts, limits) = (parts(vector), limits(vector));
    let bytes = parts.concat();
    for version in versions(vector) {
        println!("{id}, {version}");
        let seen = at_splits(version, &limits, &bytes, places(&parts));
        check_events(id, list(&expect["events"]), &seen);
        check_replies(id, version, list(&expect["reply"]), &seen);
        check_end(id, &expect["end"], &seen);
    }
}

fn encode_message(version: Version, message: Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let framing = Framing::of(version, None);
    let encoded = framing.encode(message, &mut Pool::default(), &mut out).unwrap();
    assert_eq!(encoded, !out.is_empty());
    if encoded {
        let envelope = framing.envelope(message, None).unwrap();
        assert_eq!(out.len(), message.as_bytes().len() + envelope.len());
    }
    out
}

/// What a vector's message becomes on the wire.
fn encoded(version: Version, message: &Value) -> Vec<u8> {
    let (kind, value) = message.as_object().and_then(|fields| fields.iter().next()).unwrap();
    let mut out = Vec::new();
    match kind.as_str() {
        "text" => return encode_message(version, string(value).into()),
        "text_repeat" => return encode_message(version, (&repeated_text(value)).into()),
        "binary_hex" => return encode_message(version, unhex(string(value))[..].into()),
        "binary_repeat" => return encode_message(version, repeated_bytes(value)[..].into()),
        "ping_hex" => {
            let encoded = encode_ping(Framing::of(version, None), &unhex(string(value)), &mut out);
            assert_eq!(encoded, !version.is_hixie());
        }
        "close" => {
            let code = u16::try_from(number(value)).unwrap();
            encode_close(version, Some((code, string(&message["reason"]))), &mut out);
        }
        _ => panic!("no message: {message}"),
    }
    out
}

fn check_out(vector: &Value) {
    let expected = parts(vector).concat();
    for version in versions(vector) {
        let encoded = encoded(version, &vector["message"]);
        assert!(encoded == expected, "{}, {version}", vector["id"]);
    }
}

#[test]
fn what_comes_in_means_the_same_at_every_split() {
    let vectors = vectors();
    let is_ours = |vector: &&Value| vector["direction"] == "in" && vector["role"] == "server";
    let ours: Vec<&Value> = vectors.iter().filter(is_ours).collect();
    assert_eq!(ours.len(), 83);
    ours.into_iter().for_each(check_in);
}

#[test]
fn what_goes_out_is_framed_as_expected() {
    let vectors = vectors();
    let out: Vec<&Value> = vectors.iter().filter(|vector| vector["direction"] == "out").collect();
    assert_eq!(out.len(), 15);
    out.into_iter().for_each(check_out);
}

/// A server refuses those: they are not masked.
#[test]
fn what_is_meant_for_clients_is_all_that_is_left() {
    let vectors = vectors();
    let others: Vec<&Value> = vectors.iter().filter(|vector| vector["role"] == "client").collect();
    assert_eq!((others.len(), vectors.len()), (2, 83 + 15 + 2));
    for vector in others {
        assert_eq!(vector["direction"], "in");
        for version in versions(vector) {
            let seen = decode(version, &LIMITS, [&parts(vector).concat()[..]]);
            assert_eq!(seen, [Seen::Failed(crate::proto::Violation::Unmasked)]);
        }
    }
}

/// One after the other on one connection, as one stream.
#[test]
fn vectors_that_end_open_and_whole_can_follow_each_other() {
    for version in super::ALL_VERSIONS {
        let (mut bytes, mut count) = (Vec::new(), 0);
        for vector in vectors().iter().filter(|vector| can_be_followed(vector, version)) {
            bytes.extend(parts(vector).concat());
            count += list(&vector["expect"]["events"]).len();
        }
        let seen = at_every_split(version, &LIMITS, &bytes);
        assert!(count > 5 && seen.len() == count, "{version}: {count} events, {seen:?}");
    }
}

fn can_be_followed(vector: &Value, version: Version) -> bool {
    vector["direction"] == "in"
        && vector["role"] == "server"
        && vector["limit"].is_null()
        && vector["expect"]["end"] == "open"
        && !string(&vector["id"]).contains("part")
        && parts(vector).concat().len() <= CUT_EVERYWHERE
        && versions(vector).contains(&version)
}

#[test]
fn an_event_is_no_frame() {
    let (text, binary) = (Message::Text("a"), Message::Binary(b"a"));
    let (mut pool, mut out) = (Pool::default(), Vec::new());
    for message in [text, binary] {
        assert!(Framing::Events.envelope(message, None).is_none());
    }
    assert_eq!(Framing::Events.encode(text, &mut pool, &mut out), Ok(true));
    assert_eq!(Framing::Events.encode(binary, &mut pool, &mut out), Ok(false));
    assert_eq!(out, b"data: a\n\n");
}
