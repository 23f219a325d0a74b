//! Which hosts a server answers for. An attacker's name may point at this machine: then his page may
//! read what is served here, unless the name is refused.

use std::io::Write;
use std::os::unix::net::UnixStream;

use crate::attack::*;
use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use crate::serving::*;
use wsloop::{Config, ListenAddr, Server, Version, handlers};

/// A page of this name, which points at the server, asks for a file and for WebSockets.
fn rebound(program: &Program, name: &str) -> [u16; 3] {
    let port = program.addr().port();
    let host = format!("{name}:{port}");
    let page = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let origin = format!("http://{host}");
    let socket = |version| upgrade(version, "/mirror", &host, Some(origin.as_bytes()));
    [page.into_bytes(), socket(Version::Rfc6455), socket(Version::Hixie76)]
        .map(|bytes| ask(program.addr(), &bytes).status)
}

#[test]
fn a_name_that_points_here_reads_nothing() {
    let scratch = Scratch::new();
    scratch.write("index.html", "secret");
    let folder = scratch.to_str().unwrap();
    for origins in [&[][..], &["--origin", "self"], &["--origin", "*"]] {
        let args = [&["--root", folder], origins].concat();
        let program = Program::start(&args);
        for name in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0"]
        {
            assert_eq!(rebound(&program, name), [421; 3], "{name} {origins:?}");
        }
        let line = program.logged("--host");
        assert!(line.contains(" refused: the host evil.example:"), "{line}");
        for name in ["localhost", "LOCALHOST", "app.localhost", "127.0.0.1", "127.0.0.9", "[::1]"] {
            assert_eq!(rebound(&program, name), [200, 101, 101], "{name} {origins:?}");
        }
        let reply = ask(program.addr(), b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert!(reply.text().contains("--host NAME"), "{}", reply.text());
        // Not by a browser: there is no Host in it.
        assert_eq!(ask(program.addr(), b"GET / HTTP/1.0\r\n\r\n").status, 200);
        assert_eq!(ask(program.addr(), b"GET / HTTP/1.1\r\nHost:\r\n\r\n").status, 421);
        Bystander::on(program.addr()).is_served();
    }
}

#[test]
fn what_is_listed_is_served_and_nothing_else() {
    let program = Program::start(&["--host", "example.com", "--host", "*.example.org"]);
    for (name, is_served) in [
        ("example.com", true),
        ("EXAMPLE.com", true),
        ("a.b.example.org", true),
        ("example.org", false),
        ("a.example.com", false),
        ("localhost", false),
        ("127.0.0.1", false),
    ] {
        let expected = if is_served { [200, 101, 101] } else { [421; 3] };
        assert_eq!(rebound(&program, name), expected, "{name}");
    }
}

/// A proxy on this machine passes on the names that its clients ask for.
#[test]
fn behind_a_proxy_and_on_public_addresses_every_host_is_served() {
    for args in [&["--trust-proxy"][..], &["--secure-proxy"], &["--host", "*"]] {
        assert_eq!(rebound(&Program::start(args), "example.com")[0], 200, "{args:?}");
    }
    for addrs in [&["0.0.0.0:0"][..], &["127.0.0.1:0", "0.0.0.0:0"], &["[::]:0"]] {
        assert_eq!(rebound(&Program::start_on(addrs, &[]), "example.com")[0], 200, "{addrs:?}");
    }
    let both = Program::start_on(&["127.0.0.1:0", "[::1]:0"], &[]);
    assert_eq!(rebound(&both, "example.com")[0], 421);
}

/// A browser reaches neither a Unix socket nor one that the program has accepted elsewhere.
#[test]
fn sockets_that_no_page_can_reach_are_held_to_what_is_listed_alone() {
    let head = b"GET /mirror HTTP/1.1\r\nHost: example.com\r\n\r\n";
    for (hosts, status) in [(&[][..], "426"), (&["a.org"], "421")] {
        let scratch = Scratch::new();
        let path = scratch.join("socket");
        let listened = path.clone();
        let hosts = hosts.iter().map(|host| host.to_string()).collect();
        let server = serve(config(|config| config.hosts = hosts), move |server| {
            server.route("/mirror", handlers::Mirror);
            server.listen(&format!("unix:{}", listened.display())).unwrap();
        });
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(head).unwrap();
        let head = read_head(&mut client);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        server.stop();
    }
}

#[test]
fn what_is_no_host_is_refused_at_once() {
    for name in ["http://example.com", "example.com:80", "example.com/", ""] {
        let refused = Server::new(config(|config| config.hosts.push(name.to_string()))).err();
        assert!(refused.unwrap().to_string().contains(&format!("'{name}' is no host")), "{name}");
    }
    let mut server = Server::new(Config::default()).unwrap();
    assert!(matches!(server.listen("0"), Ok(ListenAddr::Tcp(addr)) if addr.ip().is_loopback()));
}
