//! Paths that lead out of the folder or to another host, and lengths that would put the next answer
//! out of step.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use crate::attack::*;
use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use crate::serving::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use wsloop::Version;

const SECRET: &str = "the secret";

/// A folder with a secret beside it, and the program serving the folder.
fn folder() -> (Scratch, Program) {
    let scratch = Scratch::new();
    for dir in ["root", "root/dir", "root/evil.org", "root/\\evil.org", "root-beside"] {
        std::fs::create_dir(scratch.join(dir)).unwrap();
    }
    scratch.write("secret.txt", SECRET);
    scratch.write("root-beside/secret.txt", SECRET);
    scratch.write("root/.hidden", SECRET);
    scratch.write("root/index.html", "front");
    scratch.write("root/page", "0123456789");
    scratch.write("root/empty", "");
    scratch.write("root/dir/page", "inner");
    symlink(scratch.join("secret.txt"), scratch.join("root/link")).unwrap();
    symlink(&*scratch, scratch.join("root/up")).unwrap();
    symlink("/dev/zero", scratch.join("root/zero")).unwrap();
    UnixListener::bind(scratch.join("root/socket")).unwrap();
    mknodat(CWD, scratch.join("root/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let root = scratch.join("root");
    let program = Program::start(&["--root", root.to_str().unwrap()]);
    (scratch, program)
}

/// Ways to write `../secret.txt`, and what else a path may try to be.
const TRAVERSALS: &[&str] = &[
    "/../secret.txt",
    "/dir/../../secret.txt",
    "/dir/../page",
    "/./page",
    "/dir/..",
    "/..",
    "/%2e%2e/secret.txt",
    "/%2E%2E/secret.txt",
    "/.%2e/secret.txt",
    "/%2e./secret.txt",
    "/..%2fsecret.txt",
    "/..%2Fsecret.txt",
    "/%2e%2e%2fsecret.txt",
    "/dir%2f..%2f..%2fsecret.txt",
    "/dir%2fpage",
    "/..\\secret.txt",
    "/..%5csecret.txt",
    "/dir/..\\..\\secret.txt",
    "/%252e%252e/secret.txt",
    "/%25%32%65%25%32%65/secret.txt",
    "/..%252fsecret.txt",
    "/..;/secret.txt",
    "/dir/..;a=b/..;/secret.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "/%c0%ae%c0%ae%c0%afsecret.txt",
    "/..%c0%afsecret.txt",
    "/%e0%80%ae%e0%80%ae/secret.txt",
    "/%ef%bc%8e%ef%bc%8e/secret.txt",
    "/%u002e%u002e/secret.txt",
    "/..%00/secret.txt",
    "/../secret.txt%00.html",
    "/page%00",
    "/page%00.html",
    "/page/",
    "/page/.",
    "/page/..",
    "/....//secret.txt",
    "/.../secret.txt",
    "/../root-beside/secret.txt",
    "/..-beside/secret.txt",
    "/.hidden",
    "/%2ehidden",
    "/link",
    "/up/secret.txt",
    "/fifo",
    "/socket",
    "/zero",
    "/etc/passwd",
    "/%2fetc%2fpasswd",
    "//etc/passwd",
    "/dir//page",
    "/page?/../../secret.txt%",
    "/%",
    "/%2",
    "/%zz",
    "/C:/secret.txt",
    "/file:///etc/passwd",
    "/~root/page",
];

#[test]
fn no_path_leads_out_of_the_folder() {
    let (_scratch, program) = folder();
    let mut bystander = Bystander::on(program.addr());
    for path in TRAVERSALS {
        for target in [path.to_string(), format!("http://localhost{path}")] {
            let answer = get(program.addr(), &target, "");
            let expected: &[u16] = match *path {
                "/page?/../../secret.txt%" => &[200],
                _ => &[400, 404],
            };
            assert!(expected.contains(&answer.status), "{target}: {}", answer.head);
            assert!(
                !answer.text().contains(SECRET) && !answer.text().contains("root:"),
                "{target}"
            );
        }
    }
    // What is there is found, so that the rest says something.
    assert_eq!(get(program.addr(), "/dir/page", "").text(), "inner");
    assert_eq!(get(program.addr(), "/d%69r/p%61ge", "").text(), "inner");
    assert_eq!(get(program.addr(), "/up/root/dir/page", "").text(), "inner");
    bystander.is_served();
}

#[test]
fn no_path_leads_out_of_the_embedded_site() {
    let program = Program::start(&[]);
    let mut bystander = Bystander::on(program.addr());
    for path in TRAVERSALS {
        let answer = get(program.addr(), path, "");
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.head);
        assert!(!answer.text().contains("root:"), "{path}");
    }
    // The working directory, which is this package, is not served.
    for path in ["/Cargo.toml", "/src/lib.rs", "/demo/web/index.html", "/index.html/"] {
        assert_eq!(get(program.addr(), path, "").status, 404, "{path}");
    }
    assert_eq!(get(program.addr(), "/index.html", "").status, 200);
    bystander.is_served();
}

/// A browser takes `//host` and `/\host` for another host.
#[test]
fn no_redirect_leads_to_another_host() {
    let (_scratch, program) = folder();
    let mut bystander = Bystander::on(program.addr());
    for target in [
        "//evil.org",
        "//evil.org/",
        "///evil.org",
        "http://localhost//evil.org",
        "//evil.org/..",
        "//evil.org/%2e%2e",
        "/%2fevil.org",
        "/%2Fevil.org",
        "/./evil.org",
        "/%5cevil.org/%2e%2e",
        "/\\/evil.org",
        "/%09/evil.org",
        "/%0d%0aevil.org",
        "/http://evil.org",
    ] {
        let answer = get(program.addr(), target, "");
        assert_eq!((answer.status, answer.field("Location")), (404, None), "{target}");
    }
    for (target, location) in [
        ("/evil.org", "/evil.org/"),
        ("/dir", "/dir/"),
        ("/dir?//evil.org", "/dir/?//evil.org"),
        ("/\\evil.org", "/%5Cevil.org/"),
        ("/%5cevil.org", "/%5Cevil.org/"),
        ("http://localhost/evil.org", "/evil.org/"),
    ] {
        let answer = get(program.addr(), target, "");
        assert_eq!((answer.status, answer.field("Location")), (301, Some(location)), "{target}");
    }
    bystander.is_served();
}

/// Requests on one connection: were any length wrong, the answers behind it would be out of step.
#[test]
fn lengths() {
    let (_scratch, program) = folder();
    let mut bystander = Bystander::on(program.addr());
    let mut client = Client::connect(program.addr());
    let etag = get(program.addr(), "/page", "").field("ETag").unwrap().to_string();
    let if_none_match = format!("If-None-Match: {etag}\r\n");
    for (target, fields, status, length) in [
        ("/page", "", 200, Some(10)),
        ("/empty", "", 200, Some(0)),
        ("/nowhere", "", 404, Some(10)),
        ("/dir", "", 301, Some(0)),
        ("/mirror", "", 426, Some(35)),
        ("/%", "", 400, None),
        ("/page", if_none_match.as_str(), 304, None),
        ("/page", "If-Match: \"other\"\r\n", 412, Some(0)),
        ("/page", "Range: bytes=2-4\r\n", 206, Some(3)),
        ("/page", "Range: bytes=9-\r\n", 206, Some(1)),
        ("/page", "Range: bytes=-4\r\n", 206, Some(4)),
        ("/page", "Range: bytes=-99\r\n", 206, Some(10)),
        ("/page", "Range: bytes=5-18446744073709551615\r\n", 206, Some(5)),
        ("/page", "Range: bytes=5-99999999999999999999999\r\n", 206, Some(5)),
        ("/page", "Range: bytes=10-\r\n", 416, Some(32)),
        ("/page", "Range: bytes=0-0,1-1\r\n", 200, Some(10)),
        ("/page", "Range: bytes=4-2\r\n", 200, Some(10)),
        ("/page", "Range: bytes=-18446744073709551616\r\n", 206, Some(10)),
        ("/empty", "Range: bytes=0-\r\n", 416, Some(32)),
        ("/page", "Range: lines=0-1\r\n", 200, Some(10)),
    ] {
        let case = format!("{target} {fields:?}");
        let got = client.http("GET", target, fields);
        assert_eq!(got.status, status, "{case}: {}", got.head);
        if length.is_some() || status == 304 {
            assert_eq!(got.length(), length, "{case}");
        }
        let headed = client.http("HEAD", target, fields);
        // A range is for GET (RFC 9110 section 14.2).
        if fields.starts_with("Range") {
            let whole = if target == "/empty" { 0 } else { 10 };
            assert_eq!((headed.status, headed.length()), (200, Some(whole)), "{case}");
        } else {
            assert_eq!((headed.status, headed.length()), (status, got.length()), "{case}");
        }
    }
    assert_eq!(client.http("GET", "/page", "").text(), "0123456789");
    bystander.is_served();
}

/// A refused HEAD has no body either: a proxy would take it for the next answer.
#[test]
fn head_is_refused_without_a_body() {
    let server = site(config(|config| config.max_head = 300));
    let mut bystander = Bystander::on(server.addr);
    let long = format!("HEAD / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(300));
    for (head, status) in [
        ("HEAD / HTTP/1.1\r\n\r\n", 400),
        ("HEAD / HTTP/1.1\r\nHost: a\n\r\n", 400),
        ("HEAD / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("HEAD / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n", 413),
        ("HEAD / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ("HEAD / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n", 400),
        (long.as_str(), 431),
    ] {
        // It reads the head, and then wants the end of the stream.
        let answer = refused(server.addr, head.as_bytes(), status, "");
        assert!(answer.length().is_some_and(|length| length > 0), "{head}");
    }
    bystander.is_served();
}

/// A path is decoded before its route is looked for, as it is before its file is: a proxy in front
/// that guards one spelling guards them all, if it decodes as well.
#[test]
fn routes_are_found_however_they_are_spelt() {
    let server = serve(open_to_all(), |server| {
        for path in ["/chat", "/a b", "/caf\u{e9}", "/as%20sent", "/deep/er"] {
            server.route(path, wsloop::handlers::Mirror);
        }
        server.route("/mirror", wsloop::handlers::Mirror);
    });
    let mut bystander = Bystander::on(server.addr);
    let ask = |target: &str| ask(server.addr, &request(Version::Rfc6455, target, "")).status;
    for target in [
        "/chat",
        "/%63hat",
        "/%63%68%61%74?query",
        "/a%20b",
        "/caf%C3%A9",
        "/caf%c3%a9",
        "/as%20sent",
        "/d%65ep/%65r",
        "http://localhost/%63hat",
    ] {
        assert_eq!(ask(target), 101, "{target}");
        let plain = get(server.addr, target, "");
        assert_eq!(plain.status, 426, "{target}");
    }
    for target in [
        // An encoded slash separates nothing (RFC 3986 section 2.2), and nothing is decoded twice.
        "/deep%2fer",
        "/%2Fchat",
        "%2fchat",
        "/%2563hat",
        "/chat%00",
        "/%00chat",
        "/chat%",
        "/%6",
        "/%zzchat",
        "/caf%e9",
        "/%ff",
        "/chat%3fquery",
        "/chat%2e",
        "/./chat",
        "/%2e/chat",
        "/x/../chat",
        "//chat",
        "/a+b",
        "/chat/",
        "/CHAT",
    ] {
        let expected = if target.starts_with('/') { 404 } else { 400 };
        assert_eq!(ask(target), expected, "{target}");
    }
    bystander.is_served();
}
