//! Asked for or pushed: two handlers that share one market, the one for plain HTTP, the other for
//! WebSockets. Run `cargo run --example stocks` and open http://localhost:8080/; or, in a terminal,
//!     curl -i http://localhost:8080/quote
//! and in a browser's console
//!     new WebSocket("ws://localhost:8080/stocks").onmessage = e => console.log(e.data)
//!
//! The market is in `src/handlers/stocks.rs`.

use wsloop::handlers::Stocks;
use wsloop::{Config, OriginRule, Server};

/// The page is a part of the program, with what it needs.
const PAGE: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("web/stocks.html")),
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
    // All handlers run on one thread, so what two of them share needs no lock.
    let stocks = Stocks::default();
    server.route("/quote", stocks.quote());
    server.route("/stocks", stocks);
    server.serve_embedded(PAGE);
    println!("listening on {}/stocks", server.listen(&addr)?);
    server.run()
}
