//! Two ports and one loop: the page comes from one, its WebSocket is on the other. Run
//! `cargo run --example websock` and open http://localhost:8000/; or, in a browser's console,
//! where it shows a star
//!     ws = new WebSocket("ws://localhost:8001/"); ws.onmessage = e => console.log(e.data)
//!     ws.send("*")

use wsloop::{Config, Context, Message, OriginRule, Server};

/// The page is a part of the program, with what it needs.
const PAGE: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("web/websock.html")),
    ("/style.css", include_bytes!("web/style.css")),
    ("/connection.js", include_bytes!("web/connection.js")),
    ("/favicon.svg", include_bytes!("web/favicon.svg")),
];

fn main() -> std::io::Result<()> {
    let page = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_string());
    let socket = std::env::args().nth(2).unwrap_or_else(|| "127.0.0.1:8001".to_string());
    // The pages of any site may connect. By default those of the same host may, on any port: enough
    // for this page and its WebSocket, but not for the consoles of other sites.
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];

    let mut server = Server::new(config)?;
    server.route("*", |ws: &mut Context<'_>, message: Message<'_>| {
        ws.send(message);
    });
    server.serve_embedded(PAGE);
    // Each listener is a further descriptor in the same poll; what comes in on either is served by
    // the same handlers, one after the other.
    println!("listening on {}/", server.listen(&socket)?);
    println!("the page is on {}/", server.listen(&page)?.to_string().replacen("ws", "http", 1));
    server.run()
}
