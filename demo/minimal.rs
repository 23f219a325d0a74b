//! The smallest echo: what comes in goes back untouched. Run `cargo run --example minimal`, then
//! in a browser's console, where it shows what was sent
//!     ws = new WebSocket("ws://localhost:9999/"); ws.onmessage = e => console.log(e.data)
//!     ws.send("hi")

use wsloop::{Config, Context, Message, OriginRule, Server};

fn main() -> std::io::Result<()> {
    let mut server = listen("127.0.0.1:9999")?;
    server.route("/", |ws: &mut Context<'_>, message: Message<'_>| {
        ws.send(message);
    });
    server.run()
}

/// A server for the pages of any site, on this address or on the one given as an argument.
fn listen(default: &str) -> std::io::Result<Server> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| default.to_string());
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];
    let mut server = Server::new(config)?;
    println!("listening on {}/", server.listen(&addr)?);
    Ok(server)
}
