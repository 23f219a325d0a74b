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
