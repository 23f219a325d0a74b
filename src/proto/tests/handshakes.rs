//! `tests/vectors/handshakes.json`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::super::handshake::{self, Offer};
use super::super::{Limits, Version};
use super::{Seen, at_every_split, cut, text};
use crate::http::request::{self, HeadEnd, find_head_end};
use crate::http::response::{Response, bad_request};

const HANDSHAKES: &str = include_str!("../../../tests/vectors/handshakes.json");

fn vectors() -> Vec<Value> {
    let file: Value = serde_json::from_str(HANDSHAKES).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

fn vectors_that(outcome: &str) -> Vec<Value> {
    vectors().into_iter().filter(|vector| vector["expect"]["outcome"] == outcome).collect()
}

fn vector(id: &str) -> Value {
    vectors().into_iter().find(|vector| vector["id"] == id).unwrap()
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a string: {value}"))
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64.decode(string(value)).unwrap()
}

fn request(vector: &Value) -> Vec<u8> {
    bytes(&vector["request"]["b64"])
}

/// What the server of a vector can do.
#[derive(Debug, Clone)]
struct Settings {
    secure: bool,
    subprotocols: Vec<String>,
}

impl Settings {
    fn of(vector: &Value) -> Settings {
        let names = vector["server"]["subprotocols"].as_array().unwrap();
        Settings {
            secure: vector["server"]["secure"].as_bool().unwrap(),
            subprotocols: names.iter().map(|name| string(name).to_string()).collect(),
        }
    }
}

/// What is known of an accepted request, besides the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Accepted {
    version: Version,
    subprotocol: Option<String>,
    origin: Option<Vec<u8>>,
    parts: Option<[u32; 2]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Head,
    /// Hixie-76: the eight bytes behind the head.
    Challenge,
    Frames,
    /// Not a WebSocket: refused.
    Refused,
}

/// The opening of one connection, as `dispatch` goes through it: bytes in, the answer out.
#[derive(Debug)]
struct Opening {
    settings: Settings,
    at: At,
    kept: Vec<u8>,
    accepted: Option<Accepted>,
    /// All that was written.
    out: Vec<u8>,
}

impl Opening {
    fn new(settings: &Settings) -> Opening {
        let settings = settings.clone();
        Opening { settings, at: At::Head, kept: Vec::new(), accepted: None, out: Vec::new() }
    }

    /// Feeds the bytes of one read; `kept` is what no step could use yet, at last the frames.
    fn feed(&mut self, piece: &[u8]) {
        let searched = self.kept.len();
        self.kept.extend_from_slice(piece);
        if self.at == At::Head {
            match find_head_end(&self.kept, searched) {
                HeadEnd::At(end) => self.answer(end),
                HeadEnd::Missing => {}
                HeadEnd::BareLineFeed => self.refuse(bad_request("bare LF")),
            }
        }
        if self.at == At::Challenge
            && let Some((bytes, rest)) = self.kept.split_first_chunk()
        {
            let parts = self.accepted.as_ref().and_then(|accepted| accepted.parts).unwrap();
            self.out.extend_from_slice(&handshake::digest(parts, *bytes));
            self.kept = rest.to_vec();
            self.at = At::Frames;
        }
    }

    fn answer(&mut self, end: usize) {
        let rest = self.kept.split_off(end);
        let head = std::mem::replace(&mut self.kept, rest);
        let mut slots = [httparse::EMPTY_HEADER; 100];
        let offer = request::parse(&head, &mut slots)
            .and_then(|request| handshake::offer(request, &Version::ALL));
        match offer {
            Ok(Some(offer)) => self.accept(&offer),
            Ok(None) => panic!("taken for plain HTTP: {}", head.escape_ascii()),
            Err(response) => self.refuse(response),
        }
    }

    fn accept(&mut self, offer: &Offer<'_>) {
        let mut offered = offer.request.protocols();
        let spoken =
            offered.find(|name| self.settings.subprotocols.iter().any(|ours| ours == name));
        offer.accept(spoken, None, self.settings.secure, &mut self.out);
        let parts = offer.challenge();
        self.at = if parts.is_some() { At::Challenge } else { At::Frames };
        self.accepted = Some(Accepted {
            version: offer.version,
            subprotocol: spoken.map(str::to_string),
            origin: offer.origin().map(<[u8]>::to_vec),
            parts,
        });
    }

    fn refuse(&mut self, response: Response) {
        response.write_head(false, &mut self.out);
        self.at = At::Refused;
    }
}

fn open(settings: &Settings, pieces: &[&[u8]]) -> Opening {
    let mut opening = Opening::new(settings);
    for piece in pieces {
        opening.feed(piece);
    }
    opening
}

/// The answer without its `Date`, which may change between two of them.
fn undated(answer: &[u8]) -> Vec<u8> {
    let lines = answer.split_inclusive(|&byte| byte == b'\n');
    lines.filter(|line| !line.starts_with(b"Date: ")).flatten().copied().collect()
}

/// Asserts that a request is answered alike however it is cut.
fn open_at_every_split(vector: &Value) -> Opening {
    let (settings, request) = (Settings::of(vector), request(vector));
    let whole = open(&settings, &[&request]);
    let check = |pieces: &[&[u8]], how: &str| {
        let opening = open(&settings, pieces);
        assert_eq!(undated(&opening.out), undated(&whole.out), "{}, {how}", vector["id"]);
        assert_eq!((opening.at, &opening.accepted), (whole.at, &whole.accepted));
        if whole.at == At::Frames {
            assert_eq!(opening.kept, whole.kept, "{}, {how}", vector["id"]);
        }
    };
    check(&request.chunks(1).collect::<Vec<_>>(), "byte by byte");
    for place in 0..=request.len() {
        check(&cut(&request, &[place]), &format!("cut at {place}"));
    }
    whole
}

/// Status code and fields of a head, the names in lower case, all in order.
fn fields_of(head: &[u8]) -> (u16, Vec<(String, String)>) {
    let head = str::from_utf8(head).unwrap().strip_suffix("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).unwrap();
    let mut fields: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_string()))
        .collect();
    fields.sort();
    (status[..3].parse().unwrap(), fields)
}

fn version(name: &str) -> Version {
    match name {
        "hixie-75" => Version::Hixie75,
        "hixie-76" => Version::Hixie76,
        "hybi-07" => Version::Hybi07,
        "hybi-08" => Version::Hybi08,
        "rfc6455" => Version::Rfc6455,
        _ => panic!("no version: {name}"),
    }
}

fn check_answer(vector: &Value, version: Version, answer: &[u8]) {
    let expected = bytes(&vector["expect"]["response"]["b64"]);
    if version.is_hixie() {
        let (answer, expected) = (answer.escape_ascii(), expected.escape_ascii());
        assert_eq!(answer.to_string(), expected.to_string(), "{}", vector["id"]);
    } else {
        assert_eq!(fields_of(answer), fields_of(&expected), "{}", vector["id"]);
    }
}

fn check_accepted(vector: &Value) {
    let (id, expect) = (&vector["id"], &vector["expect"]);
    let opening = open_at_every_split(vector);
    assert_eq!(opening.at, At::Frames, "{id}: {}", opening.out.escape_ascii());
    let accepted = opening.accepted.unwrap();
    assert_eq!(accepted.version, version(string(&vector["version"])), "{id}");
    assert_eq!(accepted.subprotocol.as_deref(), expect["subprotocol"].as_str(), "{id}");
    if let Some(origin) = expect["origin"].as_str() {
        assert_eq!(accepted.origin.as_deref(), Some(origin.as_bytes()), "{id}");
    }
    if let Some([first, second]) = expect["key_numbers"].as_array().map(Vec::as_slice) {
        let [a, b] = accepted.parts.unwrap();
        assert!(*first == a && *second == b, "{id}: {a}, {b}");
    }
    check_answer(vector, accepted.version, &opening.out);
    assert_eq!(opening.kept, bytes(&expect["rest_b64"]), "{id}");
}

fn check_refused(vector: &Value) {
    let (id, expect) = (&vector["id"], &vector["expect"]);
    let opening = open_at_every_split(vector);
    assert_eq!((opening.at, &opening.accepted), (At::Refused, &None), "{id}");
    let (status, fields) = fields_of(&opening.out);
    let statuses = expect["status"].as_array().unwrap();
    assert!(statuses.iter().any(|expected| *expected == status), "{id}: {status}");
    for (name, value) in expect["headers"].as_object().unwrap() {
        let field = (name.to_ascii_lowercase(), string(value).to_string());
        assert!(fields.contains(&field), "{id}: {fields:?}");
    }
    let says = |value: &str| fields.iter().any(|field| field.0 == "connection" && field.1 == value);
    assert!(says("close") || says("Upgrade, close"), "{id}: {fields:?}");
}

/// Sends each stage and looks at what comes back before the next.
fn check_stages(vector: &Value) {
    let mut opening = Opening::new(&Settings::of(vector));
    for stage in vector["expect"]["stages"].as_array().unwrap() {
        let before = opening.out.len();
        opening.feed(&bytes(&stage["send_b64"]));
        let got = opening.out[before..].escape_ascii().to_string();
        assert_eq!(got, bytes(&stage["get_b64"]).escape_ascii().to_string(), "{}", vector["id"]);
    }
    assert_eq!(opening.at, At::Frames);
}

#[test]
fn every_request_is_either_accepted_or_refused() {
    assert_eq!((vectors_that("accept").len(), vectors_that("reject").len()), (29, 20));
    assert_eq!(vectors().len(), 29 + 20);
}

#[test]
fn requests_are_accepted_at_every_split() {
    vectors_that("accept").iter().for_each(check_accepted);
}

#[test]
fn requests_are_refused_at_every_split() {
    vectors_that("reject").iter().for_each(check_refused);
}

#[test]
fn the_answer_comes_in_the_stages_that_proxies_need() {
    let staged: Vec<Value> =
        vectors().into_iter().filter(|vector| !vector["expect"]["stages"].is_null()).collect();
    assert_eq!(staged.len(), 1);
    staged.iter().for_each(check_stages);
}

/// The clients of 75 and 76 accept only an answer that begins like this.
#[test]
fn the_answers_of_hixie_begin_to_the_letter() {
    for vector in vectors_that("accept") {
        let phrase = match string(&vector["version"]) {
            "hixie-75" => "Web Socket",
            "hixie-76" => "WebSocket",
            _ => continue,
        };
        let start = format!(
            "HTTP/1.1 101 {phrase} Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        );
        let opening = open(&Settings::of(&vector), &[&request(&vector)]);
        assert!(opening.out.starts_with(start.as_bytes()), "{}", vector["id"]);
    }
}

#[test]
fn bytes_behind_a_handshake_are_frames() {
    for (id, expected) in [
        ("75-frame-behind", vec![text("hi")]),
        ("76-frame-behind", vec![text("hi"), Seen::Close(None)]),
    ] {
        let vector = vector(id);
        let opening = open(&Settings::of(&vector), &[&request(&vector)]);
        let version = opening.accepted.unwrap().version;
        let limits = Limits { message: 16, fragments: 1 };
        assert_eq!(at_every_split(version, &limits, &opening.kept), expected, "{id}");
    }
}

#[test]
fn requests_that_want_no_websocket_are_plain_http() {
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        let mut slots = [httparse::EMPTY_HEADER; 8];
        let request = request::parse(head.as_bytes(), &mut slots).unwrap();
        assert!(handshake::offer(request, &Version::ALL).unwrap().is_none(), "{head:?}");
    }
}

/// The status code a request is refused with, if it is.
fn refusal(fields: &str) -> Option<u16> {
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n{fields}\r\n");
    let mut slots = [httparse::EMPTY_HEADER; 16];
    match request::parse(head.as_bytes(), &mut slots)
        .and_then(|request| handshake::offer(request, &Version::ALL))
    {
        Ok(offer) => offer.is_none().then(|| panic!("plain HTTP: {head:?}")),
        Err(response) => Some(response.status),
    }
}

#[test]
fn fields_that_may_come_once_and_bodies_are_refused() {
    let base = "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(refusal(base), None);
    for (more, status) in [
        ("Sec-WebSocket-Version: 13\r\n", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400),
        ("Content-Length: 8\r\n", 400),
        ("Content-Length: 99999999999999999999999999\r\n", 400),
    ] {
        assert_eq!(refusal(&format!("{base}{more}")), Some(status), "{more:?}");
    }
    assert_eq!(refusal(&base.replace("13", "13, 8")), Some(426));
    assert_eq!(refusal(&base.replace("13", "013")), Some(426));
    assert_eq!(refusal(&format!("{base}Content-Length: 0\r\n")), None);
}

#[test]
fn keys_of_rfc_6455_are_sixteen_bytes_and_those_of_the_drafts_any() {
    let with = |version: &str, key: &str| {
        refusal(&format!(
            "Connection: Upgrade\r\nSec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n"
        ))
    };
    for key in ["AAAA", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZSE=", "\u{e9}"] {
        assert_eq!(with("13", key), Some(400), "{key}");
        assert_eq!((with("8", key), with("7", key)), (None, None), "{key}");
    }
    for version in ["13", "8", "7"] {
        assert_eq!(with(version, ""), Some(400), "{version}");
    }
}

#[test]
fn the_drafts_name_the_origin_in_a_field_of_their_own() {
    for (version, expected) in [("13", "b"), ("8", "a"), ("7", "a")] {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: {version}\r\n\
             Sec-WebSocket-Origin: a\r\nOrigin: b\r\n\r\n"
        );
        let mut slots = [httparse::EMPTY_HEADER; 8];
        let request = request::parse(head.as_bytes(), &mut slots).unwrap();
        let offer = handshake::offer(request, &Version::ALL).unwrap().unwrap();
        assert_eq!(offer.origin(), Some(expected.as_bytes()), "{version}");
    }
}
