//! A handler that tells a channel what it was called for.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use wsloop::{ConnId, Context, Handler, Message, Request, SendStatus};

use crate::common::PATIENCE;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Open(String),
    Text(String),
    Binary(usize),
    /// Of the handler's own pings: those of the server are empty.
    Pong(Vec<u8>),
    Drain,
    Close(u16, String),
    Timer(u64),
    Wake,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: ConnId,
    pub what: What,
}

/// Records every call, and then does what the test wants done.
pub struct Recorder<F> {
    log: Sender<Event>,
    act: F,
}

/// A handler that records and acts, and its record.
pub fn record_with<F>(act: F) -> (Recorder<F>, Log)
where
    F: FnMut(&mut Context<'_>, &What) + Send + 'static,
{
    let (log, events) = channel();
    (Recorder { log, act }, Log { events })
}

impl<F: FnMut(&mut Context<'_>, &What)> Recorder<F> {
    fn saw(&mut self, ws: &mut Context<'_>, what: What) {
        // A test that has ended reads no more.
        let _ = self.log.send(Event { id: ws.id(), what: what.clone() });
        (self.act)(ws, &what);
    }
}

impl<F: FnMut(&mut Context<'_>, &What)> Handler for Recorder<F> {
    fn on_open(&mut self, ws: &mut Context<'_>, request: &Request<'_>) {
        self.saw(ws, What::Open(request.path().to_string()));
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        self.saw(
            ws,
            match message {
                Message::Text(text) => What::Text(text.to_string()),
                Message::Binary(bytes) => What::Binary(bytes.len()),
            },
        );
    }

    fn on_pong(&mut self, ws: &mut Context<'_>, payload: &[u8]) {
        if !payload.is_empty() {
            self.saw(ws, What::Pong(payload.to_vec()));
        }
    }

    fn on_drain(&mut self, ws: &mut Context<'_>) {
        self.saw(ws, What::Drain);
    }

    fn on_close(&mut self, ws: &mut Context<'_>, code: u16, reason: &str) {
        self.saw(ws, What::Close(code, reason.to_string()));
    }

    fn on_timer(&mut self, ws: &mut Context<'_>, tag: u64) {
        self.saw(ws, What::Timer(tag));
    }

    fn on_wake(&mut self, ws: &mut Context<'_>) {
        self.saw(ws, What::Wake);
    }
}

/// What a recorder saw, in order.
pub struct Log {
    pub events: Receiver<Event>,
}

impl Log {
    /// The next call, waited for.
    pub fn next(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("the handler is called")
    }

    /// The next call, which must be the opening of a connection.
    pub fn opened(&self) -> ConnId {
        match self.next() {
            Event { id, what: What::Open(_) } => id,
            event => panic!("{event:?} in place of an opening"),
        }
    }

    /// The next call, which must be this one.
    pub fn expect(&self, id: ConnId, what: What) {
        assert_eq!(self.next(), Event { id, what });
    }

    /// The next call, which must be the end of this connection: its code and reason.
    pub fn closed(&self, id: ConnId) -> (u16, String) {
        match self.next() {
            Event { id: ended, what: What::Close(code, reason) } if ended == id => (code, reason),
            event => panic!("{event:?} in place of the end of {id:?}"),
        }
    }

    /// All calls until the handler was dropped, which is when the server was.
    pub fn rest(&self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) => events.push(event),
                Err(RecvTimeoutError::Disconnected) => return events,
                Err(RecvTimeoutError::Timeout) => panic!("the handler is still there"),
            }
        }
    }
}

/// Sends on every text until the backlog is full, or until more waits than any kernel takes for a
/// client that does not read.
pub fn flood(ws: &mut Context<'_>, what: &What) {
    if let What::Text(_) = what {
        let piece = "x".repeat(1 << 20);
        while ws.buffered_amount() < 24 << 20 && ws.send(&piece) != SendStatus::Dropped {}
    }
}
