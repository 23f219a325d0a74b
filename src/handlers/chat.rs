use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::{ConnId, Context, Handler, Message, Request};

/// A room to talk in. Everything in it is plain text, for pages and for people at a terminal alike.
///
/// A client's first message is its name, each further one is something said. What the room says
/// begins with `* `, what somebody says with the name and `: `; no name has a colon, begins with an
/// asterisk, or is there twice, so that nobody can speak for the room or for another:
///
/// ```text
/// * What is your name?
/// Ann: is anybody there?
/// * You are Ben. Here: Ann
/// Ben: I am
/// ```
///
/// Who comes in hears the last 50 things said. Control characters become spaces, and marks that turn
/// the direction of writing are left out. A message may have 500 characters; what is longer, or
/// empty, is not passed on, and its sender is told. Of a name the first 24 characters count.
#[derive(Debug, Default)]
pub struct Chat {
    names: BTreeMap<ConnId, String>,
    /// The same in lower case: of a thousand who want one name, each is to find a free one soon.
    taken: HashSet<String>,
    said: VecDeque<String>,
}

const MAX_NAME: usize = 24;
const MAX_TEXT: usize = 500;
const REMEMBERED: usize = 50;
/// So many names are listed to who comes in; the others are counted.
const LISTED: usize = 20;

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

impl Chat {
    fn enter(&mut self, ws: &mut Context<'_>, wanted: &str) {
        let name = self.free_name(wanted);
        for line in &self.said {
            ws.send(line);
        }
        ws.send(&format!("* You are {name}. Here: {}", self.who()));
        self.tell(ws, &format!("* {name} has come."));
        self.add(ws.id(), name);
    }

    fn add(&mut self, id: ConnId, name: String) {
        self.taken.insert(name.to_lowercase());
        self.names.insert(id, name);
    }

    /// To everyone who has a name: the room is heard by those who are in it.
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

    fn who(&self) -> String {
        let listed: Vec<&str> = self.names.values().take(LISTED).map(String::as_str).collect();
        match self.names.len().saturating_sub(LISTED) {
            0 if listed.is_empty() => "nobody else".to_string(),
            0 => listed.join(", "),
            more => format!("{} and {more} more", listed.join(", ")),
        }
    }

    /// The name wanted, with a number behind it if somebody has it.
    fn free_name(&self, wanted: &str) -> String {
        let wanted = clean_name(wanted);
        let taken = |name: &String| self.taken.contains(&name.to_lowercase());
        let numbered = (2..).map(|number| format!("{wanted} {number}"));
        std::iter::once(wanted.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(wanted)
    }
}

fn clean_name(wanted: &str) -> String {
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
/// that turn the direction of writing, or have no width, go.
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
    fn no_two_have_one_name() {
        let mut chat = Chat::default();
        for (slot, name) in ["Ann", "Ann 2", "ben"].into_iter().enumerate() {
            chat.add(ConnId::new(slot as u32, 1), name.to_string());
        }
        assert_eq!(chat.free_name("Ann"), "Ann 3");
        assert_eq!(chat.free_name("BEN"), "BEN 2");
        assert_eq!(chat.free_name("Cid"), "Cid");
        assert_eq!(chat.who(), "Ann, Ann 2, ben");
        for slot in 3..30 {
            chat.add(ConnId::new(slot, 1), chat.free_name("x"));
        }
        assert!(chat.who().ends_with(", x 17 and 10 more"), "{}", chat.who());
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
