//! A server that shows how it is: connections, messages, bytes, memory, once a second and only
//! while somebody watches. Run `cargo run --example monitor` and open http://localhost:8080/; for
//! something to see, send messages to any other path, from a browser's console:
//!     ws = new WebSocket("ws://localhost:8080/"); setInterval(() => ws.send("busy"), 10)
//!
//! The handler is in `src/handlers/monitor.rs`; what it reads is `Context::stats`.

use wsloop::handlers::{Mirror, Monitor};
use wsloop::{Config, OriginRule, Server};

/// The page is a part of the program, with what it needs.
const PAGE: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("web/monitor.html")),
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
    server.route("/stats", Monitor::default());
    server.route("*", Mirror);
    server.serve_embedded(PAGE);
    println!("listening on {}/stats", server.listen(&addr)?);
    server.run()
}
