//! A server that speaks first: `hello` after one second, `world` after another. Run
//! `cargo run --example hello`, then in a browser's console, where it shows the two words
//!     new WebSocket("ws://localhost:9876/").onmessage = e => console.log(e.data)

use std::time::Duration;

use wsloop::{Config, Context, Handler, Message, OriginRule, Request, Server};

/// One value serves all connections, and this one has nothing to remember: how far each connection
/// has come is in its timer's tag.
pub struct Hello;

const WORDS: [&str; 2] = ["hello", "world"];
const PAUSE: Duration = Duration::from_secs(1);

impl Handler for Hello {
    fn on_open(&mut self, ws: &mut Context<'_>, _: &Request<'_>) {
        ws.set_timer(PAUSE, 0);
    }

    /// Says the word whose number is the tag, and sets the timer for the next. Nothing waits here:
    /// meanwhile the loop serves everybody else. A connection's timers end with it.
    fn on_timer(&mut self, ws: &mut Context<'_>, tag: u64) {
        if let Some(&word) = WORDS.get(tag as usize) {
            ws.send(word);
            ws.set_timer(PAUSE, tag + 1);
        }
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9876".to_string());
    // The pages of any site may connect; by default only those of the same host may.
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];

    let mut server = Server::new(config)?;
    server.route("/", Hello);
    println!("listening on {}/", server.listen(&addr)?);
    server.run()
}
