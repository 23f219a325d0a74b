//! ws-rs: `peer-ws-rs PORT`. `/broadcast` sends everything to everyone; other paths echo.

use ws::{Builder, Handler, Handshake, Message, Sender, Settings};

struct Peer {
    out: Sender,
    to_all: bool,
}

impl Handler for Peer {
    fn on_open(&mut self, handshake: Handshake) -> ws::Result<()> {
        self.to_all = handshake.request.resource() == "/broadcast";
        Ok(())
    }

    fn on_message(&mut self, message: Message) -> ws::Result<()> {
        if self.to_all { self.out.broadcast(message) } else { self.out.send(message) }
    }
}

#[allow(clippy::result_large_err)] // the library's type
fn main() -> ws::Result<()> {
    let port = std::env::args().nth(1).expect("a port");
    let settings = Settings {
        max_connections: 20_000,
        // Whole messages go into one frame, as with the others.
        fragment_size: 16 << 20,
        tcp_nodelay: true,
        ..Settings::default()
    };
    let server = Builder::new().with_settings(settings).build(|out| Peer { out, to_all: false })?;
    server.listen(format!("127.0.0.1:{port}"))?;
    Ok(())
}
