//! A client that is not ours: the tungstenite crate.

use std::net::TcpStream;

use crate::calls::*;
use crate::common::*;
use crate::recorder::*;
use crate::serving::*;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::{Error, Message, WebSocket};
use wsloop::handlers::{Echo, Mirror};
use wsloop::{Answer, Config, Context, Handler, Request};

/// Opens a WebSocket the way tungstenite does, its checks of our answer included.
fn open(server: &Running, path: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(server.addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let url = format!("ws://{}{path}", server.addr);
    let (client, answer) = tungstenite::client(url, stream).unwrap();
    assert_eq!(answer.status(), 101);
    client
}

fn mirror() -> Running {
    serve(Config::default(), |server| {
        server.route("/", Mirror);
        server.route("/echo", Echo::default());
    })
}

fn send_fragment(client: &mut WebSocket<TcpStream>, opcode: Data, payload: &[u8], fin: bool) {
    client
        .send(Message::Frame(Frame::message(payload.to_vec(), OpCode::Data(opcode), fin)))
        .unwrap();
}

#[test]
fn text_and_binary_of_all_lengths() {
    let server = mirror();
    let mut client = open(&server, "/");
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1 << 20] {
        for message in [Message::text("x".repeat(len)), Message::binary(vec![7; len])] {
            client.send(message.clone()).unwrap();
            assert!(client.read().unwrap() == message, "{len}");
        }
    }
    let mut client = open(&server, "/echo");
    client.send(Message::text("h\u{e9}llo")).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("echo: h\u{e9}llo"));
}

#[test]
fn fragments_with_pings_between() {
    let server = mirror();
    let mut client = open(&server, "/");
    send_fragment(&mut client, Data::Text, "frag\u{20ac}".as_bytes().split_at(5).0, false);
    client.send(Message::Ping(b"between"[..].into())).unwrap();
    send_fragment(&mut client, Data::Continue, "\u{20ac}".as_bytes().split_at(1).1, false);
    send_fragment(&mut client, Data::Continue, b"", true);
    assert_eq!(client.read().unwrap(), Message::Pong(b"between"[..].into()));
    assert_eq!(client.read().unwrap(), Message::text("frag\u{20ac}"));
}

#[test]
fn pings() {
    let server = mirror();
    let mut client = open(&server, "/");
    for payload in [&b""[..], &[7; 125]] {
        client.send(Message::Ping(payload.to_vec().into())).unwrap();
        assert_eq!(client.read().unwrap(), Message::Pong(payload.to_vec().into()));
    }
    client.send(Message::Pong(b"nobody asked"[..].into())).unwrap();
    client.send(Message::text("still here")).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("still here"));
}

#[test]
fn the_client_closes() {
    let (recorder, log) = record();
    let server = serve(Config::default(), |server| server.route("/", recorder));
    let mut client = open(&server, "/");
    let id = log.opened();
    let close = CloseFrame { code: CloseCode::Library(4321), reason: "done here".into() };
    client.close(Some(close)).unwrap();
    let answer = CloseFrame { code: CloseCode::Library(4321), reason: "".into() };
    assert_eq!(client.read().unwrap(), Message::Close(Some(answer)));
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
    assert_eq!(log.closed(id), (4321, "done here".to_string()));
}

#[test]
fn the_server_closes() {
    let (recorder, log) = record_with(|ws, what| {
        if let What::Text(_) = what {
            ws.send("last words");
            ws.close(4000, "enough");
        }
    });
    let server = serve(Config::default(), |server| server.route("/", recorder));
    let mut client = open(&server, "/");
    let id = log.opened();
    client.send(Message::text("go")).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("last words"));
    let close = CloseFrame { code: CloseCode::Library(4000), reason: "enough".into() };
    assert_eq!(client.read().unwrap(), Message::Close(Some(close)));
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
    log.expect(id, What::Text("go".into()));
    assert_eq!(log.closed(id).0, 4000);
}

#[test]
fn a_limit_is_exceeded() {
    let server = serve(config(|config| config.max_message = 10), |server| {
        server.route("/", Mirror);
    });
    let mut client = open(&server, "/");
    client.send(Message::text("eleven bytes")).unwrap();
    match client.read().unwrap() {
        Message::Close(Some(close)) => assert_eq!(close.code, CloseCode::Size),
        message => panic!("{message:?}"),
    }
}

/// Speaks the first subprotocol that is offered.
struct Obliging;

impl Handler for Obliging {
    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Answer {
        request.protocols().next().map_or(Answer::Proceed, |name| Answer::Protocol(name.into()))
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: wsloop::Message<'_>) {}
}

#[test]
fn a_subprotocol_that_it_checks() {
    use tungstenite::client::ClientRequestBuilder;
    let server = serve(Config::default(), |server| server.route("/", Obliging));
    let stream = TcpStream::connect(server.addr).unwrap();
    let url = format!("ws://{}/", server.addr).parse().unwrap();
    let request = ClientRequestBuilder::new(url).with_sub_protocol("chat");
    let (_client, answer) = tungstenite::client(request, stream).unwrap();
    assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "chat");
}
