//! A handler that writes down what comes of sources, and what is done with them.

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::serving::listening;
use crate::turning::turn_until;
use wsloop::{Config, Context, Handler, Message, SendStatus, Server, Source, SourceEnd, SourceId};

/// What a handler was called for.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Line(String),
    Bytes(Vec<u8>),
    Drain,
    End(String),
}

/// Writes down what it is called for, and does `deed` for each line.
pub struct Recorder<D> {
    log: Sender<Said>,
    deed: D,
}

impl<D: FnMut(&mut Context<'_>, SourceId, &str)> Handler for Recorder<D> {
    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}

    fn on_line(&mut self, ws: &mut Context<'_>, id: SourceId, line: &str) -> Result<(), String> {
        let _ = self.log.send(Said::Line(line.to_string()));
        (self.deed)(ws, id, line);
        if line.starts_with("bad") { Err("it says so".to_string()) } else { Ok(()) }
    }

    fn on_bytes(&mut self, _: &mut Context<'_>, _: SourceId, bytes: &[u8]) {
        let _ = self.log.send(Said::Bytes(bytes.to_vec()));
    }

    fn on_source_drain(&mut self, _: &mut Context<'_>, _: SourceId) {
        let _ = self.log.send(Said::Drain);
    }

    fn on_source_end(&mut self, _: &mut Context<'_>, _: SourceId, end: SourceEnd<'_>) {
        let _ = self.log.send(Said::End(end.to_string()));
    }
}

pub fn server_doing(
    config: Config,
    deed: impl FnMut(&mut Context<'_>, SourceId, &str) + Send + 'static,
) -> (Server, Receiver<Said>) {
    let (log, said) = channel();
    let mut server = listening(config);
    server.route("/", Recorder { log, deed });
    (server, said)
}

pub fn server(config: Config) -> (Server, Receiver<Said>) {
    server_doing(config, |_, _, _| {})
}

pub fn open(server: &mut Server, source: &Source) -> SourceId {
    server.context("/").unwrap().open(source).unwrap()
}

pub fn tell<'m>(server: &mut Server, id: SourceId, message: impl Into<Message<'m>>) -> SendStatus {
    server.context("/").unwrap().tell(id, message)
}

/// What its handler is called for next.
pub fn next(server: &mut Server, said: &Receiver<Said>) -> Said {
    turn_until(server, "a call", |_| said.try_recv().ok())
}

/// All that comes in bytes, and then how it ends.
pub fn rest(server: &mut Server, said: &Receiver<Said>) -> (Vec<u8>, String) {
    let mut all = Vec::new();
    loop {
        match next(server, said) {
            Said::Bytes(bytes) => all.extend(bytes),
            Said::End(end) => return (all, end),
            Said::Drain => {}
            Said::Line(line) => panic!("{line}"),
        }
    }
}
