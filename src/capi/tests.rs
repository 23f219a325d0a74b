//! The C functions, called as C calls them: from here, where Miri can watch.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ptr::{null, null_mut};
use std::time::Duration;

use super::connections::*;
use super::data::*;
use super::entry::{enter, wsloop_error_text};
use super::error::*;
use super::input::{conn, number, source, source_number};
use super::lifecycle::*;
use super::remote::*;
use super::request::*;
use super::sources::*;
use super::types::*;
use super::wsloop_server;
use crate::context::Context;
use crate::http::request;
use crate::ids::{ConnId, SourceId};
use crate::net::stream::{Socket, Stream};
use crate::proto::Message;
use crate::server::Server;
use crate::source::SourceEnd;

const REQUEST: &[u8] = b"GET /?ada HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n\r\n";

/// What the callbacks were called for; C's `user` points to it.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.0)
    }
}

/// # Safety
/// `user` is the notes, which nobody borrows meanwhile.
unsafe fn note(user: *mut c_void, what: String) {
    // SAFETY: what the caller promises.
    unsafe { (*user.cast::<Notes>()).0.push(what) };
}

unsafe extern "C" fn on_request(
    _: *mut wsloop_server,
    _: wsloop_conn,
    request: *mut wsloop_request,
    user: *mut c_void,
) -> c_int {
    // SAFETY: as every callback may.
    unsafe {
        let second = wsloop_request_protocol(request, 1);
        assert_eq!(wsloop_request_choose(request, second.ptr, second.len), WSLOOP_OK);
        let query = wsloop_request_query(request);
        let query = std::slice::from_raw_parts(query.ptr.cast(), query.len);
        note(user, format!("asked {}", String::from_utf8_lossy(query)));
    }
    0
}

unsafe extern "C" fn on_open(
    server: *mut wsloop_server,
    conn: wsloop_conn,
    request: *const wsloop_request,
    user: *mut c_void,
) {
    let mut out = [0; 8];
    // SAFETY: as every callback may.
    unsafe {
        // A program that casts `const` away is told that it is too late.
        let cast = request.cast_mut();
        assert_eq!(wsloop_request_choose(cast, c"a".as_ptr(), 1), WSLOOP_ERR_STATE);
        assert_eq!(wsloop_request_respond(cast, 403, null(), null(), 0), WSLOOP_ERR_STATE);
        let (name, value) = (c"X".as_ptr(), c"y".as_ptr());
        assert_eq!(wsloop_request_add_field(cast, name, value), WSLOOP_ERR_STATE);
        assert_eq!(wsloop_set_data(server, conn, user), WSLOOP_OK);
        assert_eq!(wsloop_protocol(server, conn, out.as_mut_ptr(), out.len()), 1);
        note(user, format!("open {}", CStr::from_ptr(out.as_ptr()).to_str().unwrap()));
    }
}

unsafe extern "C" fn on_message(
    server: *mut wsloop_server,
    conn: wsloop_conn,
    kind: c_int,
    data: *const c_void,
    len: usize,
    user: *mut c_void,
) {
    // SAFETY: as every callback may.
    unsafe {
        assert_eq!(wsloop_data(server, conn), user);
        assert_eq!(wsloop_turn(server, 0), WSLOOP_ERR_BUSY);
        assert_eq!(wsloop_free(server), WSLOOP_ERR_BUSY);
        let text = std::slice::from_raw_parts(data.cast::<u8>(), len);
        note(user, format!("message {}", String::from_utf8_lossy(text)));
        if text == b"break" {
            let broken = enter(server, |_| panic!("a callback met a bug"));
            assert_eq!(broken, WSLOOP_ERR_PANIC);
        }
        let sent = wsloop_send(server, conn, kind, data, len);
        note(user, format!("sent {sent}"));
    }
}

unsafe extern "C" fn on_close(
    server: *mut wsloop_server,
    conn: wsloop_conn,
    code: u16,
    _: *const c_char,
    _: usize,
    user: *mut c_void,
) {
    // SAFETY: as every callback may.
    unsafe {
        assert_eq!(wsloop_send(server, conn, WSLOOP_TEXT, null(), 0), WSLOOP_ERR_GONE);
        assert_eq!(wsloop_free(server), WSLOOP_ERR_BUSY);
        note(user, format!("close {code}"));
    }
}

fn handler() -> wsloop_handler {
    wsloop_handler {
        size: size_of::<wsloop_handler>(),
        on_request: Some(on_request),
        on_open: Some(on_open),
        on_message: Some(on_message),
        on_pong: None,
        on_drain: None,
        on_close: Some(on_close),
        on_timer: None,
        on_line: None,
        on_bytes: None,
        on_source_drain: None,
        on_source_end: None,
        on_wake: None,
    }
}

fn server(user: *mut c_void) -> *mut wsloop_server {
    let mut server = null_mut();
    // Miri knows no limit of open files to ask for.
    // SAFETY: all zeros are a value of it.
    let defaults: wsloop_config = unsafe { std::mem::zeroed() };
    let size = size_of::<wsloop_config>();
    let config = wsloop_config { size, max_connections: 10, ..defaults };
    // SAFETY: the arguments are what they have to be.
    unsafe {
        assert_eq!(wsloop_new(&config, &raw mut server), WSLOOP_OK);
        assert_eq!(wsloop_route(server, c"/".as_ptr(), &handler(), user), 0);
    }
    server
}

#[test]
fn bounds_for_all_are_read() {
    // SAFETY: all zeros are a value of it.
    let defaults: wsloop_config = unsafe { std::mem::zeroed() };
    // SAFETY: there are no origins and no hosts.
    let config = unsafe { defaults.read() }.unwrap();
    assert_eq!((config.max_memory, config.max_per_address), (None, None));
    assert_eq!(config.message_timeout, Some(Duration::from_secs(60)));
    assert_eq!((config.max_programs, config.program_grace), (64, Duration::from_secs(2)));
    let bounds = wsloop_config {
        max_memory: 5_000_000,
        max_per_address: 7,
        message_timeout_ms: WSLOOP_NEVER,
        max_programs: 3,
        program_grace_ms: 50,
        stall_timeout_ms: 70,
        ..defaults
    };
    // SAFETY: as before.
    let config = unsafe { bounds.read() }.unwrap();
    assert_eq!((config.max_memory, config.max_per_address), (Some(5_000_000), Some(7)));
    assert_eq!(config.message_timeout, None);
    assert_eq!((config.max_programs, config.program_grace), (3, Duration::from_millis(50)));
    assert_eq!(config.stall_timeout, Some(Duration::from_millis(70)));
}

/// A peer that has sent a request.
fn peer(server: *mut wsloop_server, request: &[u8]) -> TcpStream {
    peer_and_socket(server, request).0
}

/// The same, and a copy of the server's descriptor, such as a child has that the program forked.
fn peer_and_socket(server: *mut wsloop_server, request: &[u8]) -> (TcpStream, TcpStream) {
    // Not by `wsloop_listen` and `wsloop_adopt_fd`: Miri cannot do all that they ask of a socket.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    theirs.set_nonblocking(true).unwrap();
    ours.set_nonblocking(true).unwrap();
    let copy = theirs.try_clone().unwrap();
    let theirs = Stream::plain(Socket::Tcp(mio::net::TcpStream::from_std(theirs)));
    // SAFETY: the server is there.
    let admitted =
        unsafe { &*server }.with_server(|inner| Ok(inner.adopt_stream(theirs, None, b"")?));
    admitted.unwrap();
    ours.write_all(request).unwrap();
    (ours, copy)
}

/// Turns until the peer has something to read, or all of it.
fn hear(server: *mut wsloop_server, mut peer: &TcpStream) -> Vec<u8> {
    let mut heard = vec![0; 1000];
    loop {
        match peer.read(&mut heard) {
            Ok(count) => {
                heard.truncate(count);
                return heard;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        // SAFETY: the server is there.
        assert!(unsafe { wsloop_turn(server, 10) } >= 0);
    }
}

/// A text, masked with zeros.
fn text(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
}

#[test]
fn callbacks_come_back_in() {
    let mut notes = Notes::default();
    let user: *mut c_void = (&raw mut notes).cast();
    let server = server(user);
    let mut peer = peer(server, REQUEST);
    assert!(hear(server, &peer).starts_with(b"HTTP/1.1 101 "));
    peer.write_all(&text("hello")).unwrap();
    assert_eq!(hear(server, &peer), b"\x81\x05hello");
    // SAFETY: the server is there, and then it is not.
    unsafe {
        assert_eq!(wsloop_broadcast(server, 0, 0, WSLOOP_BINARY, c"x".as_ptr().cast(), 1), 0);
        assert_eq!(hear(server, &peer), b"\x82\x01x");
        assert_eq!(wsloop_free(server), WSLOOP_OK);
        let notes = (*user.cast::<Notes>()).take();
        assert_eq!(notes, ["asked ada", "open b", "message hello", "sent 0", "close 1006"]);
    }
}

#[test]
fn an_answer_ends_where_the_server_says() {
    let mut slots = [httparse::EMPTY_HEADER; 4];
    let asked = request::parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &mut slots).unwrap();
    let mut request = wsloop_request::new(&asked, true);
    let place = &raw mut request;
    // SAFETY: the request is there, and so are the names.
    unsafe {
        assert_eq!(wsloop_request_respond(place, 200, null(), null(), 0), WSLOOP_OK);
        for name in [c"Content-Length", c"content-length", c"Transfer-Encoding"] {
            let added = wsloop_request_add_field(place, name.as_ptr(), c"0".as_ptr());
            assert_eq!(added, WSLOOP_ERR_ARGUMENT, "{name:?}");
        }
        assert_eq!(wsloop_request_add_field(place, c"X".as_ptr(), c"y".as_ptr()), WSLOOP_OK);
    }
}

/// The rest of what a peer is sent. The server's work is done: the end must be there.
fn rest(mut peer: &TcpStream) -> Vec<u8> {
    peer.set_nonblocking(false).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).unwrap();
    rest
}

#[test]
#[cfg_attr(miri, ignore = "Miri knows no timeout of a socket")]
fn a_copy_in_a_forked_child_does_not_keep_a_connection() {
    const GOODBYE: &[u8] = b"\x88\x02\x03\xe8";
    let mut notes = Notes::default();
    let user: *mut c_void = (&raw mut notes).cast();
    let server = server(user);
    let open = || {
        let (peer, copy) = peer_and_socket(server, REQUEST);
        assert!(hear(server, &peer).starts_with(b"HTTP/1.1 101 "));
        // SAFETY: nobody else looks at them now.
        unsafe { (*user.cast::<Notes>()).take() };
        let mut id = 0;
        // SAFETY: the server is there, and there is room for one.
        assert_eq!(unsafe { wsloop_members(server, 0, &raw mut id, 1) }, 1);
        (peer, copy, id)
    };
    let turn_until_closed = || loop {
        // SAFETY: the server is there, and nobody else looks at the notes.
        unsafe {
            assert!(wsloop_turn(server, 10) >= 0);
            if let Some(closed) = (*user.cast::<Notes>()).take().pop() {
                return closed;
            }
        }
    };
    let answer = [&[0x88, 0x82, 0, 0, 0, 0], &GOODBYE[2..]].concat();
    // SAFETY: the server is there, and then it is not.
    unsafe {
        let (peer, copy, id) = open();
        assert_eq!(wsloop_terminate(server, id), WSLOOP_OK);
        assert_eq!(turn_until_closed(), "close 1006");
        assert_eq!(rest(&peer), b"");
        drop(copy);

        let (mut peer, copy, id) = open();
        assert_eq!(wsloop_close(server, id, 1000, null(), 0), WSLOOP_OK);
        assert_eq!(hear(server, &peer), GOODBYE);
        peer.write_all(&answer).unwrap();
        assert_eq!(turn_until_closed(), "close 1000");
        assert_eq!(rest(&peer), b"");
        drop(copy);

        let (mut peer, copy, _) = open();
        peer.write_all(&answer).unwrap();
        assert_eq!(turn_until_closed(), "close 1000");
        assert_eq!(rest(&peer), GOODBYE);
        drop(copy);

        let (mut peer, copy, _) = open();
        assert_eq!(wsloop_stop(server), WSLOOP_OK);
        assert_eq!(hear(server, &peer), b"\x88\x12\x03\xe9the server stops");
        peer.write_all(&answer).unwrap();
        while wsloop_turn(server, 10) != WSLOOP_ERR_STOPPED {}
        assert_eq!(rest(&peer), b"");
        assert_eq!(wsloop_free(server), WSLOOP_OK);
        drop(copy);
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri knows no timeout of a socket")]
fn a_copy_in_a_forked_child_does_not_keep_what_is_freed() {
    let mut notes = Notes::default();
    let server = server((&raw mut notes).cast());
    let (peer, copy) = peer_and_socket(server, REQUEST);
    assert!(hear(server, &peer).starts_with(b"HTTP/1.1 101 "));
    // SAFETY: the server is there, and then it is not.
    assert_eq!(unsafe { wsloop_free(server) }, WSLOOP_OK);
    assert_eq!(rest(&peer), b"");
    drop(copy);
}

/// Every function reports the panic, nothing is called, and the server can be freed.
fn is_dead(server: *mut wsloop_server, user: *mut c_void, said: &str) {
    // SAFETY: the server is there, and then it is not.
    unsafe {
        assert_eq!(wsloop_turn(server, 0), WSLOOP_ERR_PANIC);
        assert_eq!(wsloop_run(server), WSLOOP_ERR_PANIC);
        assert_eq!(wsloop_fd(server), WSLOOP_ERR_PANIC);
        assert_eq!(wsloop_timeout_ms(server), 0);
        assert_eq!(wsloop_send(server, 1, WSLOOP_TEXT, null(), 0), WSLOOP_ERR_PANIC);
        assert_eq!(wsloop_listen(server, c"127.0.0.1:0".as_ptr()), WSLOOP_ERR_PANIC);
        let text = CStr::from_ptr(wsloop_error_text(server));
        assert_eq!(text.to_str().unwrap(), format!("a bug of wsloop's: {said}"));
        (*user.cast::<Notes>()).take();
        assert_eq!(wsloop_free(server), WSLOOP_OK);
        assert_eq!((*user.cast::<Notes>()).take(), [""; 0]);
    }
}

#[test]
fn a_panic_is_caught_in_a_turn() {
    let mut notes = Notes::default();
    let user: *mut c_void = (&raw mut notes).cast();
    let server = server(user);
    let open = peer(server, REQUEST);
    hear(server, &open);
    let boom = |_: &mut Context<'_>, _: Message<'_>| panic!("a handler met a bug");
    // SAFETY: the server is there.
    unsafe {
        let this = &*server;
        let mount = |inner: &mut Server| {
            inner.route("/boom", boom);
            Ok(())
        };
        this.with_server(mount).unwrap();
        let request = [b"GET /boom", &REQUEST[5..]].concat();
        let mut other = peer(server, &request);
        hear(server, &other);
        other.write_all(&text("now")).unwrap();
        loop {
            match wsloop_turn(server, 10) {
                WSLOOP_ERR_PANIC => break,
                count => assert!(count >= 0),
            }
        }
    }
    is_dead(server, user, "a handler met a bug");
}

#[test]
fn a_panic_is_caught_below_a_callback() {
    let mut notes = Notes::default();
    let user: *mut c_void = (&raw mut notes).cast();
    let server = server(user);
    let mut peer = peer(server, REQUEST);
    hear(server, &peer);
    peer.write_all(&[text("break"), text("not heard")].concat()).unwrap();
    // SAFETY: the server is there.
    unsafe {
        assert_eq!(wsloop_run(server), WSLOOP_ERR_PANIC);
        assert_eq!(
            (*user.cast::<Notes>()).take(),
            ["asked ada", "open b", "message break", "sent -9"]
        );
    }
    is_dead(server, user, "a callback met a bug");
}

/// What a thread is given.
struct Way(*mut wsloop_remote);
// SAFETY: the header says that any thread may use it.
unsafe impl Send for Way {}

#[test]
fn four_threads_reach_it_at_once() {
    const EACH: usize = if cfg!(miri) { 5 } else { 2000 };
    let mut notes = Notes::default();
    let server = server((&raw mut notes).cast());
    let peer = peer(server, REQUEST);
    hear(server, &peer);
    // SAFETY: the server is there.
    let way = unsafe { wsloop_remote_new(server) };
    let threads = [0; 4].map(|_| {
        // SAFETY: the remote is there.
        let way = Way(unsafe { wsloop_remote_clone(way) });
        std::thread::spawn(move || {
            let Way(way) = { way };
            for _ in 0..EACH {
                // SAFETY: the remote is there; each thread has its own, and frees it.
                while unsafe {
                    wsloop_remote_broadcast(way, 0, WSLOOP_TEXT, c"1".as_ptr().cast(), 1)
                } != WSLOOP_OK
                {
                    std::thread::yield_now();
                }
                // SAFETY: the same.
                unsafe { wsloop_remote_wake(way) };
            }
            // SAFETY: the same.
            unsafe { wsloop_remote_free(way) };
        })
    });
    let mut heard = 0;
    while heard < 4 * EACH * 3 {
        heard += hear(server, &peer).len();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(heard, 4 * EACH * 3);
    // SAFETY: both are there, and then they are not.
    unsafe {
        assert_eq!(wsloop_free(server), WSLOOP_OK);
        assert_eq!(wsloop_remote_stop(way), WSLOOP_OK);
        wsloop_remote_free(way);
    }
}

#[test]
fn connections_are_numbers_and_sources_are_none_of_them() {
    let ids = [ConnId::new(0, 1), ConnId::new(7, u32::MAX), ConnId::new((1 << 20) - 1025, 3)];
    for id in ids {
        assert_eq!(conn(number(id)), id);
        assert_ne!(number(id), 0);
        let of_source = source_number(SourceId(id));
        assert!(conn(of_source).slot() > 1 << 30);
        assert_eq!((source(of_source), source(number(id))), (SourceId(id), SourceId(ConnId::NONE)));
    }
    assert_eq!((number(ConnId::NONE), conn(0), source(0).0), (0, ConnId::NONE, ConnId::NONE));
    assert_eq!(conn(5 << 32), ConnId::NONE);
}

#[test]
fn structs_are_copied_as_far_as_both_know_them() {
    let mut handlers = [handler(), handler()];
    // SAFETY: as many bytes are there as it says.
    unsafe {
        assert!(copy_in(&raw const handlers[0]).unwrap().on_close.is_some());
        handlers[0].size = std::mem::offset_of!(wsloop_handler, on_close);
        let shorter = copy_in(&raw const handlers[0]).unwrap();
        assert!(shorter.on_message.is_some() && shorter.on_close.is_none());
        handlers[0].size = 2 * size_of::<wsloop_handler>();
        assert_eq!(
            copy_in((&raw const handlers).cast::<wsloop_handler>()).map(|_| ()).unwrap_err().code(),
            WSLOOP_ERR_UNSUPPORTED
        );
    }
}

unsafe extern "C" fn on_bytes(
    server: *mut wsloop_server,
    source: wsloop_source,
    data: *const c_void,
    len: usize,
    user: *mut c_void,
) {
    // SAFETY: as every callback may.
    unsafe {
        let bytes = std::slice::from_raw_parts(data.cast::<u8>(), len);
        note(user, format!("bytes {}", String::from_utf8_lossy(bytes)));
        assert_eq!(wsloop_tell(server, source, data, len), WSLOOP_OK);
        assert_eq!(wsloop_end_source(server, source), WSLOOP_OK);
        assert_eq!(wsloop_tell(server, source, data, len), WSLOOP_ERR_STATE);
    }
}

unsafe extern "C" fn on_source_end(
    server: *mut wsloop_server,
    source: wsloop_source,
    end: c_int,
    reason: *const c_char,
    len: usize,
    user: *mut c_void,
) {
    // SAFETY: as every callback may.
    unsafe {
        assert_eq!(wsloop_tell(server, source, null(), 0), WSLOOP_ERR_GONE);
        let reason = std::slice::from_raw_parts(reason.cast::<u8>(), len);
        note(user, format!("end {end}: {}", String::from_utf8_lossy(reason)));
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri knows no timeout of a socket")]
fn a_source_is_told_and_tells_and_ends() {
    let mut notes = Notes::default();
    let user: *mut c_void = (&raw mut notes).cast();
    let server = server(user);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("tcp:{}\0", listener.local_addr().unwrap());
    let target = CStr::from_bytes_with_nul(target.as_bytes()).unwrap();
    let handler = wsloop_handler {
        on_bytes: Some(on_bytes),
        on_source_end: Some(on_source_end),
        ..handler()
    };
    // SAFETY: the server is there, and then it is not.
    unsafe {
        assert_eq!(wsloop_route(server, c"/".as_ptr(), &handler, user), 0);
        let mut source = 7;
        let out = &raw mut source;
        assert_eq!(wsloop_open(server, 0, c"tcp:x".as_ptr(), out), WSLOOP_ERR_ARGUMENT);
        assert_eq!(source, 0);
        assert_eq!(wsloop_open(server, 0, target.as_ptr(), out), WSLOOP_OK);
        assert_eq!(wsloop_tell(server, source, c"hello ".as_ptr().cast(), 6), WSLOOP_OK);
        assert_eq!(wsloop_source_buffered(server, source), 6);
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"you").unwrap();
        while wsloop_turn(server, 10) >= 0 && (*user.cast::<Notes>()).0.is_empty() {}
        assert_eq!(rest(&peer), b"hello you");
        drop(peer);
        while wsloop_turn(server, 10) >= 0 && (*user.cast::<Notes>()).0.len() < 2 {}
        let notes = (*user.cast::<Notes>()).take();
        assert_eq!(notes, ["bytes you", "end 0: it has ended"]);
        assert_eq!(wsloop_free(server), WSLOOP_OK);
    }
}

#[test]
fn every_end_has_its_number() {
    for (end, number) in [
        (SourceEnd::Ended, WSLOOP_END_OK),
        (SourceEnd::Unreachable("why"), WSLOOP_END_UNREACHABLE),
        (SourceEnd::Failed("why"), WSLOOP_END_FAILED),
        (SourceEnd::Stalled, WSLOOP_END_STALLED),
        (SourceEnd::Stopped, WSLOOP_END_STOPPED),
        (SourceEnd::Exited(3), 3),
        (SourceEnd::Killed(9), 137),
    ] {
        assert_eq!(end_number(end), number);
    }
}
