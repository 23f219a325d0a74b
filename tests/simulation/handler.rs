//! A handler that does what the messages ask it to, and keeps books: what it was called for, and what
//! it has sent to whom.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::schedule::Deed;
use crate::config::OnFull;
use crate::context::Context;
use crate::handler::Handler;
use crate::http::request::Request;
use crate::ids::{ConnId, SourceId};
use crate::peers::connection::ReadyState;
use crate::peers::sending::SendStatus;
use crate::proto::Message;
use crate::source::SourceEnd;

/// A message: whether it is text, and its bytes.
pub type Said = (bool, Vec<u8>);

/// A message that was queued for a peer.
pub struct Queued {
    pub message: Said,
    /// False if it may have been dropped, since so much waited.
    pub sure: bool,
}

/// What the handler knows of one connection, or one source.
#[derive(Default)]
pub struct Book {
    pub opened: bool,
    /// Code and reason of `on_close`; of a source the end.
    pub closed: Option<(u16, String)>,
    /// The messages or lines that came, as far as nobody has looked at them.
    pub heard: Vec<Said>,
    pub queued: VecDeque<Queued>,
    pub paused: bool,
    /// The handler or the program has closed or ended it.
    pub dismissed: bool,
    pub terminated: bool,
    /// The size of the largest message that found no room.
    pub refused: usize,
    /// How many pings were sent.
    pub pings: usize,
}

/// The books of all connections, by their serials.
#[derive(Default)]
pub struct Books {
    pub of: BTreeMap<u32, Book>,
    /// The names of the peers by their numbers in the schedule.
    pub names: Vec<Option<ConnId>>,
    /// A call that must not be.
    pub wrong: Option<String>,
    /// How many messages were made; each has its number in it.
    made: u64,
    /// Something was broadcast since this was last looked at.
    pub broadcast: bool,
    /// Whether messages are dropped when much waits.
    drops: bool,
}

pub type SharedBooks = Rc<RefCell<Books>>;

impl Books {
    pub fn new(on_full: OnFull, peers: usize) -> SharedBooks {
        let drops = on_full == OnFull::Drop;
        Rc::new(RefCell::new(Books { drops, names: vec![None; peers], ..Books::default() }))
    }

    fn book(&mut self, id: ConnId) -> &mut Book {
        self.of.entry(id.serial()).or_default()
    }

    /// The book of a connection that something may be called for.
    fn call(&mut self, id: ConnId, call: &str) -> &mut Book {
        let book = self.book(id);
        let fault = match book {
            Book { opened: false, .. } => "before on_open",
            Book { closed: Some(_), .. } => "after on_close",
            Book { paused: true, .. } if call != "on_drain" => "while paused",
            Book { dismissed: true, .. } => "after it was closed",
            _ => "",
        };
        if !fault.is_empty() {
            self.wrong = Some(format!("#{} {call} {fault}", id.serial()));
        }
        self.book(id)
    }

    /// A text of this length that no other is like, unless it is very short.
    fn make(&mut self, size: usize) -> String {
        self.made += 1;
        let mut text = format!("made{}:", self.made);
        let rest = size.saturating_sub(text.len());
        text.extend(std::iter::repeat_n("some text ", rest / 10 + 1));
        text.truncate(size.max(12));
        text
    }

    fn send(&mut self, ws: &mut Context<'_>, id: ConnId, message: Message<'_>) {
        let open = ws.to(id).ready_state() == ReadyState::Open;
        let status = ws.send_to(id, message);
        let (text, bytes) = (matches!(message, Message::Text(_)), message.as_bytes());
        let book = self.book(id);
        if status != SendStatus::Dropped {
            book.queued.push_back(Queued { message: (text, bytes.to_vec()), sure: true });
        } else if open {
            book.refused = book.refused.max(bytes.len());
        }
    }

    fn broadcast(&mut self, ws: &mut Context<'_>, text: &str) {
        for &id in ws.members() {
            let sure = !self.drops;
            let message = (true, text.as_bytes().to_vec());
            let book = self.book(id);
            book.queued.push_back(Queued { message, sure });
            book.refused = book.refused.max(text.len());
        }
        self.broadcast = true;
        ws.broadcast(text);
    }

    /// Does what a message asked for; an echo needs the message.
    pub fn perform(&mut self, ws: &mut Context<'_>, deed: Deed, message: Option<Message<'_>>) {
        let id = ws.id();
        match deed {
            Deed::Nothing => {}
            Deed::Echo => {
                if let Some(message) = message {
                    self.send(ws, id, message);
                }
            }
            Deed::Send(size) => {
                let text = self.make(size);
                self.send(ws, id, Message::Text(&text));
            }
            Deed::Broadcast(size) => {
                let text = self.make(size);
                self.broadcast(ws, &text);
            }
            Deed::SendTo(who, size) => {
                if let Some(to) = self.names.get(who).copied().flatten() {
                    let text = self.make(size);
                    self.send(ws, to, Message::Text(&text));
                }
            }
            Deed::Ping => {
                let sent = ws.ping(b"asked for") != SendStatus::Dropped;
                self.book(id).pings += usize::from(sent);
            }
            Deed::Close => {
                if ws.close(1000, "asked for") {
                    let book = self.book(id);
                    (book.dismissed, book.paused) = (true, false);
                }
            }
            Deed::Pause => {
                if ws.ready_state() == ReadyState::Open && self.book(id).opened {
                    ws.pause();
                    self.book(id).paused = true;
                }
            }
            Deed::Resume => {
                ws.resume();
                self.book(id).paused = false;
            }
            Deed::Terminate => {
                if self.book(id).opened && self.book(id).closed.is_none() {
                    ws.terminate();
                    let book = self.book(id);
                    (book.dismissed, book.terminated, book.paused) = (true, true, false);
                }
            }
        }
    }
}

/// A deed as a message names it.
pub fn word(deed: Deed) -> String {
    match deed {
        Deed::Nothing => "n".to_string(),
        Deed::Echo => "e".to_string(),
        Deed::Send(size) => format!("s{size}"),
        Deed::Broadcast(size) => format!("b{size}"),
        Deed::SendTo(who, size) => format!("t{who}.{size}"),
        Deed::Ping => "p".to_string(),
        Deed::Close => "c".to_string(),
        Deed::Pause => "w".to_string(),
        Deed::Resume => "r".to_string(),
        Deed::Terminate => "x".to_string(),
    }
}

/// The deed that a message names: its first word.
fn named(message: &[u8]) -> Deed {
    let word = message.split(|&byte| byte == b':').next().unwrap_or_default();
    let Some((letter, rest)) = word.split_first() else { return Deed::Nothing };
    let number = |text: &[u8]| str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    let size = || number(rest).unwrap_or(0);
    match letter {
        b'e' => Deed::Echo,
        b's' => Deed::Send(size()),
        b'b' => Deed::Broadcast(size()),
        b't' => {
            let place = rest.iter().position(|&byte| byte == b'.').unwrap_or(0);
            let (who, size) = rest.split_at(place);
            Deed::SendTo(number(who).unwrap_or(0), size.get(1..).and_then(number).unwrap_or(0))
        }
        b'p' => Deed::Ping,
        b'c' => Deed::Close,
        b'w' => Deed::Pause,
        b'x' => Deed::Terminate,
        _ => Deed::Nothing,
    }
}

/// The handler, which writes into the books.
pub struct Clerk(pub SharedBooks);

impl Handler for Clerk {
    fn on_open(&mut self, ws: &mut Context<'_>, _: &Request<'_>) {
        let mut books = self.0.borrow_mut();
        if std::mem::replace(&mut books.book(ws.id()).opened, true) {
            books.wrong = Some(format!("#{} on_open twice", ws.id().serial()));
        }
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        let mut books = self.0.borrow_mut();
        let bytes = message.as_bytes();
        let said = (matches!(message, Message::Text(_)), bytes.to_vec());
        books.call(ws.id(), "on_message").heard.push(said);
        books.perform(ws, named(bytes), Some(message));
    }

    fn on_pong(&mut self, ws: &mut Context<'_>, _: &[u8]) {
        self.0.borrow_mut().call(ws.id(), "on_pong");
    }

    fn on_drain(&mut self, ws: &mut Context<'_>) {
        self.0.borrow_mut().call(ws.id(), "on_drain");
    }

    fn on_close(&mut self, ws: &mut Context<'_>, code: u16, reason: &str) {
        let mut books = self.0.borrow_mut();
        let book = books.book(ws.id());
        if !book.opened || book.closed.is_some() {
            books.wrong = Some(format!("#{} on_close out of place", ws.id().serial()));
        } else {
            book.closed = Some((code, reason.to_string()));
        }
    }

    fn on_line(
        &mut self,
        ws: &mut Context<'_>,
        source: SourceId,
        line: &str,
    ) -> Result<(), String> {
        let mut books = self.0.borrow_mut();
        let book = books.book(source.0);
        book.heard.push((true, line.as_bytes().to_vec()));
        if book.closed.is_some() {
            books.wrong = Some("on_line behind the end".to_string());
        }
        if line.len().is_multiple_of(7) {
            let text = books.make(line.len());
            books.broadcast(ws, &text);
        }
        if line.starts_with("bad") { Err("it says so itself".to_string()) } else { Ok(()) }
    }

    fn on_source_end(&mut self, _: &mut Context<'_>, source: SourceId, _: SourceEnd<'_>) {
        let mut books = self.0.borrow_mut();
        if books.book(source.0).closed.replace((0, String::new())).is_some() {
            books.wrong = Some("on_source_end twice".to_string());
        }
    }
}
