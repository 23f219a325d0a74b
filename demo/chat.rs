//! Page and WebSocket on one port, and two handlers on one loop: an echo and a room to talk in. Run
//! `cargo run --example chat` and open http://localhost:8888/, in two windows; or, in a browser's
//! console, where it shows `Server echoed: hi`
//!     ws = new WebSocket("ws://localhost:8888/websocket"); ws.onmessage = e => console.log(e.data)
//!     ws.send("hi")
//!
//! The room is at `/chat`. Everything in it is plain text, for pages and for people at a terminal
//! alike. A client's first message is its name, each further one is something said. What the room
//! says begins with `* `, what somebody says with the name and `: `; no name has a colon, begins
//! with an asterisk, or is given twice, so that nobody can speak for the room or for another:
//!
//! ```text
//! * What is your name?
//! Ann: is anybody there?
//! * You are Ben. Here: Ann
//! Ben: I am
//! ```
//!
//! Whoever comes in hears the last 50 things said. Control characters become spaces, and marks that
//! turn the direction of writing are left out. A message may have 500 characters; one that is
//! longer, or empty, is not passed on, and its sender is told. Only the first 24 characters of a
//! name count, and only its first 256 bytes are looked at.

use std::collections::{BTreeMap, HashSet, VecDeque};

use wsloop::{Config, ConnId, Context, Handler, Message, OriginRule, Request, Server};

/// The room: who is in it, and what was said.
#[derive(Default)]
pub struct Chat {
    names: BTreeMap<ConnId, String>,
    /// The names in lower case: when a thousand want one name, each finds a free one soon.
    taken: HashSet<String>,
    said: VecDeque<String>,
}

impl Handler for Chat {
    fn on_open(&mut self, ws: &mut Context<'_>, _: &Request<'_>) {
        ws.send("* What is your name?");
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        let Message::Text(text) = message else {
            ws.send("* Not passed on: only text is.");
            return;
        };
        match self.names.get(&ws.id()) {
            None => self.enter(ws, text),
            Some(name) => match clean(text) {
                Ok(text) => {
                    let line = format!("{name}: {text}");
                    self.tell(ws, &line);
                    self.remember(line);
                }
                Err(why) => {
                    ws.send(&format!("* Not passed on: {why}."));
                }
            },
        }
    }

    fn on_close(&mut self, ws: &mut Context<'_>, _code: u16, _reason: &str) {
        if let Some(name) = self.names.remove(&ws.id()) {
            self.taken.remove(&name.to_lowercase());
            self.tell(ws, &format!("* {name} has gone."));
        }
    }
}

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

const MAX_NAME: usize = 24;
/// A first message may be as large as any other. What lies behind these bytes costs no work.
const MAX_NAME_BYTES: usize = 256;
const MAX_TEXT: usize = 500;
const REMEMBERED: usize = 50;
/// This many names are listed to whoever comes in; the others are counted.
const LISTED: usize = 20;

impl Chat {
    fn enter(&mut self, ws: &mut Context<'_>, wanted: &str) {
        let name = take_name(&mut self.taken, wanted);
        for line in &self.said {
            ws.send(line);
        }
        ws.send(&format!("* You are {name}. Here: {}", who(self.names.values())));
        self.tell(ws, &format!("* {name} has come."));
        self.names.insert(ws.id(), name);
    }

    /// To everyone who has a name: only those in the room hear it.
    fn tell(&self, ws: &mut Context<'_>, line: &str) {
        for id in self.names.keys() {
            ws.send_to(*id, line);
        }
    }

    fn remember(&mut self, line: String) {
        if self.said.len() == REMEMBERED {
            self.said.pop_front();
        }
        self.said.push_back(line);
    }
}

/// The names of those who are in the room, for somebody who comes in.
fn who<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    let more = names.len().saturating_sub(LISTED);
    let listed: Vec<&str> = names.take(LISTED).map(String::as_str).collect();
    match more {
        0 if listed.is_empty() => "nobody else".to_string(),
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

/// The name wanted, with a number behind it if somebody has it. From now on it is in use.
fn take_name(taken: &mut HashSet<String>, wanted: &str) -> String {
    let wanted = clean_name(wanted);
    let mut name = wanted.clone();
    let mut number = 1;
    while !taken.insert(name.to_lowercase()) {
        number += 1;
        name = format!("{wanted} {number}");
    }
    name
}

fn clean_name(wanted: &str) -> String {
    let wanted = &wanted[..wanted.floor_char_boundary(MAX_NAME_BYTES)];
    let plain = wanted.replace([':', '*', ','], " ");
    let words: Vec<String> = plain.split_whitespace().map(visible).collect();
    let name: String = words.join(" ").chars().take(MAX_NAME).collect();
    let name = name.trim();
    if name.is_empty() { "Somebody".to_string() } else { name.to_string() }
}

/// What somebody says, on one line.
fn clean(text: &str) -> Result<String, String> {
    if text.chars().take(MAX_TEXT + 1).count() > MAX_TEXT {
        return Err(format!("it is longer than {MAX_TEXT} characters"));
    }
    let text = visible(text);
    if text.trim().is_empty() {
        return Err("it is empty".to_string());
    }
    Ok(text.trim().to_string())
}

/// Without what is not seen: control characters, which a terminal would obey, become spaces; marks
/// that turn the direction of writing, or have no width, are left out.
fn visible(text: &str) -> String {
    let mark = |c| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    text.chars().filter(|c| !mark(*c)).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_bounded() {
        for (wanted, name) in [
            ("Ann", "Ann"),
            ("  Ann \t Lee\n", "Ann Lee"),
            ("* You are", "You are"),
            ("Ann: hi", "Ann hi"),
            ("\u{202e}nnA\u{200b}", "nnA"),
            ("\x1b[31mred", "[31mred"),
            (" :*\u{200b}\u{7f} ", "Somebody"),
            ("", "Somebody"),
            ("<b>Zoë</b>", "<b>Zoë</b>"),
        ] {
            assert_eq!(clean_name(wanted), name, "{wanted:?}");
        }
        assert_eq!(clean_name(&"é".repeat(100)), "é".repeat(24));
        assert_eq!(clean_name(&format!("{} b", "a".repeat(23))), "a".repeat(23));
    }

    #[test]
    fn only_the_beginning_of_a_name_is_looked_at_and_kept() {
        let behind = |count: usize, name: &str| format!("{}{name}", " ".repeat(count));
        assert_eq!(clean_name(&behind(MAX_NAME_BYTES - 3, "Ann")), "Ann");
        assert_eq!(clean_name(&behind(MAX_NAME_BYTES - 2, "Ann")), "An");
        // A character that is not whole within these bytes is left out.
        assert_eq!(clean_name(&behind(MAX_NAME_BYTES - 1, "é")), "Somebody");
        assert_eq!(clean_name(&behind(1 << 20, "Ann")), "Somebody");
        for filling in ["a", "a ", "é", "🌍", "a\u{200b}", "\u{200b}", ":"] {
            let name = clean_name(&filling.repeat(1 << 20));
            assert!(name.chars().count() <= MAX_NAME, "{name}");
            assert!(name.capacity() <= 4 * MAX_NAME, "{name}: {}", name.capacity());
        }
    }

    #[test]
    fn no_two_have_one_name() {
        let mut taken = HashSet::new();
        let mut names: Vec<String> =
            ["Ann", "Ann", "ben"].map(|wanted| take_name(&mut taken, wanted)).to_vec();
        assert_eq!(names, ["Ann", "Ann 2", "ben"]);
        assert_eq!(who(names.iter()), "Ann, Ann 2, ben");
        names.extend((3..30).map(|_| take_name(&mut taken, "x")));
        assert!(who(names.iter()).ends_with(", x 17 and 10 more"), "{}", who(names.iter()));
        assert_eq!(take_name(&mut taken, "Ann"), "Ann 3");
        assert_eq!(take_name(&mut taken, "BEN"), "BEN 2");
        assert_eq!(take_name(&mut taken, "Cid"), "Cid");
        assert_eq!(who([].iter()), "nobody else");
    }

    #[test]
    fn what_is_said_is_one_visible_line() {
        assert_eq!(clean("a\r\nb\x1b[2J"), Ok("a  b [2J".to_string()));
        assert_eq!(clean(" <i>hi</i>\u{202e} "), Ok("<i>hi</i>".to_string()));
        assert!(clean("\n\u{200b}").is_err());
        assert!(clean(&"é".repeat(500)).is_ok());
        assert!(clean(&"é".repeat(501)).is_err());
    }

    #[test]
    fn only_the_last_things_said_are_kept() {
        let mut chat = Chat::default();
        (0..200).for_each(|number| chat.remember(number.to_string()));
        assert_eq!(chat.said.len(), REMEMBERED);
        assert_eq!(chat.said.front().map(String::as_str), Some("150"));
    }
}
