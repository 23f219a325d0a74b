//! Request heads (RFC 9112), sans-I/O.
//!
//! `httparse` cuts the head into fields; everything it is lenient about is checked here, so that no
//! two readers of the same bytes (a proxy in front and us) can disagree about them.

use std::borrow::Cow;

use httparse::Header;
use memchr::{memchr, memchr_iter};

use crate::http::origin::is_same_authority;
use crate::http::response::{Response, bad_request};

/// One request head, borrowed from the receive buffer; valid during
/// [`on_request`](crate::Handler::on_request) and [`on_open`](crate::Handler::on_open).
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    minor: u8,
    headers: &'a [Header<'a>],
}

impl<'a> Request<'a> {
    /// The method as it was sent, `GET` for every WebSocket request.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The request target: path and query as they were sent, without a scheme and host; visible ASCII
    /// only.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The target up to its first `?`, not percent-decoded.
    pub fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// The target behind its first `?`, not percent-decoded; empty if there is none.
    pub fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The value of the first field of this name, in any case, if the value is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.header_bytes(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The first field of this name, in any case: the bytes of its value, without the white space
    /// around them.
    #[inline(never)]
    pub fn header_bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.header_values(name).next()
    }

    /// Every field in the order it came: its name as it was sent, and the bytes of its value.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.headers.iter().map(|field| (field.name, field.value))
    }

    /// The subprotocols the client offers, in its order of preference (RFC 6455 section 4.1; the
    /// Hixie drafts offer one at most).
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.header_values("Sec-WebSocket-Protocol")
            .chain(self.header_values("WebSocket-Protocol"))
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|list| list.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty())
    }

    pub(crate) fn header_values<'n>(
        &self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let same_name = move |field: &&Header<'a>| field.name.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same_name).map(|field| field.value)
    }

    /// Whether a comma-separated field holds this token, in any case (RFC 9110 section 5.6.1).
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.header_values(name)
            .flat_map(|list| list.split(|&byte| byte == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether an answer of this media type is asked for by its name.
    pub(crate) fn accepts(&self, media_type: &str) -> bool {
        let mut lists = self.header_values("Accept");
        lists.any(|list| list.split(|&byte| byte == b',').any(|item| is_type(item, media_type)))
    }

    /// Whether its body is of this media type.
    pub(crate) fn has_type(&self, media_type: &str) -> bool {
        self.header_bytes("Content-Type").is_some_and(|value| is_type(value, media_type))
    }

    pub(crate) fn is_http_1_1(&self) -> bool {
        self.minor == 1
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// Whether the connection may carry another request after this one (RFC 9112 section 9.3).
    pub(crate) fn keeps_alive(&self) -> bool {
        self.is_http_1_1() && !self.has_token("Connection", "close")
    }

    /// The announced length of a body in bytes; 0 if none is announced.
    pub(crate) fn content_length(&self) -> u64 {
        let digits = self.header("Content-Length").unwrap_or("0");
        digits.parse().unwrap_or(u64::MAX)
    }
}

/// Whether a value names this media type, with parameters or without.
fn is_type(value: &[u8], media_type: &str) -> bool {
    let name = value.split(|&byte| byte == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(media_type.as_bytes())
}

/// Whether this may be the name of a field: a token (RFC 9110 section 5.6.2).
#[cfg(feature = "capi")]
pub(crate) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_token_byte)
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Where the head at the front of a buffer ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeadEnd {
    /// After this many bytes, the empty line included.
    At(usize),
    /// Not within these bytes.
    Missing,
    /// Never: a line ends in a bare LF.
    BareLineFeed,
}

/// Looks for the empty line, from `searched` on: earlier calls have looked through the bytes
/// before, so that a head sent byte by byte costs no more than one sent at once.
pub(crate) fn find_head_end(buf: &[u8], searched: usize) -> HeadEnd {
    for line_feed in memchr_iter(b'\n', buf.get(searched..).unwrap_or_default()) {
        let end = searched.saturating_add(line_feed).saturating_add(1);
        match buf.get(..end).unwrap_or_default() {
            [.., b'\r', b'\n', b'\r', b'\n'] => return HeadEnd::At(end),
            [.., b'\r', b'\n'] => {}
            _ => return HeadEnd::BareLineFeed,
        }
    }
    HeadEnd::Missing
}

/// The length of the head at the front of these bytes, `None` if it is not whole yet. The error is
/// the answer to what cannot become a head within `max` bytes.
pub(crate) fn head_end(buf: &[u8], searched: usize, max: usize) -> Result<Option<usize>, Response> {
    if is_proxy_protocol(buf) {
        return Err(bad_request(
            "the PROXY protocol is not spoken here: turn it off at the proxy, and use \
             X-Forwarded-For with --trust-proxy",
        ));
    }
    if PROXY_V2.starts_with(buf) && buf.len() <= max {
        return Ok(None);
    }
    if !may_begin(buf) {
        return Err(bad_request("no HTTP request begins like this; TLS is not spoken here"));
    }
    match find_head_end(buf, searched) {
        HeadEnd::At(end) if end <= max => Ok(Some(end)),
        HeadEnd::Missing if buf.len() <= max => Ok(None),
        HeadEnd::BareLineFeed => Err(bad_request("a line of the request head ends in a bare LF")),
        HeadEnd::At(_) | HeadEnd::Missing => {
            Err(Response::text(431, format!("the head is over {max} bytes\n")))
        }
    }
}

/// What a header of the PROXY protocol begins with in its second version (section 2.2 of
/// haproxy's proxy-protocol.txt).
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Whether this is a header of the PROXY protocol, of either version. As a request, the line of the
/// first would have a target that is none.
pub(crate) fn is_proxy_protocol(buf: &[u8]) -> bool {
    let v1: [&[u8]; 3] = [b"PROXY TCP4", b"PROXY TCP6", b"PROXY UNKNOWN"];
    buf.starts_with(PROXY_V2) || v1.iter().any(|begin| buf.starts_with(begin))
}

/// Whether a request may begin like this: with a method, which is a token, behind one empty line
/// at most (RFC 9112 sections 2.2 and 3). TLS and most other protocols differ in the first byte.
fn may_begin(head: &[u8]) -> bool {
    match head.strip_prefix(b"\r\n").unwrap_or(head) {
        [] | [b'\r'] => true,
        [first, ..] => is_token_byte(*first),
    }
}

/// Whether this head, whole or not, asks for no body with its answer, even with a refusal.
pub(crate) fn asks_head_only(head: &[u8]) -> bool {
    head.strip_prefix(b"\r\n").unwrap_or(head).starts_with(b"HEAD ")
}

/// The head in the form that [`parse`] reads, without the empty line in front: a copy in two cases,
/// which are rare.
pub(crate) fn in_usual_form(head: &[u8]) -> Cow<'_, [u8]> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut usual = Cow::Borrowed(head);
    // Who does not know a later HTTP/1 takes it for the last that he knows (RFC 9110 section 2.5).
    if let [start @ .., b'2'..=b'9'] = line
        && start.ends_with(b" HTTP/1.")
        && let Some(digit) = usual.to_mut().get_mut(start.len())
    {
        *digit = b'1';
    }
    if let Some(place) = missing_path(line) {
        usual.to_mut().insert(place, b'/');
    }
    usual
}

/// Where the path of an absolute target would be that has none in front of its query. An empty path
/// is that of the root (RFC 9110 section 4.2.3).
fn missing_path(line: &[u8]) -> Option<usize> {
    let target = memchr(b' ', line)?.saturating_add(1);
    if line.get(target) == Some(&b'/') {
        return None;
    }
    let scheme = line.get(target..)?.windows(3).position(|bytes| bytes == b"://")?;
    let authority = target.saturating_add(scheme).saturating_add(3);
    let len = line.get(authority..)?.iter().position(|byte| b"/? ".contains(byte))?;
    let end = authority.saturating_add(len);
    (line.get(end) == Some(&b'?')).then_some(end)
}

/// Cuts one whole head, as [`find_head_end`] found it, into its fields. `slots` bounds how many
/// there may be. The error is the answer to send before closing.
pub(crate) fn parse<'a>(
    head: &'a [u8],
    slots: &'a mut [Header<'a>],
) -> Result<Request<'a>, Response> {
    let mut parsed = httparse::Request::new(slots);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(bad_request("the request head is not whole")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Response::text(431, "too many header fields\n"));
        }
        Err(httparse::Error::Version) => {
            return Err(Response::text(505, "HTTP/1.0 and HTTP/1.1 are spoken here\n"));
        }
        Err(error) => return Err(bad_request(&format!("malformed request head: {error}"))),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(bad_request("the request head is not whole"));
    };
    let request = Request { method, target, minor, headers: parsed.headers };
    check(request)
}

/// What RFC 9112 forbids and `httparse` lets through, and the shapes that request smuggling uses.
fn check(mut request: Request<'_>) -> Result<Request<'_>, Response> {
    if !request.target.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        return Err(bad_request("the request target holds bytes that must be percent-encoded"));
    }
    for name in ["Host", "Content-Length", "Origin", "Sec-WebSocket-Origin"] {
        if request.header_values(name).nth(1).is_some() {
            return Err(bad_request(&format!("more than one {name} field")));
        }
    }
    // RFC 9112 section 3.2: exactly one Host in HTTP/1.1.
    let host = match request.header_values("Host").next() {
        Some(host) if is_host(host) => Some(host),
        Some(_) => return Err(bad_request("malformed Host field")),
        None if request.is_http_1_1() => return Err(bad_request("no Host field")),
        None => None,
    };
    if request.header_values("Transfer-Encoding").next().is_some() {
        return Err(bad_request("request bodies are not taken without a Content-Length"));
    }
    if let Some(length) = request.header_values("Content-Length").next()
        && (length.is_empty() || !length.iter().all(u8::is_ascii_digit))
    {
        return Err(bad_request("malformed Content-Length field"));
    }
    // RFC 9112 section 3.2.4.
    if request.target == "*" && request.method != "OPTIONS" {
        return Err(bad_request("the target * is for OPTIONS only"));
    }
    request.target = origin_form(request.target, host)?;
    Ok(request)
}

/// RFC 9112 section 3.2.2: the absolute form must be understood; it must name the same host.
fn origin_form<'a>(target: &'a str, host: Option<&[u8]>) -> Result<&'a str, Response> {
    if target.starts_with('/') || target == "*" {
        return Ok(target);
    }
    let is_ours = |scheme: &str| {
        ["http", "https", "ws", "wss"].iter().any(|ours| scheme.eq_ignore_ascii_case(ours))
    };
    let Some((scheme, rest)) = target.split_once("://").filter(|(scheme, _)| is_ours(scheme))
    else {
        return Err(bad_request("the request target does not begin with a slash"));
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_right = match host {
        Some(host) => is_same_host(scheme, authority, host),
        // There need be none in HTTP/1.0.
        None => is_host(authority.as_bytes()),
    };
    // RFC 9110 section 4.2.1: an empty host is to be refused.
    if !is_right || authority.is_empty() {
        return Err(bad_request("the request target and the Host field name different hosts"));
    }
    Ok(if path.is_empty() { "/" } else { path })
}

/// Whether the Host field says what the target says.
fn is_same_host(scheme: &str, authority: &str, host: &[u8]) -> bool {
    let host = str::from_utf8(host).unwrap_or_default();
    authority.eq_ignore_ascii_case(host) || is_same_authority(scheme, authority, host)
}

/// `uri-host [ ":" port ]`, by its alphabet: nothing that could end a line, a URL's authority or
/// a log field (RFC 3986 section 3.2.2).
fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%:[]!$&'()*+,;=".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_target(head: &str) -> Result<String, u16> {
        let mut slots = [httparse::EMPTY_HEADER; 4];
        match parse(head.as_bytes(), &mut slots) {
            Ok(request) => Ok(request.target().to_string()),
            Err(response) => Err(response.status),
        }
    }

    #[test]
    fn the_end_of_a_head_is_found_at_every_split() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbehind";
        let end = head.len() - b"behind".len();
        let mut searched = 0;
        for cut in 1..head.len() {
            let found = find_head_end(&head[..cut], searched);
            let expected = if cut < end { HeadEnd::Missing } else { HeadEnd::At(end) };
            assert_eq!(found, expected, "cut at {cut}");
            if cut < end {
                searched = cut;
            }
        }
    }

    #[test]
    fn a_bare_line_feed_ends_nothing() {
        assert_eq!(find_head_end(b"GET / HTTP/1.1\nHost: a\n\n", 0), HeadEnd::BareLineFeed);
        assert_eq!(find_head_end(b"\n", 0), HeadEnd::BareLineFeed);
    }

    #[test]
    fn the_proxy_protocol_is_named_once_it_is_certain() {
        for cut in 0..PROXY_V2.len() {
            let end = head_end(&PROXY_V2[..cut], 0, 100);
            assert!(matches!(end, Ok(None)), "cut at {cut}");
        }
        for head in [PROXY_V2, b"PROXY TCP4 192.0.2.1"] {
            let refusal = head_end(head, 0, 100).unwrap_err();
            assert_eq!(refusal.status, 400);
        }
        // What is longer than a head may be is not waited for.
        assert_eq!(head_end(&PROXY_V2[..5], 0, 4).unwrap_err().status, 400);
    }

    #[test]
    fn a_request_begins_with_a_method() {
        for head in ["", "\r", "\r\n", "\r\n\r", "G", "\r\nG", "!", "M-SEARCH"] {
            assert!(may_begin(head.as_bytes()), "{head:?}");
        }
        for head in ["\x16\x03\x01", "\0", " GET", "\rG", "\r\n GET", "{", "\u{80}", "\n"] {
            assert!(!may_begin(head.as_bytes()), "{head:?}");
        }
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        for (head, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
            ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET http:///a HTTP/1.1\r\nHost:\r\n\r\n", 400),
            ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("GET / HTTP/1.1\r\nHost: a\r\nb: 1\r\nc: 2\r\nd: 3\r\ne: 4\r\n\r\n", 431),
        ] {
            assert_eq!(parse_target(head), Err(status), "{head:?}");
        }
    }

    #[test]
    fn targets_come_in_two_forms() {
        let target = |head| parse_target(head).unwrap();
        assert_eq!(target("GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n"), "/a?b=c");
        assert_eq!(target("GET http://a:81/x HTTP/1.1\r\nHost: A:81\r\n\r\n"), "/x");
        assert_eq!(target("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n"), "/");
        assert_eq!(target("GET / HTTP/1.0\r\n\r\n"), "/");
    }

    #[test]
    fn what_is_rare_is_put_in_the_usual_form() {
        for (line, usual) in [
            ("GET / HTTP/1.2", "GET / HTTP/1.1"),
            ("GET http://a?b HTTP/1.9", "GET http://a/?b HTTP/1.1"),
            ("GET http://a:80?b/c?d HTTP/1.1", "GET http://a:80/?b/c?d HTTP/1.1"),
        ] {
            for begin in ["", "\r\n"] {
                let head = format!("{begin}{line}\r\nX: HTTP/1.2\r\n\r\n");
                let usual = format!("{usual}\r\nX: HTTP/1.2\r\n\r\n");
                assert_eq!(
                    in_usual_form(head.as_bytes()).escape_ascii().to_string(),
                    usual.as_bytes().escape_ascii().to_string()
                );
            }
        }
        for line in [
            "GET",
            "GET ",
            "GET / HTTP/1.0",
            "GET / HTTP/1.1",
            "GET / HTTP/1.22",
            "GET / HTTP/11.2",
            "GET /HTTP/1.2",
            "GET / HTTP/2.2",
            "GET /?http://a?b HTTP/1.1",
            "GET http://a/?b HTTP/1.1",
            "GET http://a HTTP/1.1?",
            "GET http:/a?b HTTP/1.1",
        ] {
            let head = format!("{line}\r\nX: http://a?b HTTP/1.2\r\n\r\n");
            let usual = in_usual_form(head.as_bytes());
            assert!(matches!(usual, Cow::Borrowed(_)), "{line}");
        }
    }

    #[test]
    #[cfg(feature = "capi")]
    fn the_name_of_a_field_is_a_token() {
        assert!(is_token("X-Forwarded-For") && is_token("!#$%&'*+-.^_`|~9"));
        for name in ["", "a b", "a:", "a\r\n", "\u{e9}", "(a)"] {
            assert!(!is_token(name), "{name:?}");
        }
    }

    #[test]
    fn media_types_are_named_with_parameters_or_without() {
        let ask = |field: &str, asked: fn(&Request<'_>) -> bool| {
            let mut slots = [httparse::EMPTY_HEADER; 8];
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
            asked(&parse(head.as_bytes(), &mut slots).unwrap())
        };
        let events = |field: &str| ask(field, |request| request.accepts("text/event-stream"));
        for field in [
            "Accept: text/event-stream",
            "accept: text/html, TEXT/Event-Stream;q=0.5",
            "Accept: */*\r\nAccept:text/event-stream ; a=b",
        ] {
            assert!(events(field), "{field}");
        }
        for field in ["X: text/event-stream", "Accept: */*", "Accept: text/*", "Accept:"] {
            assert!(!events(field), "{field}");
        }
        let bytes = |field: &str| ask(field, |request| request.has_type("application/x"));
        assert!(bytes("Content-Type: application/X; charset=utf-8"));
        assert!(!bytes("Content-Type: application/xy") && !bytes("Accept: application/x"));
    }

    #[test]
    fn fields_are_found_in_any_case_and_split_into_tokens() {
        let mut slots = [httparse::EMPTY_HEADER; 8];
        let head = b"GET /p?q HTTP/1.1\r\nHOST: a\r\nconnection: keep-alive , uPGRADE\r\n\
            Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: c\r\nX: \xff\r\n\r\n";
        let request = parse(head, &mut slots).unwrap();
        assert_eq!((request.path(), request.query()), ("/p", "q"));
        assert_eq!(request.header("host"), Some("a"));
        assert_eq!((request.header("x"), request.header_bytes("x")), (None, Some(&b"\xff"[..])));
        assert!(request.has_token("Connection", "upgrade"));
        assert!(!request.has_token("Connection", "grade"));
        assert_eq!(request.protocols().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(request.keeps_alive());
    }
}
