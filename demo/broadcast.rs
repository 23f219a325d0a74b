//! What one client says, everyone on the path hears, the speaker too. Run `cargo run --example
//! broadcast`, then in the consoles of two browser windows
//!     ws = new WebSocket("ws://localhost:8000/broadcast"); ws.onmessage = e => console.log(e.data)
//! and in either `ws.send("hi")`: both show it, and the program counts along.

use wsloop::{Config, Context, Handler, Message, OriginRule, Request, Server};

/// One value serves all connections, on one thread: its state is plain fields, without locks. It
/// need not remember who is here; the route knows its members.
#[derive(Default)]
struct Broadcast {
    messages: u64,
}

impl Broadcast {
    fn report(&self, ws: &Context<'_>) {
        println!("here: {}, messages so far: {}", ws.members().len(), self.messages);
    }
}

impl Handler for Broadcast {
    fn on_open(&mut self, ws: &mut Context<'_>, _: &Request<'_>) {
        self.report(ws);
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        self.messages += 1;
        ws.broadcast(message);
    }

    fn on_close(&mut self, ws: &mut Context<'_>, _code: u16, _reason: &str) {
        self.report(ws);
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_string());
    // The pages of any site may connect; by default only those of the same host may.
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];

    let mut server = Server::new(config)?;
    server.route("/broadcast", Broadcast::default());
    println!("listening on {}/broadcast", server.listen(&addr)?);
    server.run()
}
