//! A plot of what comes in as lines: one loop, two kinds of peers. Run `cargo run --example plotter`,
//! and in a terminal
//!     ( echo name; while :; do echo "$(date +%s)000 $RANDOM"; sleep 1; done ) | nc localhost 9876
//! then in a browser's console, where it shows a batch of points each second
//!     ws = new WebSocket("ws://localhost:9877/")
//!     ws.onmessage = e => { console.log(e.data); ws.send("") }
//! Open http://localhost:9877/ for the page that draws them. How points are kept and who gets which
//! is in `src/handlers/plot.rs`.

use wsloop::handlers::Plot;
use wsloop::{Config, OriginRule, Server};

/// The page is a part of the program, with what it needs.
const PAGE: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("web/plotter.html")),
    ("/style.css", include_bytes!("web/style.css")),
    ("/connection.js", include_bytes!("web/connection.js")),
    ("/favicon.svg", include_bytes!("web/favicon.svg")),
];

fn main() -> std::io::Result<()> {
    let socket = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9877".to_string());
    let lines = std::env::args().nth(2).unwrap_or_else(|| "127.0.0.1:9876".to_string());
    // The pages of any site may connect; by default only those of the same host may.
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];

    let mut server = Server::new(config)?;
    server.route("/", Plot::default());
    server.serve_embedded(PAGE);
    println!("listening on {}/", server.listen(&socket)?);
    // Who connects here is a source: its lines go to the handler of the route.
    println!("lines from {}", server.feed(&lines, "/")?.to_string().replacen("ws", "tcp", 1));
    server.run()
}
