//! The opening handshakes: from a request head to one of five versions, and the answer to it
//! (RFC 6455 section 4.2; hixie-76 section 5; hixie-75 section 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Md5;
use sha1::{Digest, Sha1};

use super::Version;
use super::deflate::{self, Agreed, Deflate};
use crate::http::request::Request;
use crate::http::response::{Response, bad_request};

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A WebSocket request that may be accepted.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) request: Request<'a>,
    proof: Proof<'a>,
    pub(crate) version: Version,
}

/// What the server must show to have understood the request.
#[derive(Debug)]
enum Proof<'a> {
    /// Hixie-75 asks for none.
    None,
    /// The parts of Hixie-76's two keys; the digest needs the eight bytes behind the head too.
    Parts([u32; 2]),
    /// The key of the HyBi versions and RFC 6455.
    Key(&'a [u8]),
}

/// Reads a request: `None` for plain HTTP; an error is the answer to a WebSocket request that
/// cannot be accepted, since something is wrong with it or its version is not among the `spoken` ones.
/// The versions are told apart by what only they have, in this order.
pub(crate) fn offer<'a>(
    request: Request<'a>,
    spoken: &[Version],
) -> Result<Option<Offer<'a>>, Response> {
    if !request.has_token("Upgrade", "websocket") || !request.is_http_1_1() {
        return Ok(None);
    }
    if request.method() != "GET" {
        return Err(bad_request("a WebSocket request is a GET of HTTP/1.1"));
    }
    if !request.has_token("Connection", "Upgrade") {
        return Err(bad_request("a WebSocket request says Connection: Upgrade"));
    }
    let (version, proof) = match version_field(&request, spoken)? {
        Some(version) => (version, Proof::Key(hybi_key(&request, version)?)),
        None if has(&request, "Sec-WebSocket-Key") => {
            return Err(bad_request("no Sec-WebSocket-Version field"));
        }
        None if has(&request, "Sec-WebSocket-Key1") || has(&request, "Sec-WebSocket-Key2") => {
            (Version::Hixie76, Proof::Parts(hixie_keys(&request)?))
        }
        None => (hixie_75(&request)?, Proof::None),
    };
    if !spoken.contains(&version) {
        return Err(not_spoken(spoken));
    }
    let body = request.content_length();
    if body != 0 && !(body == 8 && version == Version::Hixie76) {
        return Err(bad_request("a WebSocket request has no body"));
    }
    Ok(Some(Offer { request, proof, version }))
}

/// Whether this would be a WebSocket request, were it HTTP/1.1: a proxy has sent it on as HTTP/1.0,
/// which has no Upgrade (RFC 9110 section 7.8).
pub(crate) fn is_too_old(request: &Request<'_>) -> bool {
    let is_get = request.method() == "GET";
    is_get && !request.is_http_1_1() && request.has_token("Upgrade", "websocket")
}

impl<'a> Offer<'a> {
    /// The origin of the page that made the request; only browsers send it.
    pub(crate) fn origin(&self) -> Option<&'a [u8]> {
        let drafts = match self.version {
            Version::Hybi07 | Version::Hybi08 => self.request.header_bytes("Sec-WebSocket-Origin"),
            _ => None,
        };
        drafts.or_else(|| self.request.header_bytes("Origin"))
    }

    /// Hixie-76: what [`digest`] needs beside the eight bytes that follow the head.
    pub(crate) fn challenge(&self) -> Option<[u32; 2]> {
        match self.proof {
            Proof::Parts(parts) => Some(parts),
            _ => None,
        }
    }

    /// The compression that can be agreed on. The drafts have their own kinds, which are declined.
    pub(crate) fn agree(&self, settings: Option<Deflate>) -> Option<Agreed> {
        settings.filter(|_| self.version == Version::Rfc6455)?;
        deflate::agree(self.request.header_values("Sec-WebSocket-Extensions"))
    }

    /// Appends the head of the answer, with the subprotocol and the extension chosen, if any.
    /// `secure` says that the client's connection is TLS, here or at a proxy in front.
    pub(crate) fn accept(
        &self,
        protocol: Option<&str>,
        deflate: Option<Agreed>,
        secure: bool,
        out: &mut Vec<u8>,
    ) {
        match (self.version, &self.proof) {
            (Version::Hixie75, _) => {
                out.extend_from_slice(b"HTTP/1.1 101 Web Socket Protocol Handshake\r\n");
                self.accept_hixie(secure, "WebSocket-", out);
                field(out, "WebSocket-Protocol", protocol.map(str::as_bytes));
            }
            (Version::Hixie76, _) => {
                out.extend_from_slice(b"HTTP/1.1 101 WebSocket Protocol Handshake\r\n");
                self.accept_hixie(secure, "Sec-WebSocket-", out);
                field(out, "Sec-WebSocket-Protocol", protocol.map(str::as_bytes));
            }
            (_, Proof::Key(key)) => {
                // Chrome 14 compares the whole of Connection with "Upgrade".
                out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
                field(out, "Upgrade", Some(b"websocket"));
                field(out, "Connection", Some(b"Upgrade"));
                field(out, "Sec-WebSocket-Accept", Some(accept_value(key).as_bytes()));
                field(out, "Sec-WebSocket-Protocol", protocol.map(str::as_bytes));
                let extension = deflate.map(|agreed| agreed.to_string());
                field(out, "Sec-WebSocket-Extensions", extension.as_deref().map(str::as_bytes));
            }
            (_, Proof::None | Proof::Parts(_)) => {}
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The clients of Hixie-75 compare these lines byte by byte, and Origin and Location with their
    /// own: everything is sent back as it came.
    fn accept_hixie(&self, secure: bool, prefix: &str, out: &mut Vec<u8>) {
        field(out, "Upgrade", Some(b"WebSocket"));
        field(out, "Connection", Some(b"Upgrade"));
        field(out, &format!("{prefix}Origin"), self.origin());
        let scheme: &[u8] = if secure { b"wss://" } else { b"ws://" };
        let host = self.request.header_bytes("Host").unwrap_or_default();
        let location = [scheme, host, self.request.target().as_bytes()].concat();
        field(out, &format!("{prefix}Location"), Some(&location));
    }
}

/// Hixie-76 section 5.2, steps 8 and 9: what follows the head of the answer.
pub(crate) fn digest(parts: [u32; 2], bytes: [u8; 8]) -> [u8; 16] {
    let [first, second] = parts.map(u32::to_be_bytes);
    Md5::new().chain_update(first).chain_update(second).chain_update(bytes).finalize().into()
}

fn field(out: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    if let Some(value) = value {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}

fn has(request: &Request<'_>, name: &str) -> bool {
    request.header_bytes(name).is_some()
}

/// The value of a field that may be there only once.
fn once<'a>(request: &Request<'a>, name: &str) -> Result<Option<&'a [u8]>, Response> {
    let mut values = request.header_values(name);
    let first = values.next();
    if values.next().is_some() {
        return Err(bad_request(&format!("more than one {name} field")));
    }
    Ok(first)
}

fn version_field(request: &Request<'_>, spoken: &[Version]) -> Result<Option<Version>, Response> {
    let Some(number) = once(request, "Sec-WebSocket-Version")? else { return Ok(None) };
    let named = |version: &&Version| number_of(**version).is_some_and(|n| n.as_bytes() == number);
    match spoken.iter().find(named) {
        Some(version) => Ok(Some(*version)),
        None => Err(not_spoken(spoken)),
    }
}

/// How `Sec-WebSocket-Version` names a version, if it does.
fn number_of(version: Version) -> Option<&'static str> {
    match version {
        Version::Hixie75 | Version::Hixie76 => None,
        Version::Hybi07 => Some("7"),
        Version::Hybi08 => Some("8"),
        Version::Rfc6455 => Some("13"),
    }
}

/// Section 4.4.
fn not_spoken(spoken: &[Version]) -> Response {
    let latest_first = Version::ALL.iter().rev().filter(|version| spoken.contains(version));
    let numbers: Vec<&str> = latest_first.filter_map(|version| number_of(*version)).collect();
    if numbers.is_empty() {
        let text = "this version of the WebSocket protocol is not spoken here\n";
        return Response::upgrade_required(text);
    }
    let numbers = numbers.join(", ");
    Response::upgrade_required(format!("the WebSocket versions spoken here are {numbers}\n"))
        .header("Sec-WebSocket-Version", numbers)
}

/// Section 4.2.1: 16 bytes in base64. The drafts need not obey that: old clients sent 15.
fn hybi_key<'a>(request: &Request<'a>, version: Version) -> Result<&'a [u8], Response> {
    let key = once(request, "Sec-WebSocket-Key")?.unwrap_or_default();
    let whole = || BASE64.decode(key).is_ok_and(|bytes| bytes.len() == 16);
    if key.is_empty() || (version == Version::Rfc6455 && !whole()) {
        return Err(bad_request("Sec-WebSocket-Key is not 16 bytes in base64"));
    }
    Ok(key)
}

fn accept_value(key: &[u8]) -> String {
    BASE64.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

fn hixie_keys(request: &Request<'_>) -> Result<[u32; 2], Response> {
    // Values other than 0 mean hybi-01 to -03, which nothing shipped.
    if once(request, "Sec-WebSocket-Draft")?.is_some_and(|draft| draft != b"0") {
        return Err(bad_request("this draft of the WebSocket protocol is not spoken here"));
    }
    let mut parts = [0; 2];
    for (part, name) in parts.iter_mut().zip(["Sec-WebSocket-Key1", "Sec-WebSocket-Key2"]) {
        *part = once(request, name)?
            .and_then(key_part)
            .ok_or_else(|| bad_request(&format!("{name} is not a key of hixie-76")))?;
    }
    Ok(parts)
}

/// Hixie-76 section 5.2, steps 4 to 7: the digits as a number, divided by the count of spaces. A
/// key without any space is the mark of a request that a page forged by other means.
fn key_part(key: &[u8]) -> Option<u32> {
    let digits = key.iter().filter(|byte| byte.is_ascii_digit());
    let number: u64 = digits.map(|&digit| char::from(digit)).collect::<String>().parse().ok()?;
    let spaces = key.iter().filter(|&&byte| byte == b' ').count() as u64;
    let part = number.checked_div(spaces).filter(|_| number.is_multiple_of(spaces))?;
    u32::try_from(part).ok()
}

/// Accepts exactly what every browser of that version sent; nothing else tells the version.
fn hixie_75(request: &Request<'_>) -> Result<Version, Response> {
    let exact = |name, value: &[u8]| request.header_values(name).all(|field| field == value);
    let later = |name: &str| {
        name.get(..14).is_some_and(|start| start.eq_ignore_ascii_case("Sec-WebSocket-"))
    };
    if exact("Upgrade", b"WebSocket")
        && exact("Connection", b"Upgrade")
        && has(request, "Origin")
        && !request.headers().any(|(name, _)| later(name))
    {
        return Ok(Version::Hixie75);
    }
    Err(bad_request("no Sec-WebSocket-Version and no Sec-WebSocket-Key field"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_rfc_6455_section_1_3() {
        assert_eq!(accept_value(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_keys_of_hixie_76_section_1_2() {
        assert_eq!(key_part(b"4 @1  46546xW%0l 1 5"), Some(829_309_203));
        assert_eq!(key_part(b"12998 5 Y3 1  .P00"), Some(259_970_620));
        assert_eq!(&digest([829_309_203, 259_970_620], *b"^n:ds[4U"), b"8jKS'y:G*Co,Wxa-");
    }

    /// Which version a request with these lines is of, and whether a proxy has made it too old; or the
    /// status of the refusal.
    fn offered(lines: &str) -> (Result<Option<Version>, u16>, bool) {
        let head = format!("{lines}\r\nHost: a\r\n\r\n");
        let mut slots = [httparse::EMPTY_HEADER; 8];
        let request = crate::http::request::parse(head.as_bytes(), &mut slots).unwrap();
        let too_old = is_too_old(&request);
        let offer = offer(request, &Version::ALL).map(|offer| offer.map(|offer| offer.version));
        (offer.map_err(|response| response.status), too_old)
    }

    #[test]
    fn a_websocket_request_is_a_get_of_http_1_1() {
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        for (line, fields, version, too_old) in [
            ("GET / HTTP/1.1", upgrade, Ok(Some(Version::Rfc6455)), false),
            ("POST / HTTP/1.1", upgrade, Err(400), false),
            ("GET / HTTP/1.0", upgrade, Ok(None), true),
            ("HEAD / HTTP/1.0", upgrade, Ok(None), false),
            ("GET / HTTP/1.0", "Connection: Upgrade", Ok(None), false),
            ("GET / HTTP/1.1", "Connection: Upgrade", Ok(None), false),
        ] {
            assert_eq!(offered(&format!("{line}\r\n{fields}")), (version, too_old), "{line}");
        }
    }

    #[test]
    fn hixie_75_is_told_by_what_its_browsers_sent() {
        let lines = |upgrade, connection, last| {
            let fields = format!("Upgrade: {upgrade}\r\nConnection: {connection}\r\n{last}");
            offered(&format!("GET / HTTP/1.1\r\n{fields}")).0
        };
        let origin = "Origin: http://a";
        assert_eq!(lines("WebSocket", "Upgrade", origin), Ok(Some(Version::Hixie75)));
        for (upgrade, connection, last) in [
            ("websocket", "Upgrade", origin),
            ("WebSocket", "upgrade", origin),
            ("WebSocket", "Upgrade, keep-alive", origin),
            ("WebSocket", "Upgrade", "X: no origin"),
            ("WebSocket", "Upgrade", "Origin: http://a\r\nSec-WebSocket-Extensions: x"),
        ] {
            assert_eq!(lines(upgrade, connection, last), Err(400), "{upgrade} {connection} {last}");
        }
    }

    #[test]
    fn a_version_that_is_not_spoken_is_told_which_are() {
        let refused = |fields: &str, spoken: &[Version]| {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            let mut slots = [httparse::EMPTY_HEADER; 8];
            let request = crate::http::request::parse(head.as_bytes(), &mut slots).unwrap();
            let response = offer(request, spoken).unwrap_err();
            let mut head = Vec::new();
            response.write_head(true, &mut head);
            (response.status, String::from_utf8(head).unwrap())
        };
        let hybi = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 7\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let hixie = "Upgrade: WebSocket\r\nConnection: Upgrade\r\nOrigin: http://a";
        for fields in [hybi, hixie] {
            let (status, head) = refused(fields, &[Version::Hybi08, Version::Rfc6455]);
            assert_eq!(status, 426);
            assert!(head.contains("Sec-WebSocket-Version: 13, 8\r\n"), "{head}");
        }
        let (status, head) = refused(hixie, &[Version::Hixie76]);
        assert!(status == 426 && !head.contains("Sec-WebSocket-Version"), "{head}");
    }

    #[test]
    fn keys_that_no_browser_makes() {
        for key in ["", "1", "a b", "1 2 3 7x", "9 9999999999", "1 00000000000000000000000000"] {
            assert_eq!(key_part(key.as_bytes()), None, "{key:?}");
        }
        assert_eq!(key_part(b"42949 67295x"), Some(u32::MAX));
        assert_eq!(key_part(b"0 x"), Some(0));
    }
}
