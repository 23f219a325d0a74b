//! Who is where: everyone who shares a position is a dot on everyone's map. Run
//! `cargo run --example tracker` and open http://localhost:8080/, in two windows; or, in a browser's
//! console, follow the others and say where you are
//!     ws = new WebSocket("ws://localhost:8080/"); ws.onmessage = e => console.log(e.data)
//!     ws.send("[1, 47.37, 8.54]")
//!
//! What is passed on was checked before: `src/handlers/tracker.rs` has the rules.

use wsloop::handlers::Tracker;
use wsloop::{Config, OriginRule, Server};

/// The page is a part of the program, with what it needs.
const PAGE: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("web/tracker.html")),
    ("/style.css", include_bytes!("web/style.css")),
    ("/connection.js", include_bytes!("web/connection.js")),
    ("/favicon.svg", include_bytes!("web/favicon.svg")),
];

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_string());
    // The pages of any site may connect; by default only those of the same host may.
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];

    let mut server = Server::new(config)?;
    // One handler for every path: those who come to `/` and the page, which asks for `/tracker`,
    // meet. Plain HTTP is no business of this handler and goes to the page's files.
    server.route("*", Tracker::default());
    server.serve_embedded(PAGE);
    println!("listening on {}/", server.listen(&addr)?);
    server.run()
}
