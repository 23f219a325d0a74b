//! Request heads in, responses out (RFC 9112). Sans-I/O: no socket, no clock but the `Date` field.
//!
//! `httparse` cuts the head into fields; everything it is lenient about is checked here first, so
//! that no two readers of the same bytes (a proxy in front and us) can disagree about them.

use std::borrow::Cow;
use std::fs::File;
use std::time::SystemTime;

use httparse::Header;
use memchr::memchr;

/// One request head, borrowed from the receive buffer; alive during
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

    /// The request target as it was sent: path and query, visible ASCII only.
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

    /// The first field of this name, in any case, if its value is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.header_bytes(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The first field of this name, in any case: the octets of its value, without the white
    /// space around them.
    pub fn header_bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.header_values(name).next()
    }

    /// Every field in the order it came: its name as it was sent, and the octets of its value.
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
            .flat_map(|list| list.split(|&octet| octet == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
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

    /// The announced length of a body; 0 where none is announced.
    pub(crate) fn content_length(&self) -> u64 {
        let digits = self.header("Content-Length").unwrap_or("0");
        digits.parse().unwrap_or(u64::MAX)
    }
}

/// Where the head at the front of a buffer ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeadEnd {
    /// After this many octets, the empty line included.
    At(usize),
    /// Not within these octets.
    Missing,
    /// Never: a line ends in a bare LF.
    BareLineFeed,
}

/// Looks for the empty line, from `searched` on: octets before that were looked through by an
/// earlier call, so that a head sent octet by octet costs no more than one sent at once.
pub(crate) fn find_head_end(buf: &[u8], searched: usize) -> HeadEnd {
    let mut from = searched.min(buf.len());
    while let Some(offset) = memchr(b'\n', &buf[from..]) {
        let line_feed = from + offset;
        let line = &buf[..line_feed];
        if !line.ends_with(b"\r") {
            return HeadEnd::BareLineFeed;
        }
        if line.ends_with(b"\r\n\r") {
            return HeadEnd::At(line_feed + 1);
        }
        from = line_feed + 1;
    }
    HeadEnd::Missing
}

/// How long the head at the front of these octets is, `None` if it is not whole yet, or the answer
/// to what cannot become one within `max` octets.
pub(crate) fn head_end(buf: &[u8], searched: usize, max: usize) -> Result<Option<usize>, Response> {
    if !may_begin(buf) {
        return Err(bad_request("no HTTP request begins like this; TLS is not spoken"));
    }
    match find_head_end(buf, searched) {
        HeadEnd::At(end) if end <= max => Ok(Some(end)),
        HeadEnd::Missing if buf.len() <= max => Ok(None),
        HeadEnd::BareLineFeed => Err(bad_request("a line of the request head ends in a bare LF")),
        HeadEnd::At(_) | HeadEnd::Missing => {
            Err(Response::text(431, format!("the head is over {max} octets\n")))
        }
    }
}

/// Whether a request may begin like this: with a method, which is a token, behind one empty line
/// at most (RFC 9112 sections 2.2 and 3). TLS and most other protocols differ in the first octet.
fn may_begin(head: &[u8]) -> bool {
    match head.strip_prefix(b"\r\n").unwrap_or(head) {
        [] | [b'\r'] | [b'\r', b'\n', ..] => true,
        [first, ..] => first.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(first),
    }
}

/// Whether this head, whole or not, asks for no body with its answer, be that a refusal.
pub(crate) fn asks_head_only(head: &[u8]) -> bool {
    head.strip_prefix(b"\r\n").unwrap_or(head).starts_with(b"HEAD ")
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
    if !request.target.bytes().all(|octet| (0x21..=0x7e).contains(&octet)) {
        return Err(bad_request("the request target holds octets that must be percent-encoded"));
    }
    for name in ["Host", "Content-Length", "Origin", "Sec-WebSocket-Origin"] {
        if request.header_values(name).nth(1).is_some() {
            return Err(bad_request(&format!("more than one {name} field")));
        }
    }
    // RFC 9112 section 3.2: exactly one Host in HTTP/1.1.
    let host = match request.header_values("Host").next() {
        Some(host) if is_host(host) => host,
        Some(_) => return Err(bad_request("malformed Host field")),
        None if request.is_http_1_1() => return Err(bad_request("no Host field")),
        None => b"",
    };
    if request.header_values("Transfer-Encoding").next().is_some() {
        return Err(bad_request("request bodies are not taken here"));
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
fn origin_form<'a>(target: &'a str, host: &[u8]) -> Result<&'a str, Response> {
    if target.starts_with('/') || target == "*" {
        return Ok(target);
    }
    let Some(rest) = ["http://", "https://", "ws://", "wss://"]
        .iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme)))
        .and_then(|scheme| target.get(scheme.len()..))
    else {
        return Err(bad_request("the request target does not begin with a slash"));
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !authority.as_bytes().eq_ignore_ascii_case(host) {
        return Err(bad_request("the request target and the Host field name different hosts"));
    }
    Ok(if path.is_empty() { "/" } else { path })
}

/// `uri-host [ ":" port ]`, by its alphabet: nothing that could end a line, a URL's authority or
/// a log field (RFC 3986 section 3.2.2).
fn is_host(value: &[u8]) -> bool {
    value
        .iter()
        .all(|octet| octet.is_ascii_alphanumeric() || b"-._~%:[]!$&'()*+,;=".contains(octet))
}

/// 400 and one line that says why.
pub(crate) fn bad_request(why: &str) -> Response {
    Response::text(400, format!("{why}\n"))
}

/// What a plain HTTP request, or a refused upgrade, is answered with.
///
/// ```
/// use wsloop::Response;
///
/// let quote = Response::new(200)
///     .header("Content-Type", "application/json")
///     .body(r#"{"ACME": 12.5}"#);
/// let refusal = Response::text(403, "members only\n");
/// # let _ = (quote, refusal);
/// ```
#[derive(Debug)]
pub struct Response {
    pub(crate) status: u16,
    headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

/// A response's body: what is small is bytes, what may be large is a file and read as the
/// peer takes it.
#[derive(Debug)]
pub(crate) enum Body {
    Bytes(Cow<'static, [u8]>),
    File { file: File, offset: u64, len: u64 },
}

impl Response {
    /// An empty response with this status code, 200 to 599; any other is sent as 500.
    ///
    /// `Date`, `Content-Length` and, where the connection ends with it, `Connection` are added
    /// when it is sent.
    pub fn new(status: u16) -> Response {
        let status = if (200..=599).contains(&status) { status } else { 500 };
        Response { status, headers: Vec::new(), body: Body::Bytes(Cow::Borrowed(b"")) }
    }

    /// A response with a body of plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Response {
        Response::new(status)
            .header("Content-Type", "text/plain; charset=utf-8")
            .body(text.into().into_bytes())
    }

    /// Adds a header field. Octets that may not stand in a value (controls, so CR, LF and NUL
    /// too) become `?`: nothing put in here can split the response.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Response {
        let clean = |c: char| if c.is_control() && c != '\t' { '?' } else { c };
        self.headers.push((name, value.into().chars().map(clean).collect()));
        self
    }

    /// Sets the body, whole. It is queued at once: keep it small.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Response {
        self.body = Body::Bytes(Cow::Owned(body.into()));
        self
    }

    /// Sets a body that is part of the program.
    #[must_use]
    pub fn static_body(mut self, body: &'static [u8]) -> Response {
        self.body = Body::Bytes(Cow::Borrowed(body));
        self
    }

    /// Sets a body of `len` octets of an open file, from `offset` on.
    #[must_use]
    pub(crate) fn file(mut self, file: File, offset: u64, len: u64) -> Response {
        self.body = Body::File { file, offset, len };
        self
    }

    /// The length of the body in octets.
    pub(crate) fn content_length(&self) -> u64 {
        match &self.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { len, .. } => *len,
        }
    }

    /// Writes the head: status line, `Date`, the fields, `Content-Length`, and `Connection`
    /// where this is the last response. 204 and 304 have no body and say no length
    /// (RFC 9110 sections 15.3.5 and 15.4.5).
    pub(crate) fn write_head(&self, keep_alive: bool, out: &mut Vec<u8>) {
        let status_line = format!("HTTP/1.1 {} {}\r\n", self.status, reason_phrase(self.status));
        out.extend_from_slice(status_line.as_bytes());
        let mut field = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        field("Date", &httpdate::fmt_http_date(SystemTime::now()));
        for (name, value) in &self.headers {
            field(name, value);
        }
        if !matches!(self.status, 204 | 304) {
            field("Content-Length", &self.content_length().to_string());
        }
        if !keep_alive && !self.headers.iter().any(|(name, _)| *name == "Connection") {
            field("Connection", "close");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The phrases of RFC 9110 section 15 and RFC 6585, for the codes used here and by handlers.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        418 => "I'm a Teapot",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
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

    #[test]
    fn a_response_cannot_be_split() {
        let mut out = Vec::new();
        Response::new(302).header("Location", "/a\r\nSet-Cookie: x").write_head(false, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 302 Found\r\nDate: "), "{text}");
        assert!(text.contains("\r\nLocation: /a??Set-Cookie: x\r\n"), "{text}");
        assert!(text.ends_with("\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "{text}");
    }

    #[test]
    fn not_modified_says_no_length() {
        let mut out = Vec::new();
        Response::new(304).write_head(true, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("Content-Length") && !text.contains("Connection"), "{text}");
    }
}
