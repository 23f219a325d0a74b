//! Plain HTTP on the port of the WebSockets, with a folder and without.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;

use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use wsloop::Version;

/// The program on a folder, which stays as long as the program.
fn on_a_folder(args: &[&str]) -> (Program, Scratch) {
    let scratch = Scratch::new();
    std::fs::create_dir_all(scratch.join("root/sub")).unwrap();
    scratch.write("secret.txt", "secret");
    scratch.write("root/index.html", "<title>home</title>");
    scratch.write("root/digits.txt", "0123456789");
    scratch.write("root/sub/index.html", "sub");
    scratch.write("root/.env", "secret");
    symlink(scratch.join("secret.txt"), scratch.join("root/link.txt")).unwrap();
    let root = scratch.join("root");
    let args = [&["--root", root.to_str().unwrap()], args].concat();
    (Program::start(&args), scratch)
}

#[test]
fn the_demo_site_without_a_folder() {
    let program = Program::start(&[]);
    let index = get(program.addr(), "/", "");
    assert_eq!(
        (index.status, index.field("Content-Type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert!(index.text().contains("</html>") && index.text().contains("echo.html"));
    assert_eq!(index.field("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(index.field("Cross-Origin-Resource-Policy"), Some("same-origin"));
    let policy = index.field("Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'self'; script-src 'self' "), "{policy}");
    // The demos it names are there, and what the page needs is.
    for name in index.text().split('"').filter(|word| word.ends_with(".html")) {
        assert_eq!(get(program.addr(), &format!("/{name}"), "").status, 200, "{name}");
    }
    assert_eq!(get(program.addr(), "/Cargo.toml", "").status, 404);
    assert_eq!(get(program.addr(), "/src/main.rs", "").status, 404);
}

#[test]
fn the_files_of_a_folder() {
    let (program, _scratch) = on_a_folder(&[]);
    let mut client = Client::connect(program.addr());
    for (target, status, content_type, content) in [
        ("/", 200, "text/html; charset=utf-8", "<title>home</title>"),
        ("/digits.txt?query", 200, "text/plain; charset=utf-8", "0123456789"),
        ("/%64igits.txt", 200, "text/plain; charset=utf-8", "0123456789"),
        ("/sub/", 200, "text/html; charset=utf-8", "sub"),
        ("/missing", 404, "text/plain; charset=utf-8", "not found\n"),
    ] {
        let reply = client.http("GET", target, "");
        assert_eq!((reply.status, reply.text()), (status, content), "{target}");
        assert_eq!(reply.field("Content-Type"), Some(content_type), "{target}");
        assert_eq!(reply.field("X-Content-Type-Options"), Some("nosniff"), "{target}");
        assert_eq!(reply.field("Cross-Origin-Resource-Policy"), Some("same-origin"), "{target}");
        assert_eq!(
            reply.field("Content-Security-Policy"),
            None,
            "{target}: the pages are the user's"
        );
        assert_eq!(reply.field("Connection"), None, "{target}: the connection stays");
    }
    let head = client.http("HEAD", "/digits.txt", "");
    assert_eq!((head.status, head.field("Content-Length")), (200, Some("10")));
    let moved = client.http("GET", "/sub?a=b", "");
    assert_eq!((moved.status, moved.field("Location")), (301, Some("/sub/?a=b")));
    // Nothing of the HEAD's body and of all others lies between the answers.
    assert_eq!(client.http("GET", "/digits.txt", "").text(), "0123456789");
}

#[test]
fn conditions_and_ranges() {
    let (program, _scratch) = on_a_folder(&[]);
    let whole = get(program.addr(), "/digits.txt", "");
    let (tag, date) = (whole.field("ETag").unwrap(), whole.field("Last-Modified").unwrap());
    for condition in [format!("If-None-Match: {tag}"), format!("If-Modified-Since: {date}")] {
        let mut client = Client::connect(program.addr());
        let reply = client.http("GET", "/digits.txt", &format!("{condition}\r\n"));
        assert_eq!((reply.status, reply.field("ETag")), (304, Some(tag)), "{condition}");
        assert_eq!(reply.field("Content-Length"), None);
        assert_eq!(client.http("GET", "/digits.txt", "").text(), "0123456789", "nothing between");
    }
    assert_eq!(get(program.addr(), "/digits.txt", "If-None-Match: \"other\"\r\n").status, 200);
    for (range, status, content_range, content) in [
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=7-", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=-2", 206, Some("bytes 8-9/10"), "89"),
        ("bytes=10-", 416, Some("bytes */10"), "the range begins behind the end\n"),
        ("lines=1-2", 200, None, "0123456789"),
    ] {
        let reply = get(program.addr(), "/digits.txt", &format!("Range: {range}\r\n"));
        assert_eq!((reply.status, reply.text()), (status, content), "{range}");
        assert_eq!(reply.field("Content-Range"), content_range, "{range}");
    }
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let (program, _scratch) = on_a_folder(&[]);
    let mut client = Client::connect(program.addr());
    for target in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/sub/../../secret.txt",
        "/..%5csecret.txt",
        "/%252e%252e/secret.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/link.txt",
        "/.env",
        "/%2eenv",
    ] {
        let reply = client.http("GET", target, "");
        assert_eq!((reply.status, reply.text()), (404, "not found\n"), "{target}");
    }
}

#[test]
fn several_requests_in_one_segment() {
    let (program, _scratch) = on_a_folder(&[]);
    let mut client = Client::connect(program.addr());
    let ask = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let upgrade = String::from_utf8(request(Version::Rfc6455, "/mirror", "")).unwrap();
    let all = [ask("/digits.txt"), ask("/missing"), ask("/sub/"), upgrade].concat();
    client.send(&[all.as_bytes(), &masked(0x81, b"and a WebSocket")].concat());
    let replies = [(); 3].map(|()| client.read_reply(false));
    assert_eq!(replies.each_ref().map(|reply| reply.status), [200, 404, 200]);
    assert_eq!(replies.each_ref().map(Reply::text), ["0123456789", "not found\n", "sub"]);
    client.read_answer();
    assert_eq!(client.read_text(), "and a WebSocket");
}

#[test]
fn a_large_file_at_the_pace_of_its_reader() {
    const SIZE: usize = 32 << 20;
    let (program, scratch) = on_a_folder(&[]);
    let mut file = File::create(scratch.join("root/large")).unwrap();
    file.write_all(b"begin").unwrap();
    file.set_len(SIZE as u64).unwrap();
    assert_eq!(get(program.addr(), "/", "").status, 200);
    let before = program.resident();

    let mut client = Client::connect(program.addr());
    client.send(
        b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    let head = client.read_head();
    assert!(head.contains(&format!("\r\nContent-Length: {SIZE}\r\n")), "{head}");
    assert_eq!(client.read(5), b"begin");
    let (mut most, mut left) = (0, SIZE - 5);
    while left > 0 {
        // Others are served meanwhile.
        assert_eq!(get(program.addr(), "/sub/", "").text(), "sub");
        most = most.max(program.resident());
        let piece = client.read(left.min(1 << 20));
        assert!(piece.iter().all(|byte| *byte == 0));
        left -= piece.len();
    }
    assert_eq!(client.read_reply(false).text(), "<title>home</title>");
    assert!(most < before + 4096, "{before} KiB, then {most} KiB");
}

#[test]
fn what_is_wrong_has_its_status() {
    let (program, _scratch) = on_a_folder(&[]);
    let many = (0..101).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let long = format!("X: {}\r\n", "y".repeat(8192));
    for (head, status, closes) in [
        ("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_string(), 405, false),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc".to_string(),
            413,
            true,
        ),
        ("GET / HTTP/1.1\r\n\r\n".to_string(), 400, true),
        ("GET / HTTP/1.1\nHost: a\n\n".to_string(), 400, true),
        ("\x16\x03\x01 is TLS\r\n\r\n".to_string(), 400, true),
        ("GET / HTTP/3.0\r\nHost: localhost\r\n\r\n".to_string(), 505, true),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"), 431, true),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\n{long}\r\n"), 431, true),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000)), 431, true),
        ("GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n".to_string(), 426, false),
    ] {
        let mut client = Client::connect(program.addr());
        client.send(head.as_bytes());
        let reply = client.read_reply(false);
        assert_eq!(reply.status, status, "{head:.40}");
        assert_eq!(reply.field("Connection") == Some("close"), closes, "{head:.40}");
        if closes {
            assert_eq!(client.read_to_end(), b"", "{head:.40}");
        } else {
            assert_eq!(client.http("GET", "/sub/", "").text(), "sub", "{head:.40}");
        }
    }
}

#[test]
fn who_asks_nothing_in_time_is_told() {
    let program = Program::start(&["--handshake-timeout", "0.05"]);
    for start in ["", "GET / HTT", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut client = Client::connect(program.addr());
        client.send(start.as_bytes());
        assert_eq!(client.read_reply(false).status, 408, "{start:?}");
        assert_eq!(client.read_to_end(), b"");
    }
    // A connection that was kept alive for another request just ends.
    let mut client = Client::connect(program.addr());
    assert_eq!(client.http("GET", "/", "").status, 200);
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn one_client_too_many_is_told() {
    let program = Program::start(&["--max-connections", "1"]);
    let mut first = Client::open(program.addr(), Version::Rfc6455, "/mirror");
    let mut second = Client::connect(program.addr());
    assert_eq!(second.read_reply(false).status, 503);
    assert_eq!(second.read_to_end(), b"");
    first.text("still here");
    assert_eq!(first.read_text(), "still here");
}

#[test]
fn websockets_that_are_not_opened() {
    let program = Program::start(&[]);
    let ask = |bytes: Vec<u8>| {
        let mut client = Client::connect(program.addr());
        client.send(&bytes);
        let reply = client.read_reply(false);
        assert_eq!(client.read_to_end(), b"");
        reply
    };
    for version in VERSIONS {
        assert_eq!(ask(request(version, "/nowhere", "")).status, 404, "{version}");
        let foreign = String::from_utf8(request(version, "/mirror", "")).unwrap();
        let foreign = foreign.replace("http://localhost", "http://evil.example");
        assert_eq!(ask(foreign.into_bytes()).status, 403, "{version}");
    }
    let later = String::from_utf8(request(Version::Rfc6455, "/mirror", "")).unwrap();
    let reply = ask(later.replace("Version: 13", "Version: 14").into_bytes());
    assert_eq!((reply.status, reply.field("Sec-WebSocket-Version")), (426, Some("13, 8, 7")));
    assert_eq!(reply.field("Upgrade"), Some("websocket"));
    assert_eq!(reply.field("Connection"), Some("Upgrade, close"));
}
