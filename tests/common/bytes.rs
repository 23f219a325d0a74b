//! What clients of the five versions send, byte by byte.

use wsloop::Version;

pub const VERSIONS: [Version; 5] =
    [Version::Hixie75, Version::Hixie76, Version::Hybi07, Version::Hybi08, Version::Rfc6455];
pub const HYBI: [Version; 3] = [Version::Hybi07, Version::Hybi08, Version::Rfc6455];

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame, its mask included: `first` holds FIN and the opcode.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

pub fn masked_close(code: u16, reason: &str) -> Vec<u8> {
    masked(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// A request for a WebSocket as the browsers of that version sent it, with further fields, each
/// ended by CR LF; the bytes behind a Hixie-76 head included. It names this machine, as servers on
/// loopback addresses demand.
pub fn request(version: Version, path: &str, fields: &str) -> Vec<u8> {
    request_from(version, path, "localhost", Some(b"http://localhost"), fields)
}

/// The same with any host and origin.
pub fn request_from(
    version: Version,
    path: &str,
    host: &str,
    origin: Option<&[u8]>,
    fields: &str,
) -> Vec<u8> {
    let upgrade = if version.is_hixie() { "WebSocket" } else { "websocket" };
    let origin_field = match version {
        Version::Hybi07 | Version::Hybi08 => "Sec-WebSocket-Origin",
        _ => "Origin",
    };
    let number = match version {
        Version::Hixie75 | Version::Hixie76 => None,
        Version::Hybi07 => Some(7),
        Version::Hybi08 => Some(8),
        Version::Rfc6455 => Some(13),
    };
    let mut head = format!("GET {path} HTTP/1.1\r\nUpgrade: {upgrade}\r\nConnection: Upgrade\r\n");
    head.push_str(&format!("Host: {host}\r\n"));
    let mut bytes = head.into_bytes();
    if let Some(origin) = origin {
        bytes.extend([origin_field.as_bytes(), b": ", origin, b"\r\n"].concat());
    }
    if let Some(number) = number {
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        bytes.extend(format!("{key}\r\nSec-WebSocket-Version: {number}\r\n").bytes());
    }
    if version == Version::Hixie76 {
        bytes.extend(b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n");
        bytes.extend(b"Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n");
    }
    bytes.extend([fields.as_bytes(), b"\r\n"].concat());
    if version == Version::Hixie76 {
        bytes.extend(b"^n:ds[4U");
    }
    bytes
}

/// A text message as a client of this version writes it.
pub fn text_message(version: Version, text: &[u8]) -> Vec<u8> {
    if version.is_hixie() { [b"\0", text, b"\xff"].concat() } else { masked(0x81, text) }
}

/// A plain request, with further fields, each ended by CR LF.
pub fn plain_request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}
