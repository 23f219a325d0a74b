//! fastwebsockets on tokio, on one thread: `peer-fastwebsockets PORT`. `/broadcast` sends everything
//! to everyone there; other paths echo. Set up as its documentation and its own benchmark have it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError,
};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Its check is for less than that.
const MOST: usize = 32 << 20;

type Message = Arc<(OpCode, Vec<u8>)>;
type Room = Arc<Mutex<HashMap<usize, UnboundedSender<Message>>>>;

fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("a port");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let room = Room::default();
        for id in 0.. {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let room = room.clone();
            tokio::spawn(async move {
                let answer = service_fn(|request| answer(request, id, room.clone()));
                let http = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                let _ = http.with_upgrades().await;
            });
        }
        Ok(())
    })
}

async fn answer(
    mut request: Request<Incoming>,
    id: usize,
    room: Room,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let to_all = request.uri().path() == "/broadcast";
    let (response, upgraded) = upgrade(&mut request)?;
    tokio::spawn(tokio::task::unconstrained(async move {
        let _ = if to_all { broadcast(upgraded, id, &room).await } else { echo(upgraded).await };
        room.lock().unwrap().remove(&id);
    }));
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut ws = upgraded.await?;
    ws.set_max_message_size(MOST);
    let mut ws = FragmentCollector::new(ws);
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => ws.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn broadcast(upgraded: UpgradeFut, id: usize, room: &Room) -> Result<(), WebSocketError> {
    let mut ws = upgraded.await?;
    ws.set_max_message_size(MOST);
    let (read, mut write) = ws.split(tokio::io::split);
    let mut read = FragmentCollectorRead::new(read);
    let (sender, mut receiver) = unbounded_channel::<Message>();
    room.lock().unwrap().insert(id, sender);
    tokio::spawn(async move {
        while let Some(message) = receiver.recv().await {
            let frame = Frame::new(true, message.0, None, Payload::Borrowed(&message.1));
            if write.write_frame(frame).await.is_err() {
                return;
            }
        }
    });
    // Answers to pings and closes are not measured here.
    let mut answer = |_| async { Ok::<_, WebSocketError>(()) };
    loop {
        let frame = read.read_frame(&mut answer).await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => {
                let message = Arc::new((frame.opcode, frame.payload.to_vec()));
                for to in room.lock().unwrap().values() {
                    let _ = to.send(Arc::clone(&message));
                }
            }
            _ => {}
        }
    }
}
