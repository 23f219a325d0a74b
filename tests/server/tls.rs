//! TLS, from outside, by rustls as the client.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::certificate::*;
use crate::common::*;
use crate::serving::*;
use crate::turning::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned, version};
use wsloop::handlers::Mirror;
use wsloop::{Config, ListenAddr, Server, Tls, Version};

impl Certificate {
    fn tls(&self) -> Tls {
        Tls::from_pem(self.cert.as_bytes(), self.key.as_bytes()).unwrap()
    }
}

/// A server that mirrors, with these limits.
fn mirror(certificate: &Certificate, change: impl FnOnce(&mut Config)) -> Running {
    let mut config = config(change);
    config.tls = Some(certificate.tls());
    serve(config, |server| server.route("/mirror", Mirror))
}

#[test]
fn tungstenite_is_served_by_both_versions() {
    let certificate = certificate();
    let server = mirror(&certificate, |_| {});
    for version in [&version::TLS12, &version::TLS13] {
        let mut config = certificate.client_config(&[version]);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = StreamOwned::new(session, socket(server.addr));
        let (mut client, _) = tungstenite::client("wss://localhost/mirror", stream).unwrap();
        assert_eq!(client.get_ref().conn.protocol_version(), Some(version.version));
        assert_eq!(client.get_ref().conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        for message in ["", "hello", &"é".repeat(300_000)] {
            client.send(message.into()).unwrap();
            assert_eq!(client.read().unwrap(), message.into());
        }
        client.close(None).unwrap();
        while client.read().is_ok() {}
        assert!(!client.can_read());
    }
}

#[test]
fn all_five_protocols_are_spoken_and_the_old_ones_told_wss() {
    let certificate = certificate();
    let server = mirror(&certificate, |_| {});
    for version in VERSIONS {
        let mut stream = certificate.connect(server.addr);
        stream.write_all(&request(version, "/mirror", "")).unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert_eq!(head.contains("Location: wss://localhost/mirror\r\n"), version.is_hixie());
        if version == Version::Hixie76 {
            expect(&mut stream, b"8jKS'y:G*Co,Wxa-");
        }
        if version.is_hixie() {
            stream.write_all(b"\0hi\xff").unwrap();
            expect(&mut stream, b"\0hi\xff");
        } else {
            stream.write_all(&masked(0x81, b"hi")).unwrap();
            expect(&mut stream, b"\x81\x02hi");
        }
    }
}

#[test]
fn both_ends_say_that_they_close() {
    let certificate = certificate();
    let server = mirror(&certificate, |_| {});
    let mut stream = certificate.connect(server.addr);
    open(&mut stream);
    stream.write_all(&masked_close(1000, "")).unwrap();
    expect(&mut stream, b"\x88\x02\x03\xe8");
    // Without close_notify this would be an UnexpectedEof.
    assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);

    let mut stream = certificate.connect(server.addr);
    stream.write_all(b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[test]
fn who_speaks_plain_http_is_told_and_who_speaks_neither_is_dropped() {
    let certificate = certificate();
    let server = mirror(&certificate, |_| {});
    let mut client = Client::connect(server.addr);
    client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut answer = String::new();
    client.stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("TLS is spoken"), "{answer}");

    let mut client = Client::connect(server.addr);
    client.send(b"\x17\x03\x03\x00\x05nonsense, and more of it");
    let mut alert = Vec::new();
    let end = client.stream.read_to_end(&mut alert);
    assert_eq!(alert.first(), Some(&21), "an alert: {alert:?} {end:?}");
    open(&mut certificate.connect(server.addr));
}

#[test]
fn a_handshake_may_come_byte_by_byte_and_holds_nobody_up() {
    let certificate = certificate();
    let server = mirror(&certificate, |_| {});
    let mut session = certificate.session();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let mut slow = Client::connect(server.addr);
    for (place, byte) in hello.iter().enumerate() {
        if place % 50 == 0 {
            open(&mut certificate.connect(server.addr));
        }
        slow.send(&[*byte]);
    }
    open(&mut StreamOwned::new(session, slow.stream));
}

#[test]
fn a_handshake_that_does_not_end_is_cut() {
    let certificate = certificate();
    let server = mirror(&certificate, |c| c.handshake_timeout = Duration::from_millis(200));
    let mut silent = socket(server.addr);
    let mut halfway = socket(server.addr);
    halfway.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    for stream in [&mut silent, &mut halfway] {
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
    }
}

/// What a client sends in place of a handshake, or in the midst of it. Some of it ends the connection
/// and the rest waits for its deadline or for the client's end; none of it makes the server turn for
/// nothing, and others are served.
#[test]
fn records_that_are_wrong_or_never_whole_take_no_turns() {
    let certificate = certificate();
    let mut server = listening(config(|config| {
        config.tls = Some(certificate.tls());
        // What is refused is not refused by this.
        config.handshake_timeout = 100 * PATIENCE;
    }));
    server.route("/mirror", Mirror);
    let addr = tcp_addr(&server);
    let comes_to_rest = |server: &mut Server| {
        let mut turn = || {
            server.turn(Some(Duration::ZERO)).unwrap() > 0
                || server.poll_timeout() == Some(Duration::ZERO)
        };
        assert!((0..500).any(|_| !turn()), "turns without end");
    };
    let hello = || {
        let mut bytes = Vec::new();
        certificate.session().write_tls(&mut bytes).unwrap();
        bytes
    };
    for (bytes, refused) in [
        // SSL 2's hello (RFC 5246 appendix E.2), whole and with a length of nothing.
        (b"\x80\x1c\x01\x03\x01\0\x03\0\0\0\x10\0\0\x2f0123456789abcdef".to_vec(), true),
        (b"\x80\0\x01\x03\x01".to_vec(), true),
        // Lengths of records: the largest there is, nothing, and more than comes.
        ([b"\x16\x03\x01\xff\xff".to_vec(), vec![1; 70_000]].concat(), true),
        ([b"\x17\x03\x03\xff\xff".to_vec(), vec![0; 70_000]].concat(), true),
        (b"\x17\x03\x03\0\0".repeat(100), true),
        (b"\x16\x03\x01\0\0".repeat(100), true),
        (b"\x16\x03\x01\x40\0\x01\0\x3f\xfc\x03\x03".to_vec(), false),
        // A hello of 16 MiB, of which one record comes.
        ([b"\x16\x03\x01\x40\0\x01\xff\xff\xff".to_vec(), vec![3; 0x4000 - 4]].concat(), true),
        // Heartbleed's record, and one of no known kind.
        (b"\x18\x03\x02\0\x03\x01\x40\0".to_vec(), true),
        (b"\x13\x03\x03\0\x01x".to_vec(), true),
        // The goodbye of TLS, at the beginning and behind the hello; and the end of the stream.
        (b"\x15\x03\x03\0\x02\x01\0".to_vec(), false),
        ([hello(), b"\x15\x03\x03\0\x02\x01\0".to_vec()].concat(), false),
        (hello(), false),
    ] {
        let shown = bytes[..bytes.len().min(20)].escape_ascii();
        let accepted = server.stats().accepted;
        let mut client = Client::connect(addr);
        client.send(&bytes);
        let came = |server: &mut Server| (server.stats().accepted > accepted).then_some(());
        turn_until(&mut server, "the client", came);
        comes_to_rest(&mut server);
        if !refused {
            client.end();
        }
        let reader = std::thread::spawn(move || {
            client.wait_for_the_end();
            client
        });
        turn_until(&mut server, &format!("the end of {shown}"), |_| {
            reader.is_finished().then_some(())
        });
        comes_to_rest(&mut server);
        let mut other = certificate.connect(addr);
        let other = std::thread::spawn(move || open(&mut other));
        turn_until(&mut server, "the other client", |_| other.is_finished().then_some(()));
        other.join().unwrap();
        drop(reader.join().unwrap());
    }
}

/// A message of the handshake may lie in any number of records (RFC 8446 section 5.1).
#[test]
fn a_hello_may_come_in_many_records() {
    let certificate = certificate();
    let server = mirror(&certificate, |_| {});
    for piece in [1, 2, 3, 100] {
        let mut session = certificate.session();
        let mut hello = Vec::new();
        session.write_tls(&mut hello).unwrap();
        // One record, with five bytes of head.
        let (head, message) = hello.split_at(5);
        let records = message.chunks(piece).flat_map(|piece| {
            [&head[..3], &u16::try_from(piece.len()).unwrap().to_be_bytes(), piece].concat()
        });
        let records: Vec<u8> = records.collect();
        let mut stream = socket(server.addr);
        stream.write_all(&records).unwrap();
        open(&mut StreamOwned::new(session, stream));
    }
}

#[test]
fn what_lies_decrypted_is_not_forgotten() {
    let certificate = certificate();
    // So little is read in a turn that most of a record waits in the session.
    let server = mirror(&certificate, |c| c.read_budget = 64);
    let mut stream = certificate.connect(server.addr);
    open(&mut stream);
    let (frame, echo) = (masked(0x81, b"0123456789"), b"\x81\x0a0123456789");
    for _ in 0..20 {
        stream.write_all(&frame.repeat(1000)).unwrap();
        expect(&mut stream, &echo.repeat(1000));
    }
}

#[test]
fn large_messages_come_whole_to_one_who_reads_late() {
    let certificate = certificate();
    let server = mirror(&certificate, |config| {
        config.max_message = 4 << 20;
        config.max_backlog = 32 << 20;
    });
    let mut stream = certificate.connect(server.addr);
    open(&mut stream);
    let payload: Vec<u8> = (0..3_000_000_u32).map(|place| (place % 251) as u8).collect();
    let frame = masked(0x82, &payload);
    for _ in 0..4 {
        stream.write_all(&frame).unwrap();
    }
    for _ in 0..4 {
        expect(&mut stream, b"\x82\x7f\0\0\0\0\0\x2d\xc6\xc0");
        expect(&mut stream, &payload);
    }
}

#[test]
fn one_who_never_reads_is_closed_when_the_backlog_is_full() {
    let certificate = certificate();
    let server = mirror(&certificate, |c| c.close_timeout = Duration::from_millis(300));
    let mut stream = certificate.connect(server.addr);
    open(&mut stream);
    let frame = masked(0x82, &[7; 500_000]);
    stream.sock.set_write_timeout(Some(PATIENCE)).unwrap();
    // What the kernel holds for both, and 4 MiB, is not without end; nor is what comes while it closes.
    let start = Instant::now();
    while stream.write_all(&frame).is_ok() {
        assert!(start.elapsed() < PATIENCE, "it is not closed");
    }
    open(&mut certificate.connect(server.addr));
}

#[test]
fn too_many_are_told_so() {
    let certificate = certificate();
    let server = mirror(&certificate, |config| config.max_connections = Some(1));
    let mut first = certificate.connect(server.addr);
    open(&mut first);
    let mut second = certificate.connect(server.addr);
    assert!(read_head(&mut second).starts_with("HTTP/1.1 503 "));
}

#[test]
fn what_was_read_of_an_adopted_client_counts() {
    let certificate = certificate();
    let mut server = Server::new(config(|c| c.tls = Some(certificate.tls()))).unwrap();
    server.route("/mirror", Mirror);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut session = certificate.session();
    let mut stream = socket(listener.local_addr().unwrap());
    session.write_tls(&mut stream).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    let mut early = [0; 40];
    accepted.read_exact(&mut early).unwrap();
    server.adopt(OwnedFd::from(accepted), &early).unwrap();
    let client = std::thread::spawn(move || open(&mut StreamOwned::new(session, stream)));
    turn_until(&mut server, "the client", |_| client.is_finished().then_some(()));
    client.join().unwrap();
}

#[test]
fn addresses_say_whether_tls_is_spoken() {
    let certificate = certificate();
    let mut server = Server::new(config(|c| c.tls = Some(certificate.tls()))).unwrap();
    let said = |addr: &str, server: &mut Server| server.listen(addr).unwrap().to_string();
    assert!(said("127.0.0.1:0", &mut server).starts_with("wss://127.0.0.1:"));
    assert!(said("wss://127.0.0.1:0", &mut server).starts_with("wss://127.0.0.1:"));
    assert!(said("ws://127.0.0.1:0", &mut server).starts_with("ws://127.0.0.1:"));
    let mut plain = Server::new(Config::default()).unwrap();
    assert_eq!(plain.listen("wss://127.0.0.1:0").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(said("127.0.0.1:0", &mut plain).starts_with("ws://"));
    assert_eq!(plain.reload_tls().unwrap_err().kind(), ErrorKind::Unsupported);
}

/// Its clients are on this machine.
#[test]
fn a_unix_socket_is_plain_beside_a_certificate() {
    let certificate = certificate();
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    let mut server = Server::new(config(|c| c.tls = Some(certificate.tls()))).unwrap();
    server.route("/mirror", Mirror);
    let addr = format!("unix:{}", path.display());
    assert_eq!(server.listen(&addr).unwrap().to_string(), addr);
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(&request(Version::Rfc6455, "/mirror", "")).unwrap();
    turn_until(&mut server, "a client", |server| (server.stats().opened == 1).then_some(()));
    turn_while_busy(&mut server);
    assert!(read_head(&mut client).starts_with("HTTP/1.1 101 "));
}

#[test]
fn another_certificate_is_for_those_who_come_later() {
    let (old, new) = (certificate(), certificate());
    let mut server = Server::new(config(|c| c.tls = Some(old.tls()))).unwrap();
    server.listen("127.0.0.1:0").unwrap();
    server.route("/mirror", Mirror);
    let addr = tcp_addr(&server);
    let mut stream = old.connect(addr);
    let early = std::thread::spawn(move || {
        open(&mut stream);
        stream
    });
    turn_until(&mut server, "the first client", |_| early.is_finished().then_some(()));
    let mut early = early.join().unwrap();
    server.set_tls(new.tls());
    let late = std::thread::spawn(move || {
        open(&mut new.connect(addr));
        early.write_all(&masked(0x81, b"still here")).unwrap();
        expect(&mut early, b"\x81\x0astill here");
    });
    turn_until(&mut server, "the second client", |_| late.is_finished().then_some(()));
    late.join().unwrap();
}

/// SEC 1 is what PKCS#8 wraps; of an elliptic curve key as ring makes it, behind 36 bytes.
#[test]
fn keys_may_be_in_sec1() {
    use rustls::pki_types::pem::PemObject;
    let certificate = certificate();
    let pkcs8 = rustls::pki_types::PrivatePkcs8KeyDer::from_pem_slice(certificate.key.as_bytes());
    let pkcs8 = pkcs8.unwrap();
    let inner = pkcs8.secret_pkcs8_der().windows(2).skip(20).position(|two| two == [4, 0x6d]);
    let sec1 = &pkcs8.secret_pkcs8_der()[20 + inner.unwrap() + 2..][..0x6d];
    let text = pem("EC PRIVATE KEY", sec1);
    let tls = Tls::from_pem(certificate.cert.as_bytes(), text.as_bytes()).unwrap();
    let server = serve(config(|c| c.tls = Some(tls)), |server| server.route("/mirror", Mirror));
    open(&mut certificate.connect(server.addr));
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

#[test]
fn a_listener_that_is_taken_over_speaks_it() {
    let certificate = certificate();
    let mut server = Server::new(config(|c| c.tls = Some(certificate.tls()))).unwrap();
    server.route("/mirror", Mirror);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    assert_eq!(server.listen_fd(listener.into()).unwrap(), ListenAddr::Tls(addr));
    let client = std::thread::spawn(move || open(&mut certificate.connect(addr)));
    turn_until(&mut server, "the client", |_| client.is_finished().then_some(()));
    client.join().unwrap();
}

/// One that waits to be accepted, one in the midst of the handshake, and one behind it.
#[test]
fn a_server_that_stops_answers_behind_the_handshake() {
    let certificate = certificate();
    let mut server = listening(config(|c| c.tls = Some(certificate.tls())));
    server.route("/mirror", Mirror);
    let addr = tcp_addr(&server);
    let connect = || {
        let mut stream = certificate.connect(addr);
        stream.conn.write_tls(&mut stream.sock).unwrap();
        stream
    };
    let mut streams = vec![connect(), connect()];
    turn_until(&mut server, "two", |server| (server.stats().accepted == 2).then_some(()));
    turn_while_busy(&mut server);
    let mut done = streams.remove(0);
    let handshake = std::thread::spawn(move || {
        while done.conn.is_handshaking() {
            done.conn.complete_io(&mut done.sock).unwrap();
        }
        done
    });
    turn_until(&mut server, "a handshake", |_| handshake.is_finished().then_some(()));
    turn_while_busy(&mut server);
    streams.push(handshake.join().unwrap());
    streams.push(connect());
    server.stop();
    let clients = std::thread::spawn(move || {
        for mut stream in streams {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
        }
    });
    turn_until(&mut server, "the answers", |_| clients.is_finished().then_some(()));
    clients.join().unwrap();
    turn_until(&mut server, "the end", |server| server.is_stopped().then_some(()));
}

#[test]
fn a_handshake_that_does_not_go_on_does_not_hold_up_the_stop() {
    let certificate = certificate();
    let mut server = listening(config(|c| {
        c.tls = Some(certificate.tls());
        c.close_timeout = Duration::from_millis(40);
        c.handshake_timeout = 10 * PATIENCE;
    }));
    let mut silent = Client::connect(tcp_addr(&server));
    turn_until(&mut server, "a client", |server| (server.stats().accepted == 1).then_some(()));
    server.stop();
    turn_until(&mut server, "the end", |server| server.is_stopped().then_some(()));
    silent.wait_for_the_end();
}
