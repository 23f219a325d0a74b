//! Page and WebSocket on one port, and two handlers on one loop: an echo and a room to talk in. Run
//! `cargo run --example chat` and open http://localhost:8888/, in two windows; or, in a browser's
//! console, where it shows `Server echoed: hi`
//!     ws = new WebSocket("ws://localhost:8888/websocket"); ws.onmessage = e => console.log(e.data)
//!     ws.send("hi")
//!
//! The room is at `/chat`; what is said there, and how, is in `src/handlers/chat.rs`.

use wsloop::handlers::Chat;
use wsloop::{Config, Context, Message, OriginRule, Server};

/// The page is a part of the program, with what it needs.
const PAGE: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("web/chat.html")),
    ("/style.css", include_bytes!("web/style.css")),
    ("/connection.js", include_bytes!("web/connection.js")),
    ("/favicon.svg", include_bytes!("web/favicon.svg")),
];

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8888".to_string());
    // The pages of any site may connect; by default only those of the same host may.
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];

    let mut server = Server::new(config)?;
    // What needs no state is a closure; what has some is a value with a name.
    server.route("/websocket", |ws: &mut Context<'_>, message: Message<'_>| {
        if let Message::Text(text) = message {
            ws.send(&format!("Server echoed: {text}"));
        }
    });
    server.route("/chat", Chat::default());
    server.serve_embedded(PAGE);
    println!("listening on {}/websocket", server.listen(&addr)?);
    server.run()
}
