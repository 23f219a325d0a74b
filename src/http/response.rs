//! Responses to plain HTTP and to WebSocket requests that are refused (RFC 9112). Sans-I/O: no
//! socket, and no clock but the `Date` field.

use std::borrow::Cow;
use std::fs::File;
use std::time::SystemTime;

/// 400 and one line that says why.
pub(crate) fn bad_request(why: &str) -> Response {
    Response::text(400, format!("{why}\n"))
}

/// The answer to a plain HTTP request, or to a request for a WebSocket that is refused.
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
    headers: Vec<(Cow<'static, str>, String)>,
    pub(crate) body: Body,
    /// What the log is to say of it.
    pub(crate) trouble: Option<String>,
}

/// A response's body: bytes if it is small; a file, which may be large, is read as the peer takes
/// it.
#[derive(Debug)]
pub(crate) enum Body {
    Bytes(Cow<'static, [u8]>),
    File {
        file: File,
        offset: u64,
        len: u64,
    },
    /// Server-Sent Events, which follow until the connection ends.
    Events,
}

impl Response {
    /// An empty response with this status code, 200 to 599; any other is sent as 500.
    ///
    /// `Date`, `Content-Length` and, where the connection ends with it, `Connection` are added
    /// when it is sent, and `Cache-Control: no-store` to a status of 400 or more that has no
    /// `Cache-Control`.
    pub fn new(status: u16) -> Response {
        let status = if (200..=599).contains(&status) { status } else { 500 };
        let body = Body::Bytes(Cow::Borrowed(b""));
        Response { status, headers: Vec::new(), body, trouble: None }
    }

    /// A response with a body of plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Response {
        Response::new(status)
            .header("Content-Type", "text/plain; charset=utf-8")
            .body(text.into().into_bytes())
    }

    /// Adds a header field. Bytes that may not stand in a value (controls, so CR, LF and NUL too)
    /// become `?`: no value can split the response. `Content-Length` and `Transfer-Encoding` say where
    /// a response ends, which is the server's to say: they are left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.add_header(Cow::Borrowed(name), value.into());
        self
    }

    /// The same for any name. It must be a token, which is not checked. Out of line, since answers are
    /// made in many places, and none of them is in a hurry.
    #[inline(never)]
    pub(crate) fn add_header(&mut self, name: Cow<'static, str>, value: String) {
        if is_framing(&name) {
            return;
        }
        let clean = |c: char| if c.is_control() && c != '\t' { '?' } else { c };
        self.headers.push((name, value.chars().map(clean).collect()));
    }

    /// Sets the body. It is queued whole, at once: keep it small.
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

    /// Sets a body of `len` bytes of an open file, from `offset` on.
    #[must_use]
    pub(super) fn file(mut self, file: File, offset: u64, len: u64) -> Response {
        self.body = Body::File { file, offset, len };
        self
    }

    /// The head of a stream of Server-Sent Events. nginx passes each on at once, and keeps none.
    pub(crate) fn events() -> Response {
        let response = Response::new(200)
            .header("Content-Type", "text/event-stream")
            .header("Cache-Control", "no-store")
            .header("X-Content-Type-Options", "nosniff")
            .header("X-Accel-Buffering", "no");
        Response { body: Body::Events, ..response }
    }

    /// 426, which has to say what to upgrade to (RFC 9110 section 15.5.22).
    pub(crate) fn upgrade_required(text: impl Into<String>) -> Response {
        let response = Response::text(426, text);
        response.header("Upgrade", "websocket").header("Connection", "Upgrade")
    }

    /// Says in the log, and not to the client, what the trouble is.
    #[must_use]
    pub(super) fn because(mut self, trouble: impl ToString) -> Response {
        self.trouble = Some(trouble.to_string());
        self
    }

    /// Adds a field in place of those of its name.
    pub(crate) fn set_header(&mut self, name: &'static str, value: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.add_header(Cow::Borrowed(name), value.to_string());
    }

    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// Whether it holds a file open.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.body, Body::File { .. })
    }

    /// The length of the body in bytes.
    pub(super) fn content_length(&self) -> u64 {
        match &self.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { len, .. } => *len,
            Body::Events => 0,
        }
    }

    /// Whether the head is all there is, whatever was set as a body: bytes behind it would be read
    /// as the next response.
    pub(crate) fn is_bodiless(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    /// Writes the head: status line, `Date`, the fields, `Content-Length`, and `Connection` if this
    /// is the last response. 204 and 304 have no body and state no length (RFC 9110 sections 15.3.5
    /// and 15.4.5); a stream of events has a body without one.
    pub(crate) fn write_head(&self, keep_alive: bool, out: &mut Vec<u8>) {
        let status_line = format!("HTTP/1.1 {} {}\r\n", self.status, reason_phrase(self.status));
        out.extend_from_slice(status_line.as_bytes());
        let mut field = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        field("Date", &httpdate::fmt_http_date(SystemTime::now()));
        // Some caches keep a 404 or a 410 unasked (RFC 9110 section 15.1).
        if self.status >= 400 && !self.has_header("Cache-Control") {
            field("Cache-Control", "no-store");
        }
        let mut said = keep_alive;
        for (name, value) in &self.headers {
            if !said && name.eq_ignore_ascii_case("Connection") {
                field(name, &format!("{value}, close"));
                said = true;
            } else {
                field(name, value);
            }
        }
        if !self.is_bodiless() && !matches!(self.body, Body::Events) {
            field("Content-Length", &self.content_length().to_string());
        }
        if !said {
            field("Connection", "close");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether a field says where the response ends.
pub(crate) fn is_framing(name: &str) -> bool {
    ["Content-Length", "Transfer-Encoding"].iter().any(|field| name.eq_ignore_ascii_case(field))
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
        421 => "Misdirected Request",
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

    #[test]
    fn a_response_cannot_be_split() {
        let mut out = Vec::new();
        Response::new(302).header("Location", "/a\r\nSet-Cookie: x").write_head(false, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 302 Found\r\nDate: "), "{text}");
        assert!(text.contains("\r\nLocation: /a??Set-Cookie: x\r\n"), "{text}");
        assert!(text.ends_with("\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "{text}");
    }

    fn head(response: &Response) -> String {
        let mut out = Vec::new();
        response.write_head(true, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_cache_keeps_a_refusal_unless_it_says_so() {
        for status in [400, 403, 404, 410, 421, 431, 500, 503] {
            let head = head(&Response::text(status, "no\n"));
            assert!(head.contains("\r\nCache-Control: no-store\r\n"), "{head}");
        }
        for fine in [
            Response::text(200, "yes\n"),
            Response::new(301).header("Location", "/"),
            Response::new(404).header("cache-control", "max-age=60"),
        ] {
            assert!(!head(&fine).contains("no-store"), "{fine:?}");
        }
    }

    #[test]
    fn the_length_is_the_servers_to_say() {
        let response = Response::text(200, "four")
            .header("content-length", "400")
            .header("Transfer-Encoding", "chunked");
        let head = head(&response);
        assert!(head.contains("\r\nContent-Length: 4\r\n"), "{head}");
        assert!(!head.contains("400") && !head.contains("chunked"), "{head}");
    }

    #[test]
    fn a_tab_may_stand_in_a_value_and_other_controls_may_not() {
        let mut out = Vec::new();
        Response::new(200).header("X", "a\tb\0c\x7fd\u{80}e").write_head(true, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\r\nX: a\tb?c?d?e\r\n"), "{text}");
    }

    #[test]
    fn what_is_no_status_of_an_answer_becomes_500() {
        for (status, sent) in [(0, 500), (199, 500), (200, 200), (599, 599), (600, 500)] {
            assert_eq!(Response::new(status).status, sent);
        }
    }

    #[test]
    fn not_modified_says_no_length() {
        let mut out = Vec::new();
        Response::new(304).write_head(true, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("Content-Length") && !text.contains("Connection"), "{text}");
    }
}
