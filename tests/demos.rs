//! The programs of `demo/`, each started as a program and spoken to through raw sockets.
//!
//! `cargo test` builds them; before `cargo test --test demos` alone, `cargo build --examples` does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// RFC 6455 section 5.7: "Hello" from a client, masked, and from a server.
const HELLO_MASKED: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const HELLO: &[u8] = b"\x81\x05Hello";

/// A demo that runs, until this is dropped.
struct Demo {
    child: Child,
    /// Kept open, since a demo that prints to a closed pipe ends.
    stdout: BufReader<ChildStdout>,
    /// `127.0.0.1:PORT`.
    host: String,
}

impl Demo {
    /// Starts a demo on a free port. It must say that it listens, on this path.
    fn start(name: &str, path: &str) -> Demo {
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().with_file_name("examples").join(name);
        let mut child = Command::new(&program)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program:?} (cargo build --examples): {error}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut demo = Demo { child, stdout, host: String::new() };
        let mut line = String::new();
        demo.stdout.read_line(&mut line).unwrap();
        let host = line.trim_end().strip_prefix("listening on ws://");
        let host = host.and_then(|address| address.strip_suffix(path));
        demo.host = host.unwrap_or_else(|| panic!("{name} said {line:?}")).to_string();
        demo
    }

    /// Opens a WebSocket as a page from elsewhere does.
    fn connect(&self, path: &str) -> TcpStream {
        let mut socket = TcpStream::connect(&self.host).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = &self.host;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Origin: http://elsewhere.example\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        expect(
            &mut socket,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        socket
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has seen by then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads as many octets as are wanted; they must be these.
fn expect(socket: &mut TcpStream, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    socket.read_exact(&mut got).unwrap();
    assert_eq!(got.escape_ascii().to_string(), wanted.escape_ascii().to_string());
}

#[test]
fn minimal_echoes() {
    let demo = Demo::start("minimal", "/");
    let mut socket = demo.connect("/");
    socket.write_all(HELLO_MASKED).unwrap();
    expect(&mut socket, HELLO);
    // The same octets as a binary message, and the close: 1000.
    socket.write_all(b"\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").unwrap();
    expect(&mut socket, b"\x82\x05Hello");
    socket.write_all(b"\x88\x82\0\0\0\0\x03\xe8").unwrap();
    expect(&mut socket, b"\x88\x02\x03\xe8");
    assert_eq!(socket.read(&mut [0]).unwrap(), 0, "the server ends the stream");
}

#[test]
fn hello_speaks_after_a_second_and_again_after_another() {
    let demo = Demo::start("hello", "/");
    let start = Instant::now();
    let mut socket = demo.connect("/");
    // The loop's clock counts whole milliseconds.
    for (word, millis) in [(b"\x81\x05hello", 999), (b"\x81\x05world", 1999)] {
        expect(&mut socket, word);
        assert!(start.elapsed() >= Duration::from_millis(millis), "{:?}", start.elapsed());
    }
}

#[test]
fn broadcast_reaches_everyone() {
    let mut demo = Demo::start("broadcast", "/broadcast");
    let mut sockets = [(); 3].map(|()| demo.connect("/broadcast"));
    sockets[1].write_all(HELLO_MASKED).unwrap();
    for socket in &mut sockets {
        expect(socket, HELLO);
    }
    demo.child.kill().unwrap();
    let mut said = String::new();
    demo.stdout.read_to_string(&mut said).unwrap();
    assert_eq!(said, [1, 2, 3].map(|here| format!("here: {here}, messages so far: 0\n")).concat());
}
