//! Pages in step: what is played, moved or made louder on one page is so on all. The server keeps
//! the one state there is, and tells it to pages that come later. Run `cargo run --example sync`
//! and open http://localhost:8080/sync.html, in two windows; or, in a browser's console,
//!     ws = new WebSocket("ws://localhost:8080/sync"); ws.onmessage = e => console.log(e.data)
//!     ws.send("play")
//!
//! A client asks for a change with `play`, `pause`, `position 12.5` (seconds, 0 to 64) or
//! `volume 30` (0 to 100). Each change makes a new state. 25 times a second at most, everyone is told
//! the state, whatever has changed since:
//!
//! ```text
//! {"version":7,"playing":true,"position":12.5,"volume":30,"length":64,"by":1}
//! ```
//!
//! There is one order of changes, the one in which they arrive here, and `version` counts it: two
//! people who drag one slider see different things until they let go, and then the same. `by` is the
//! number of the client that made the last change. A client that comes is told its own number, `you`,
//! and the present state. Whoever made changes is told, just before the state that has them, how many
//! of them were made so far:
//!
//! ```text
//! {"you":2}
//! {"made":5}
//! ```
//!
//! While it plays, the position goes on by this server's clock, and begins again at the end.
//!
//! So a client that asks for a thousand changes in a moment causes one message to each of the others,
//! and not a thousand.
//!
//! Anything else ends the connection with 1008.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wsloop::{Config, ConnId, Context, Handler, Message, OriginRule, Request, Server, code};

/// Keeps pages in step: one tune, played, paused, moved and made louder from any of them.
pub struct Sync {
    state: State,
    /// When the state's position was right.
    since: Instant,
    clients: BTreeMap<ConnId, Client>,
    count: u64,
    /// There were changes that nobody was told yet, and a timer is set for that.
    changed: bool,
}

struct Client {
    number: u64,
    /// How many changes it has made.
    made: u64,
    /// How many of them it was told.
    told: u64,
}

impl Handler for Sync {
    fn on_open(&mut self, ws: &mut Context<'_>, _: &Request<'_>) {
        self.count += 1;
        self.clients.insert(ws.id(), Client { number: self.count, made: 0, told: 0 });
        self.advance();
        ws.send(&format!("{{\"you\":{}}}", self.count));
        ws.send(&self.state.describe());
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        let Some(change) = Change::parse(message) else {
            ws.close(code::POLICY, "not play, pause, position 0-64 or volume 0-100");
            return;
        };
        let Some(client) = self.clients.get_mut(&ws.id()) else { return };
        client.made += 1;
        let by = client.number;
        self.advance();
        self.state.apply(change, by);
        if !self.changed {
            self.changed = true;
            // The route's, so that it fires though this client may go.
            ws.of_route().set_timer(EVERY, 0);
        }
    }

    /// Tells everyone what has changed.
    fn on_timer(&mut self, ws: &mut Context<'_>, _: u64) {
        self.changed = false;
        for (id, client) in &mut self.clients {
            if client.told != client.made {
                client.told = client.made;
                ws.send_to(*id, &format!("{{\"made\":{}}}", client.made));
            }
        }
        self.advance();
        ws.broadcast(&self.state.describe());
    }

    fn on_close(&mut self, ws: &mut Context<'_>, _code: u16, _reason: &str) {
        self.clients.remove(&ws.id());
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_string());
    // The pages of any site may connect; by default only those of the same host may.
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];

    let mut server = Server::new(config)?;
    server.route("/sync", Sync::default());
    // From a folder: change a page, reload it, and see the change.
    server.serve_folder(concat!(env!("CARGO_MANIFEST_DIR"), "/demo/web"))?;
    println!("listening on {}/sync", server.listen(&addr)?);
    server.run()
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct State {
    version: u64,
    playing: bool,
    position: f64,
    volume: f64,
    by: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    Play,
    Pause,
    Position(f64),
    Volume(f64),
}

/// The tune's length in seconds.
const LENGTH: f64 = 64.0;
const LOUDEST: f64 = 100.0;
const MAX_MESSAGE: usize = 64;
/// Changes are told so often at most.
const EVERY: Duration = Duration::from_millis(40);

impl Default for Sync {
    /// Paused, at the beginning.
    fn default() -> Sync {
        let state = State { version: 0, playing: false, position: 0.0, volume: 40.0, by: 0 };
        let clients = BTreeMap::new();
        Sync { state, since: Instant::now(), clients, count: 0, changed: false }
    }
}

impl Sync {
    /// Brings the position up to this moment.
    fn advance(&mut self) {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now;
        self.state.pass(passed);
    }
}

impl State {
    fn pass(&mut self, seconds: f64) {
        if self.playing {
            self.position = (self.position + seconds) % LENGTH;
        }
    }

    fn apply(&mut self, change: Change, by: u64) {
        match change {
            Change::Play => self.playing = true,
            Change::Pause => self.playing = false,
            Change::Position(position) => self.position = position,
            Change::Volume(volume) => self.volume = volume,
        }
        self.version += 1;
        self.by = by;
    }

    fn describe(&self) -> String {
        let State { version, playing, position, volume, by } = self;
        format!(
            "{{\"version\":{version},\"playing\":{playing},\"position\":{position:.3},\
             \"volume\":{volume:.1},\"length\":{LENGTH},\"by\":{by}}}"
        )
    }
}

impl Change {
    fn parse(message: Message<'_>) -> Option<Change> {
        let Message::Text(text) = message else { return None };
        if text.len() > MAX_MESSAGE {
            return None;
        }
        match text.split_once(' ') {
            None if text == "play" => Some(Change::Play),
            None if text == "pause" => Some(Change::Pause),
            Some(("position", value)) => number(value, LENGTH).map(Change::Position),
            Some(("volume", value)) => number(value, LOUDEST).map(Change::Volume),
            _ => None,
        }
    }
}

/// Digits and a point, from 0 to `most`.
fn number(text: &str, most: f64) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|number| plain && (0.0..=most).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_strictly() {
        let parse = |text| Change::parse(Message::Text(text));
        assert_eq!(parse("play"), Some(Change::Play));
        assert_eq!(parse("pause"), Some(Change::Pause));
        assert_eq!(parse("position 12.5"), Some(Change::Position(12.5)));
        assert_eq!(parse("position 64"), Some(Change::Position(64.0)));
        assert_eq!(parse("volume 0"), Some(Change::Volume(0.0)));
        let long = format!("volume {}", "0".repeat(60));
        for text in [
            "",
            "Play",
            " play",
            "play ",
            "play 1",
            "position",
            "position ",
            "position  1",
            "position .",
            "position 64.1",
            "position -1",
            "position +1",
            "position 1e1",
            "position NaN",
            "position inf",
            "position 1 2",
            "volume 101",
            "volume 1,5",
            "volume 1\n",
            "speed 1",
            "<b>",
            &long,
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(Change::parse(Message::Binary(b"play")), None);
    }

    #[test]
    fn the_position_goes_on_while_it_plays_and_begins_again() {
        let mut state = Sync::default().state;
        state.pass(5.0);
        assert_eq!(state.position, 0.0);
        state.apply(Change::Play, 1);
        state.pass(5.0);
        assert_eq!(state.position, 5.0);
        state.apply(Change::Position(63.0), 2);
        state.pass(3.0);
        assert_eq!(state.position, 2.0);
        state.apply(Change::Pause, 1);
        state.pass(3.0);
        assert_eq!((state.position, state.version, state.by), (2.0, 3, 1));
    }

    #[test]
    fn a_state_is_json() {
        let mut state = Sync::default().state;
        state.apply(Change::Volume(33.333_333), 2);
        let told: serde_json::Value = serde_json::from_str(&state.describe()).unwrap();
        let wanted = serde_json::json!({
            "version": 1, "playing": false, "position": 0.0, "volume": 33.3, "length": 64,
            "by": 2,
        });
        assert_eq!(told, wanted);
    }
}
