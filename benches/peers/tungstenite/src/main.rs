//! tokio-tungstenite on one thread: `peer-tungstenite PORT`. `/broadcast` sends everything to
//! everyone there; other paths echo. What comes at once goes back at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, TryStreamExt, future, stream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

const MOST: usize = 16 << 20;
/// Its own default is 128 KiB, which it fills with zeros for each read.
const BUFFER: usize = 16 << 10;

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
            tokio::spawn(serve(stream, id, room.clone()));
        }
        Ok(())
    })
}

async fn serve(stream: TcpStream, id: usize, room: Room) {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .max_message_size(Some(MOST))
        .max_frame_size(Some(MOST));
    let mut to_all = false;
    #[allow(clippy::result_large_err)] // the library's type
    let look = |request: &Request, response: Response| {
        to_all = request.uri().path() == "/broadcast";
        Ok(response)
    };
    // A connection that fails is over; the others are not.
    let Ok(ws) = accept_hdr_async_with_config(stream, look, Some(config)).await else { return };
    let _ = if to_all { broadcast(ws, id, &room).await } else { echo(ws).await };
    room.lock().unwrap().remove(&id);
}

fn is_message(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}

/// `forward` flushes when nothing more is there to be read.
async fn echo(ws: WebSocketStream<TcpStream>) -> Result<(), Error> {
    let (write, read) = ws.split();
    read.try_filter(|message| future::ready(is_message(message))).forward(write).await
}

async fn broadcast(ws: WebSocketStream<TcpStream>, id: usize, room: &Room) -> Result<(), Error> {
    let (sender, mut receiver) = unbounded_channel();
    room.lock().unwrap().insert(id, sender);
    let (write, mut read) = ws.split();
    let queue = stream::poll_fn(move |context| receiver.poll_recv(context));
    tokio::spawn(queue.map(Ok).forward(write));
    while let Some(message) = read.try_next().await? {
        if is_message(&message) {
            for to in room.lock().unwrap().values() {
                let _ = to.send(message.clone());
            }
        }
    }
    Ok(())
}
