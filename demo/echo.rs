//! An echo that shows it listened: text comes back with `echo: ` before it, binary as it was. Run
//! `cargo run --example echo`, then in a browser's console, where it shows `echo: hi`
//!     ws = new WebSocket("ws://localhost:8080/echo"); ws.onmessage = e => console.log(e.data)
//!     ws.send("hi")

use wsloop::{Config, Context, Handler, Message, OriginRule, Request, SendStatus, Server};

struct Echo {
    prefix: String,
}

impl Handler for Echo {
    /// Everything that the browser said in its request can be read here.
    fn on_open(&mut self, ws: &mut Context<'_>, request: &Request<'_>) {
        let from = request.header("Origin").unwrap_or("no page");
        println!("{:?} from {from:?}, by {:?}", ws.id(), ws.version());
    }

    /// The message is borrowed from the receive buffer; what is sent is copied to the connection's
    /// own buffer, and written when the turn ends. So there is nothing to wait for, but room can
    /// run out: a client that sends and never reads is dropped once too much waits for it.
    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        let status = match message {
            Message::Text(text) => ws.send(&format!("{}{text}", self.prefix)),
            Message::Binary(_) => ws.send(message),
        };
        if status == SendStatus::Dropped {
            println!("{:?} does not take its echo", ws.id());
        }
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_string());
    // The pages of any site may connect; by default only those of the same host may.
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];

    let mut server = Server::new(config)?;
    server.route("/echo", Echo { prefix: "echo: ".to_string() });
    println!("listening on {}/echo", server.listen(&addr)?);
    server.run()
}
