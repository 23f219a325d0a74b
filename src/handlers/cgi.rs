//! What a program is told of the request that it serves.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::{Context, Request};

/// The variables of CGI (RFC 3875 section 4.1), for [`Source::envs`](crate::Source::envs):
/// `REMOTE_ADDR` and `REMOTE_PORT`, which are missing for a Unix socket, `REQUEST_URI`, `QUERY_STRING`,
/// `SCRIPT_NAME` (the path), `PATH_INFO` (empty), `REQUEST_METHOD`, `SERVER_NAME`, `SERVER_PORT`,
/// `SERVER_PROTOCOL`, `SERVER_SOFTWARE`, `GATEWAY_INTERFACE`, `HTTPS` (`on`, with TLS), and for each field of
/// the request `HTTP_` and its name, in capitals and with `_` for `-`.
///
/// Fields of one name are joined, those of cookies with `; ` and others with `, `. A field is left out
/// whose name has any other character than letters, digits and `-`, since two names could become one;
/// and so is `Proxy`, whose variable would tell programs by which proxy to connect. Values are as they were
/// sent, and no program may trust them. All together they are bounded by
/// [`Config::max_head`](crate::Config::max_head).
pub fn cgi_variables(ws: &Context<'_>, request: &Request<'_>) -> Vec<(String, OsString)> {
    let secure = ws.is_secure(request);
    let host = request.header("Host").unwrap_or_default();
    // Of an address of version 6 the colons are in brackets.
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (host, if secure { "443" } else { "80" }),
    };
    let mut variables = fields(request);
    let mut set = |name: &str, value: &str| variables.push((name.to_string(), value.into()));
    set("GATEWAY_INTERFACE", "CGI/1.1");
    set("SERVER_SOFTWARE", concat!("wsloop/", env!("CARGO_PKG_VERSION")));
    set("SERVER_PROTOCOL", "HTTP/1.1");
    set("SERVER_NAME", name);
    set("SERVER_PORT", port);
    set("REQUEST_METHOD", request.method());
    set("REQUEST_URI", request.target());
    set("SCRIPT_NAME", request.path());
    set("PATH_INFO", "");
    set("QUERY_STRING", request.query());
    if let Some(addr) = ws.remote_addr() {
        set("REMOTE_ADDR", &addr.ip().to_string());
        set("REMOTE_PORT", &addr.port().to_string());
    }
    if secure {
        set("HTTPS", "on");
    }
    variables
}

/// The fields of a request, under the names that they have as variables.
fn fields(request: &Request<'_>) -> Vec<(String, OsString)> {
    let mut found: Vec<(String, OsString)> = Vec::new();
    for (name, value) in request.headers() {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !plain || name.eq_ignore_ascii_case("Proxy") {
            continue;
        }
        let name = format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"));
        let value = OsStr::from_bytes(value);
        match found.iter_mut().find(|(other, _)| *other == name) {
            None => found.push((name, value.to_os_string())),
            Some((_, had)) => {
                had.push(if name == "HTTP_COOKIE" { "; " } else { ", " });
                had.push(value);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::{Answer, Config, Handler, Message, Response, Server};

    /// Keeps the variables of each request.
    #[derive(Clone, Default)]
    struct Keeps(Rc<RefCell<Vec<(String, OsString)>>>);

    impl Handler for Keeps {
        fn on_request(&mut self, ws: &mut Context<'_>, request: &Request<'_>) -> Answer {
            *self.0.borrow_mut() = cgi_variables(ws, request);
            Answer::Respond(Response::text(200, ""))
        }

        fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
    }

    /// What is set for a request with these fields that comes by this socket.
    fn variables(config: Config, socket: OwnedFd, fields: &[u8]) -> Vec<(String, OsString)> {
        let kept = Keeps::default();
        let mut server = Server::new(config).unwrap();
        server.route("*", kept.clone());
        let request = [b"GET /a%20b?c=%64 HTTP/1.1\r\n", fields, b"\r\n"].concat();
        server.adopt(socket, &request).unwrap();
        server.turn(Some(Duration::ZERO)).unwrap();
        kept.0.take()
    }

    fn get<'v>(variables: &'v [(String, OsString)], name: &str) -> Option<&'v [u8]> {
        let mut found = variables.iter().filter(|(other, _)| other == name);
        let value = found.next().map(|(_, value)| value.as_bytes());
        assert!(found.next().is_none(), "{name} twice");
        value
    }

    #[test]
    fn a_request_is_told_in_variables() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let fields =
            b"Host: [::1]\r\nX-Odd: \xff\r\nCookie: a=b\r\nproxy: x\r\nX_A: y\r\ncookie: c\r\n";
        let found = variables(Config::default(), ours.into(), fields);
        for (name, value) in [
            ("REQUEST_METHOD", Some(&b"GET"[..])),
            ("REQUEST_URI", Some(b"/a%20b?c=%64")),
            ("SCRIPT_NAME", Some(b"/a%20b")),
            ("PATH_INFO", Some(b"")),
            ("QUERY_STRING", Some(b"c=%64")),
            ("SERVER_NAME", Some(b"[::1]")),
            ("SERVER_PORT", Some(b"80")),
            ("HTTP_X_ODD", Some(b"\xff")),
            ("HTTP_COOKIE", Some(b"a=b; c")),
            ("HTTP_PROXY", None),
            ("HTTP_X_A", None),
            ("HTTPS", None),
            ("REMOTE_ADDR", None),
        ] {
            assert_eq!(get(&found, name), value, "{name}");
        }
    }

    #[test]
    fn where_it_comes_from_and_whether_by_tls_is_told_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let from = client.local_addr().unwrap();
        let config = Config { secure_proxy: true, ..Config::default() };
        let socket = listener.accept().unwrap().0.into();
        let found = variables(config, socket, b"Host: a.org:8443\r\nA: 1\r\na: 2\r\n");
        let port = from.port().to_string();
        for (name, value) in [
            ("SERVER_NAME", "a.org"),
            ("SERVER_PORT", "8443"),
            ("HTTPS", "on"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("REMOTE_PORT", &port),
            ("HTTP_A", "1, 2"),
        ] {
            assert_eq!(get(&found, name), Some(value.as_bytes()), "{name}");
        }
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let config = Config { secure_proxy: true, ..Config::default() };
        let found = variables(config, ours.into(), b"Host: a.org\r\n");
        assert_eq!(get(&found, "SERVER_PORT"), Some(&b"443"[..]));
    }
}
