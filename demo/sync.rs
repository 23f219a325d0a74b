//! Pages in step: what is played, moved or made louder on one is so on all. The server keeps the
//! one state there is, and tells it to those who come later. Run `cargo run --example sync` and open
//! http://localhost:8080/sync.html, in two windows; or, in a browser's console,
//!     ws = new WebSocket("ws://localhost:8080/sync"); ws.onmessage = e => console.log(e.data)
//!     ws.send("play")
//!
//! All changes and the rule for who wins are in `src/handlers/sync.rs`.

use wsloop::handlers::Sync;
use wsloop::{Config, OriginRule, Server};

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_string());
    // The pages of any site may connect; by default only those of the same host may.
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];

    let mut server = Server::new(config)?;
    server.route("/sync", Sync::default());
    // From a folder: change the page, reload it, and there it is.
    server.serve_folder(concat!(env!("CARGO_MANIFEST_DIR"), "/demo/web"))?;
    println!("listening on {}/sync", server.listen(&addr)?);
    server.run()
}
