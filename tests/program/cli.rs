//! The flags, where the program listens, and what it says if it cannot have what it asks for.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use crate::common::*;
use crate::program::*;
use rustix::process::Signal;
use wsloop::Version;

/// One line, and all of it for the user.
fn complains(args: &[&str], code: i32, words: &[&str]) {
    let outcome = Program::run(args);
    assert_eq!(outcome.code, Some(code), "{args:?}: {}", outcome.stderr);
    assert_eq!(outcome.stdout, "", "{args:?}");
    let stderr = outcome.stderr.strip_suffix('\n').expect("a whole line");
    assert!(!stderr.contains('\n') && stderr.starts_with("wsloop: "), "{args:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{args:?}: {stderr}");
    }
}

#[test]
fn help_and_version_are_no_failure() {
    for flag in ["--help", "-h"] {
        let outcome = Program::run(&[flag]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
        assert!(outcome.stdout.contains("--listen") && outcome.stdout.contains("--help"));
    }
    for flag in ["--version", "-V"] {
        let outcome = Program::run(&[flag]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
        assert_eq!(outcome.stdout, concat!("wsloop ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}

/// The versions are those of Cargo.lock; whether a crate is missing, `tests/house/licences.py` knows.
#[test]
fn the_licences_are_of_what_is_linked() {
    let lock = include_str!("../../Cargo.lock");
    for flag in ["--licences", "--licenses"] {
        let outcome = Program::run(&[flag]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
        let text = outcome.stdout;
        assert!(text.contains("Permission is hereby granted") && text.contains("Apache License"));
        assert!(text.contains("The Rust standard library\n    Copyright (c) "));
        assert_eq!(text.contains("\nrustls "), cfg!(feature = "tls"));
        let lines: Vec<&str> = text.lines().collect();
        let mut crates = 0;
        for pair in lines.windows(2).filter(|pair| pair[1].starts_with("    Copyright (c) ")) {
            let Some((name, version)) = pair[0].split_once(' ') else { continue };
            if version.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() {
                let locked = format!("name = \"{name}\"\nversion = \"{version}\"\n");
                assert!(
                    lock.contains(&locked),
                    "{name} {version}: tests/house/licences.py --write"
                );
                crates += 1;
            }
        }
        assert!(crates > 20, "{crates} crates");
    }
}

#[test]
fn wrong_usage_is_named() {
    complains(&["--nonsense"], 2, &["--nonsense"]);
    complains(&["-x"], 2, &["-x"]);
    complains(&["word"], 2, &["word"]);
    complains(&["--listen"], 2, &["--listen"]);
    complains(&["--max-message", "lots"], 2, &["--max-message", "lots"]);
    complains(&["--route", "/x=tea"], 2, &["--route", "tea"]);
}

#[test]
fn what_cannot_be_had_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    complains(&["--listen", &addr], 1, &["--listen", &addr, "in use"]);
    complains(&["--listen", "127.0.0.1:0", "--listen", &addr], 1, &[&addr]);
    complains(&["--listen", "nonsense"], 1, &["nonsense"]);
    complains(&["--host", "http://a"], 1, &["--host", "'http://a'"]);
    complains(&["--listen", "unix:/no/such/folder/socket"], 1, &["/no/such/folder/socket"]);
    let scratch = Scratch::new();
    scratch.write("file", "no folder");
    for name in ["missing", "file"] {
        let root = scratch.join(name);
        let root = root.to_str().unwrap();
        complains(&["--listen", "127.0.0.1:0", "--root", root], 1, &["--root", root]);
    }
}

#[test]
fn two_servers_on_one_port() {
    let first = Program::start(&[]);
    let addr = first.addr().to_string();
    complains(&["--listen", &addr], 1, &[&addr]);
    let mut client = Client::open(first.addr(), Version::Rfc6455, "/mirror");
    client.text("the first goes on");
    assert_eq!(client.read_text(), "the first goes on");
}

#[test]
fn it_listens_where_it_says() {
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    let unix = format!("unix:{}", path.display());
    let mut program = Program::start_on(&["127.0.0.1:0", &unix, "127.0.0.1:0"], &[]);
    assert_eq!(program.listening[1], unix);
    assert_ne!(program.listening[0], program.listening[2]);
    for place in [0, 2] {
        let addr = program.listening[place].strip_prefix("ws://").unwrap().parse().unwrap();
        let mut client = Client::open(addr, Version::Rfc6455, "/echo");
        client.text("x");
        assert_eq!(client.read_text(), "echo: x");
    }
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    std::io::Write::write_all(&mut client, b"GET /nowhere HTTP/1.0\r\n\r\n").unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 404 "), "{reply}");
    drop(client);

    complains(&["--listen", &unix], 1, &[&unix, "in use"]);
    assert!(UnixStream::connect(&path).is_ok(), "the first is still there");
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    assert!(!path.exists(), "the socket is gone with it");
}

#[test]
fn a_socket_that_was_left_behind_is_replaced_and_a_file_is_not() {
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    drop(UnixListener::bind(&path).unwrap());
    // A child that another test has just forked holds it open until it becomes another program.
    let start = Instant::now();
    while UnixStream::connect(&path).is_ok() {
        assert!(start.elapsed() < PATIENCE, "somebody listens there");
        std::thread::yield_now();
    }
    assert!(path.exists());
    let unix = format!("unix:{}", path.display());
    let program = Program::start_on(&[&unix], &[]);
    assert!(UnixStream::connect(&path).is_ok());
    drop(program);

    scratch.write("file", "precious");
    let unix = format!("unix:{}", scratch.join("file").display());
    complains(&["--listen", &unix], 1, &[&unix]);
    assert_eq!(std::fs::read_to_string(scratch.join("file")).unwrap(), "precious");
}

#[test]
fn the_built_in_handlers() {
    let program = Program::start(&["--route", "/mine=echo", "--route", "*=mirror"]);
    for version in VERSIONS {
        for (path, answer) in [
            ("/mirror", "x"),
            ("/echo", "echo: x"),
            ("/websocket", "Server echoed: x"),
            ("/broadcast", "x"),
            ("/", "x"),
            ("/mine", "echo: x"),
            ("/all/others", "x"),
        ] {
            let mut client = Client::open(program.addr(), version, path);
            client.text("x");
            assert_eq!(client.read_text(), answer, "{version} {path}");
        }
    }
    let mut clients = VERSIONS.map(|version| Client::open(program.addr(), version, "/broadcast"));
    clients[0].text("to all");
    for client in &mut clients {
        assert_eq!(client.read_text(), "to all");
    }
    let mut client = Client::open(program.addr(), Version::Rfc6455, "/hello");
    assert_eq!([client.read_text(), client.read_text()], ["hello", "world"]);
}
