//! What must hold, whatever happens: judged by what a peer has said and taken and when, and never by
//! what the server believes of it.

use super::client::{Client, Meaning, Spoken};
use super::handler::{Book, Books};
use super::kernel::Seen;
use super::memory::no_memory;
use super::schedule::Kind;
use super::world::World;
use crate::config::{Config, OnFull};
use crate::peers::connection::ReadyState;
use crate::peers::inbox::Inbox;
use crate::peers::time::Millis;

/// A rule that was broken, in words.
pub type Outcome = Result<(), String>;

/// The periods of a [`Config`] in milliseconds.
struct Periods {
    handshake: Millis,
    ping: Option<Millis>,
    pong: Millis,
    idle: Option<Millis>,
    message: Option<Millis>,
    close: Millis,
    stall: Millis,
}

impl Periods {
    fn of(config: &Config) -> Periods {
        let millis = |time: std::time::Duration| time.as_millis() as Millis;
        let pong = millis(config.pong_timeout);
        let idle = config.idle_timeout.map(millis);
        let ping = config.ping_interval.map(millis);
        let silence = ping.unwrap_or(pong) + pong;
        Periods {
            handshake: millis(config.handshake_timeout),
            ping,
            pong,
            idle,
            message: config.message_timeout.map(millis),
            close: millis(config.close_timeout),
            stall: idle.unwrap_or(silence).min(silence),
        }
    }
}

/// When what happened between one peer and the server.
#[derive(Default)]
pub struct Watch {
    connected: Millis,
    /// When the last bytes of the peer came to the server's kernel.
    sent: Millis,
    /// When the peer last took any.
    taken: Millis,
    pub resumed: Millis,
    /// When the server last read, wrote, and wrote after it had found no room.
    read: Millis,
    written: Millis,
    progress: Millis,
    /// Where a message begins of which a part has come, and when the first of it did.
    unfinished: Option<(u64, Millis)>,
    /// Since when the peer's kernel has no room, as a turn has found.
    blocked: Option<Millis>,
    turns: u64,
    /// Since when the kernel has not taken all that was written for the peer.
    waits: Option<Millis>,
    /// When the end of the peer's stream was read.
    end: Option<Millis>,
    /// When it began to close, so much was queued that more may not have fitted.
    full: bool,
    /// Its message was late by then.
    late: bool,
    /// When the server's end was written.
    pub shut: Option<Millis>,
    /// How many bytes were written by when.
    writes: Vec<(u64, Millis)>,
    seen: Seen,
    /// Where the connection stands, and since when.
    stage: Option<ReadyState>,
    staged: Millis,
    /// The server was not going to open this connection any more, and how much had come until then.
    refused: Option<u64>,
    /// What was said, up to here, was heard, and answered by pongs.
    heard: usize,
    ponged: usize,
    /// Something came, or room did, just after the server had looked, in this very step.
    missed: bool,
    /// How it ended was looked at.
    judged: bool,
    /// It is known that it ends, and that it does for want of memory.
    pub ending: bool,
    pub starved: bool,
}

impl Watch {
    pub fn new(now: Millis) -> Watch {
        Watch { connected: now, sent: now, taken: now, resumed: now, ..Watch::default() }
    }

    /// The peer says what it has to say, up to so many bytes. True if that was anything.
    pub fn send(&mut self, client: &mut Client, most: usize, now: Millis) -> bool {
        let sent = client.send(most);
        self.sent = if sent { now } else { self.sent };
        sent
    }

    /// The peer takes up to so many bytes. True if there were any.
    pub fn take(&mut self, client: &mut Client, most: usize, now: Millis) -> Result<bool, String> {
        let taken = client.take(most)?;
        self.taken = if taken { now } else { self.taken };
        Ok(taken)
    }

    /// Notes what has changed in this turn.
    pub fn observe(&mut self, world: &World, client: &Client) {
        let now = world.now();
        let kernel = client.peer.socket.borrow();
        if kernel.seen.read > self.seen.read {
            self.read = now;
        }
        if kernel.seen.written > self.seen.written {
            self.written = now;
            self.writes.push((kernel.seen.written, now));
        }
        if kernel.seen.progress > self.seen.progress && self.blocked.is_some() {
            self.progress = now;
        }
        if kernel.seen.end && self.end.is_none() {
            self.end = Some(now);
        }
        if kernel.server_has_ended() && self.shut.is_none() {
            self.shut = Some(now);
        }
        let turned = std::mem::replace(&mut self.turns, world.turns) != world.turns;
        let blocked = kernel.is_blocked() && (turned || self.blocked.is_some());
        self.blocked = blocked.then(|| self.blocked.unwrap_or(now));
        self.waits = kernel.owes_room().then(|| self.waits.unwrap_or(now));
        self.missed = kernel.seen.missed > self.seen.missed;
        self.seen = kernel.seen;
        let part = |spoken: &&Spoken| spoken.begin < client.sent && client.sent < spoken.end;
        let begin = client.spoken.iter().find(part).map(|spoken| spoken.begin);
        let same = self.unfinished.filter(|(known, _)| Some(*known) == begin);
        self.unfinished = same.or(begin.map(|begin| (begin, now)));
    }

    fn enter(&mut self, stage: Option<ReadyState>, now: Millis) {
        if self.stage != stage {
            (self.stage, self.staged) = (stage, now);
        }
    }

    /// When so many bytes had been written.
    fn when_written(&self, bytes: u64) -> Option<Millis> {
        self.writes.iter().find(|(count, _)| *count >= bytes).map(|(_, at)| *at)
    }
}

/// One peer, seen from all sides.
pub struct Case<'a> {
    pub world: &'a World,
    pub client: &'a mut Client,
    pub watch: &'a mut Watch,
    pub books: &'a mut Books,
    /// The server was told to stop.
    pub stopped: bool,
}

impl Case<'_> {
    fn name(&self) -> String {
        format!("#{}", self.client.peer.id.serial())
    }

    pub fn book(&mut self) -> &mut Book {
        self.books.of.entry(self.client.peer.id.serial()).or_default()
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Outcome {
        let (name, now) = (self.name(), self.world.now());
        Err(format!("{name} at {now} ms: {what}"))
    }

    fn periods(&self) -> Periods {
        Periods::of(&self.world.dispatcher.peers.config)
    }

    fn now(&self) -> Millis {
        self.world.now()
    }

    /// Checks what can be checked at any time.
    pub fn check(&mut self) -> Outcome {
        self.watch.observe(self.world, self.client);
        if let Some(wrong) = self.books.wrong.take() {
            return Err(wrong);
        }
        self.check_heard()?;
        self.check_got()?;
        let conn = self.world.dispatcher.peers.get(self.client.peer.id);
        let stage = conn.map(|conn| conn.ready_state());
        let begins = stage == Some(ReadyState::Connecting) && !conn.is_some_and(|c| c.is_ending());
        if self.watch.stage != stage && !self.is_closing() {
            self.watch.full = self.backlog_was_full();
            // What a read missed has come just behind it, and may be too late.
            self.watch.late = self.message_is_late() || self.watch.missed;
        }
        if !self.watch.judged {
            let book = self.book();
            let (opened, closed) = (book.opened, book.closed.clone());
            match closed {
                Some((code, reason)) => {
                    self.watch.judged = true;
                    self.judge(code, &reason)?;
                }
                None if opened && stage.is_none() => return self.wrong("gone without on_close"),
                None if opened => {}
                None if !begins => {
                    self.watch.judged = true;
                    self.watch.refused = Some(self.client.sent).filter(|_| !self.watch.missed);
                    self.judge_refusal(stage.is_none())?;
                }
                None => {}
            }
        }
        if stage.is_none() && self.watch.stage.is_some() {
            self.judge_removal()?;
        }
        self.watch.enter(stage, self.now());
        Ok(())
    }

    /// The connection was removed: what it was still to take was given its time, and so was the peer to
    /// end it after the server had.
    fn judge_removal(&mut self) -> Outcome {
        let (now, periods) = (self.now(), self.periods());
        let excused = self.watch.seen.error || self.watch.missed || self.client.reset;
        // There was no memory for the rest of a message, behind which nothing can be written.
        let cut_within = self.book().closed == Some((1006, no_memory().to_string()));
        let excused = excused || cut_within;
        if excused || self.book().terminated || self.client.manners.kind == Kind::Source {
            return Ok(());
        }
        let idle = self.is_idle() && !self.is_closing();
        // What is cut may be a part of TLS's handshake.
        let secret = self.client.is_secret() && !self.book().opened;
        let late = self.takes_nothing()
            || self.takes_too_little()
            || self.closing_is_late()
            || idle
            || (secret && (self.stopped || self.handshake_is_late()));
        if self.watch.blocked.is_some() && !late {
            return self.wrong("cut short, though it was not late");
        }
        // Of Hixie's clients an end is the answer to a close, and so the period began before.
        let lingers = self.watch.shut.filter(|_| !self.client.is_hixie() && !self.client.ended);
        if lingers.is_some_and(|shut| now < shut + periods.close) {
            return self.wrong("its socket goes before it could end it");
        }
        Ok(())
    }

    /// What the handler heard is what was said, in order and whole.
    fn check_heard(&mut self) -> Outcome {
        for (text, bytes) in std::mem::take(&mut self.book().heard) {
            let rest = self.client.spoken.iter().enumerate().skip(self.watch.heard);
            let mut said = rest.filter(|(_, spoken)| {
                matches!(
                    spoken.meaning,
                    Meaning::Message(_) | Meaning::Line(..) | Meaning::Close(_)
                )
            });
            let Some((place, spoken)) = said.next() else {
                return self.wrong("the handler hears what nobody said");
            };
            // The last line of a source need not have an end.
            let cut = matches!(spoken.meaning, Meaning::Line(..)) && self.client.ended;
            let same = match &spoken.meaning {
                Meaning::Line(line, _) if cut => line.starts_with(&bytes),
                Meaning::Message(said) => *said == (text, bytes),
                Meaning::Line(line, _) => *line == bytes,
                _ => false,
            };
            if !same || (spoken.end > self.client.sent && !cut) {
                return self.wrong(format!("the handler hears something else than {place}"));
            }
            self.watch.heard = place + 1;
        }
        Ok(())
    }

    /// What the peer got is what was queued for it, in order and whole.
    fn check_got(&mut self) -> Outcome {
        for message in std::mem::take(&mut self.client.ears.messages) {
            loop {
                match self.book().queued.pop_front() {
                    None => return self.wrong("a message that nobody sent, or out of order"),
                    Some(queued) if queued.message == message => break,
                    Some(queued) if queued.sure => {
                        let len = queued.message.1.len();
                        return self.wrong(format!("a message of {len} bytes is missing"));
                    }
                    Some(_) => {}
                }
            }
        }
        while let Some(pong) = self.client.ears.pongs.pop_front() {
            let said = self.client.spoken.iter().enumerate().skip(self.watch.ponged);
            let mut pings = said.filter_map(|(place, spoken)| match &spoken.meaning {
                Meaning::Ping(ping) => Some((place, spoken.end, ping)),
                _ => None,
            });
            let found = match self.world.dispatcher.peers.config.on_full {
                OnFull::Close => pings.next().filter(|(.., ping)| **ping == pong),
                OnFull::Drop => pings.find(|(.., ping)| **ping == pong),
            };
            match found {
                Some((place, end, _)) if end <= self.client.sent => self.watch.ponged = place + 1,
                _ => return self.wrong("a pong to no ping"),
            }
        }
        let pages = self.client.spoken.iter().filter_map(|spoken| match spoken.meaning {
            Meaning::Page(page) if spoken.end <= self.client.sent => Some(page),
            _ => None,
        });
        let got = self.client.ears.pages.iter().copied();
        if !pages.clone().take(got.len()).eq(got) {
            return self.wrong("pages that were not asked for");
        }
        if self.client.ears.refused == Some(408)
            && let Some(sent) = self.watch.refused
        {
            let asked = self.client.spoken.iter().filter(|spoken| {
                matches!(spoken.meaning, Meaning::Page(_) | Meaning::Upgrade) && spoken.end <= sent
            });
            if asked.count() > self.client.ears.pages.len() {
                return self.wrong("408, though the request was there");
            }
        }
        Ok(())
    }

    /// The peer did something that ends a connection: what was written about it need not be in time.
    fn is_to_blame(&self) -> bool {
        let client = &self.client;
        let broken = client.broken
            && client.spoken.iter().any(|spoken| {
                matches!(spoken.meaning, Meaning::Broken) && spoken.begin < client.sent
            });
        client.ended || client.reset || self.watch.seen.error || broken || self.watch.missed
    }

    fn handshake_is_late(&self) -> bool {
        let now = self.now();
        // A page begins the period anew. What was written just now is the refusal; and of TLS nobody
        // can tell what it is.
        let answers = !self.client.is_secret()
            && self.client.spoken.iter().any(|spoken| matches!(spoken.meaning, Meaning::Page(_)));
        let writes = self.watch.writes.iter().map(|(_, at)| *at);
        let before = writes.filter(|at| answers && *at < now);
        now >= before.fold(self.watch.connected, Millis::max) + self.periods().handshake
    }

    /// Whether it was silent for so long that it may be cut.
    fn is_idle(&self) -> bool {
        let watch = &self.watch;
        let alive = watch.sent.max(watch.progress).max(watch.resumed);
        self.periods().idle.is_some_and(|idle| self.now() >= alive + idle)
    }

    /// Whether it took less of a response in a minute than it has to.
    fn takes_too_little(&self) -> bool {
        let Some(begin) = self.now().checked_sub(60_000) else { return false };
        let before = self.watch.writes.iter().rev().find(|(_, at)| *at <= begin);
        let before = before.map_or(0, |(count, _)| *count);
        let waits = self.watch.waits.is_some_and(|since| since <= begin);
        waits && self.watch.seen.written < before + 16 * 1024
    }

    /// Whether a message has come in part for so long. Where it begins in what is encrypted, nobody can
    /// tell.
    fn message_is_late(&self) -> bool {
        let Some(most) = self.periods().message else { return false };
        let begun = match self.watch.unfinished {
            _ if self.client.is_secret() => Some(self.watch.connected),
            unfinished => unfinished.map(|(_, at)| at),
        };
        begun.is_some_and(|begun| self.now() >= begun + most)
    }

    fn takes_nothing(&self) -> bool {
        self.now() >= self.watch.taken + self.periods().stall && self.watch.blocked.is_some()
    }

    /// Whether a closing has lasted as long as it may.
    fn closing_is_late(&self) -> bool {
        let (now, close) = (self.now(), self.periods().close);
        let blocked = self.watch.blocked.is_some();
        let taken = if blocked { self.watch.taken } else { self.watch.progress };
        let begun = self.watch.staged;
        self.is_closing() && (now >= begun.max(taken) + close || now >= begun + 12 * close)
    }

    fn is_closing(&self) -> bool {
        matches!(self.watch.stage, Some(ReadyState::Closing | ReadyState::Closed))
    }

    /// A connection that never opened is refused, or gone.
    fn judge_refusal(&mut self, gone: bool) -> Outcome {
        let slow = self.takes_nothing() || self.takes_too_little();
        if self.is_to_blame() || self.stopped || slow || self.closing_is_late() {
            return Ok(());
        }
        if !self.handshake_is_late() {
            return self.wrong("refused or cut, though it was not late");
        }
        if gone {
            self.client.take(usize::MAX)?;
            self.client.ears.refused = Some(408);
            self.check_got()?;
        }
        Ok(())
    }

    /// `on_close` was called with this code and reason.
    fn judge(&mut self, code: u16, reason: &str) -> Outcome {
        let (now, periods) = (self.now(), self.periods());
        let excused = self.watch.seen.error || self.watch.missed;
        if self.book().terminated || excused || self.client.reset {
            return Ok(());
        }
        if !self.client.is_websocket() {
            return match self.client.ended || self.stopped {
                true => Ok(()),
                false => self.wrong("a source is cut"),
            };
        }
        let justified = match (code, reason) {
            (1006, "no answer to a ping") => {
                // What is under way to it tells when it could have read the ping.
                self.client.take(usize::MAX)?;
                let asked = self.client.ears.asked_at.and_then(|at| self.watch.when_written(at));
                let since_asked = asked.is_some_and(|at| now >= at + periods.pong);
                let silence = periods.ping.unwrap_or(0) + periods.pong;
                since_asked && now >= self.watch.sent.max(self.watch.resumed) + silence
            }
            (1006, "idle") => self.is_idle(),
            (1006, "takes nothing") if !self.is_closing() => self.takes_nothing(),
            (
                1006,
                "takes nothing"
                | "takes too long to close"
                | "no answer to the close"
                | "not done in time",
            ) => self.closing_is_late(),
            (1006, "") => self.client.ended && self.heard_all_before_the_end(),
            (1008, "backlog full") => self.watch.full,
            (1008, "message not finished in time") => self.watch.late,
            (1011, reason) if reason == no_memory() => self.is_told()?,
            (1006, reason) if reason == no_memory() => self.client.peer.socket.borrow().owes_room(),
            // Ours went first, and a client of Hixie answers by its end.
            (1005, "") if self.client.is_hixie() && !self.has_closed(code) => {
                self.client.ended && (self.book().dismissed || self.stopped)
            }
            (1002 | 1007 | 1008 | 1009, _) if self.client.broken => self.is_to_blame(),
            _ => self.has_closed(code),
        };
        if justified {
            Ok(())
        } else {
            self.wrong(format!("closed for no reason: {code} {reason:?}"))
        }
    }

    /// Whether a close frame with this code came whole.
    fn has_closed(&self, code: u16) -> bool {
        let sent = self.client.sent;
        let mut said = self.client.spoken.iter().filter(|spoken| spoken.end <= sent);
        said.any(|spoken| matches!(spoken.meaning, Meaning::Close(said) if said == code))
    }

    /// An end that was read ends what was said before it, and does not cut it.
    fn heard_all_before_the_end(&mut self) -> bool {
        self.book().dismissed || self.stopped || self.unheard().is_none()
    }

    /// The first message that came whole and was not heard.
    fn unheard(&self) -> Option<usize> {
        let sent = self.client.sent;
        let rest = self.client.spoken.iter().enumerate().skip(self.watch.heard);
        let mut whole = rest.filter(|(_, spoken)| {
            matches!(spoken.meaning, Meaning::Message(_) | Meaning::Line(..)) && spoken.end <= sent
        });
        whole.next().map(|(place, _)| place)
    }

    /// Whether so much was queued for the peer that more may not have fitted.
    fn backlog_was_full(&mut self) -> bool {
        const HEAD: usize = 14;
        const CONTROL: usize = 127;
        const HTTP_HEAD: usize = 1000;
        let max_backlog = self.world.dispatcher.peers.config.max_backlog;
        let pings = self.client.spoken.iter();
        let pings = pings.filter(|spoken| matches!(spoken.meaning, Meaning::Ping(_))).count();
        // A page that was asked for before the WebSocket may still wait.
        let pages = self.client.spoken.iter().map(|spoken| match spoken.meaning {
            Meaning::Page(len) => len.unwrap_or(0) + HTTP_HEAD,
            _ => 0,
        });
        let pages: usize = pages.sum();
        let book = self.book();
        let queued = book.queued.iter().map(|queued| queued.message.1.len() + HEAD);
        let control = (pings + book.pings + 3) * CONTROL;
        pages + queued.sum::<usize>() + book.refused + HEAD + control > max_backlog
    }

    /// Checks what must hold once nothing is left to do until something comes or falls due.
    pub fn check_quiet(&mut self) -> Outcome {
        self.check_deadlines()?;
        let id = self.client.peer.id;
        let Some(conn) = self.world.dispatcher.peers.get(id) else { return Ok(()) };
        let book = self.book();
        let (paused, opened, closed) = (book.paused, book.opened, book.closed.is_some());
        let paused = paused && conn.is_open();
        if opened && conn.is_paused() != paused {
            return self.wrong(format!("paused: {}, and should be: {paused}", conn.is_paused()));
        }
        let kernel = self.client.peer.socket.borrow();
        // A goodbye goes behind the handshake of TLS, if that is done in time.
        let shakes_hands = conn.stream.is_handshaking();
        if conn.queued() > 0 && !kernel.is_blocked() && !shakes_hands {
            return self.wrong(format!("{} bytes wait for nothing", conn.queued()));
        }
        // What lies behind a request is looked at once its answer is written, and so is what lies
        // behind the end.
        let first_writes = conn.ready_state() == ReadyState::Connecting || conn.is_ending();
        let answering = first_writes && conn.queued() > 0;
        if conn.has_to_wait() || answering {
            return Ok(());
        }
        let unread = (kernel.unread(), conn.unread());
        if unread != (0, 0) {
            return self.wrong(format!("{unread:?} bytes lie unread"));
        }
        if self.client.ended && !kernel.seen.end && !kernel.seen.error {
            return self.wrong("the end lies unread");
        }
        if self.client.reset && !kernel.seen.error {
            return self.wrong("the reset is not seen");
        }
        drop(kernel);
        if let Some(is) = self.world.dispatcher.peers.miscounted(self.client.peer.id) {
            return self.wrong(format!("bytes held and KiB counted: {is:?}"));
        }
        self.check_held()?;
        let sent = self.client.sent;
        let mut spoken = self.client.spoken.iter();
        let asked =
            spoken.any(|spoken| matches!(spoken.meaning, Meaning::Upgrade) && spoken.end <= sent);
        let connecting = conn.ready_state() == ReadyState::Connecting;
        if asked && !opened && connecting && !conn.is_ending() && !self.stopped {
            return self.wrong("asked for a WebSocket, and got none");
        }
        if opened && !closed && conn.is_open() && self.unheard().is_some() {
            return self.wrong("a message came whole and was not heard");
        }
        Ok(())
    }

    /// What is kept of what came is no more than its part of a message, and nothing between two.
    fn check_held(&self) -> Outcome {
        let Some(conn) = self.world.dispatcher.peers.get(self.client.peer.id) else {
            return Ok(());
        };
        let sent = self.client.sent;
        let held = match &conn.inbox {
            Inbox::Frames(decoder) => decoder.held(),
            Inbox::Head(kept) => kept.capacity(),
            Inbox::Challenge(_) | Inbox::Lines(_) | Inbox::Bytes | Inbox::Discard => return Ok(()),
            Inbox::Post(_) => return self.wrong("nothing may be posted here"),
            Inbox::Lent => return self.wrong("its decoder is lent"),
        };
        let mut begun = self.client.spoken.iter().filter(|spoken| spoken.end > sent);
        let (between, size) = match begun.next() {
            None => (true, 0),
            Some(_) if self.client.is_secret() => return Ok(()),
            Some(spoken) => {
                let size = match &spoken.meaning {
                    Meaning::Message((_, bytes)) => bytes.len(),
                    _ => 0,
                };
                (spoken.begin >= sent, size)
            }
        };
        // A context for what is compressed takes 47 KB, and a spare buffer is a megabyte at most.
        let most = if between { 0 } else { 2 * size + (1024 + 64 + 48) * 1024 };
        if held > most { self.wrong(format!("{held} bytes are held, not {most}")) } else { Ok(()) }
    }

    /// Nobody is kept for longer than is stated.
    fn check_deadlines(&mut self) -> Outcome {
        let (now, periods) = (self.now(), self.periods());
        let id = self.client.peer.id;
        let Some(conn) = self.world.dispatcher.peers.get(id) else { return Ok(()) };
        let opened = self.book().opened;
        let watch = &self.watch;
        let heard = watch.read.max(watch.written).max(watch.resumed).max(watch.staged);
        let due = match conn.ready_state() {
            _ if !self.client.is_websocket() && opened => return Ok(()),
            ReadyState::Connecting if conn.is_ending() || conn.queued() > 0 => return Ok(()),
            ReadyState::Connecting => (
                watch.connected.max(watch.written).max(watch.read) + periods.handshake,
                "handshake",
            ),
            ReadyState::Open => {
                let blocked = watch.blocked.map(|at| at.max(watch.written));
                let stall = blocked.map(|at| (at + periods.stall, "stall"));
                // What TLS has decrypted may be read later than it came.
                let exact = !conn.is_paused() && !self.client.is_secret();
                let idle = periods.idle.filter(|_| exact);
                let idle = idle.map(|idle| (heard + idle, "idle"));
                match stall.into_iter().chain(idle).min() {
                    Some(due) => due,
                    None => return Ok(()),
                }
            }
            ReadyState::Closing | ReadyState::Closed => {
                (watch.staged.max(watch.end.unwrap_or(0)) + 12 * periods.close, "close")
            }
        };
        if now >= due.0 { self.wrong(format!("kept beyond {due:?}")) } else { Ok(()) }
    }

    /// Checks what must hold once all who are alive have said and taken all they had.
    pub fn check_settled(&mut self) -> Outcome {
        let id = self.client.peer.id;
        let conn = self.world.dispatcher.peers.get(id);
        let stays = conn.is_some_and(|conn| match conn.ready_state() {
            ReadyState::Connecting => !conn.is_ending(),
            state => state == ReadyState::Open,
        });
        if !stays || self.client.manners.deaf || self.client.ended || self.client.reset {
            return Ok(());
        }
        if self.client.peer.socket.borrow().under_way() > 0 {
            return self.wrong("bytes are under way to nobody");
        }
        if self.book().queued.iter().any(|queued| queued.sure) {
            return self.wrong("a message has not come");
        }
        let sent = self.client.sent;
        let whole = self.client.spoken.iter().filter(|spoken| spoken.end <= sent);
        let pages = whole.clone().filter(|spoken| matches!(spoken.meaning, Meaning::Page(_)));
        if pages.count() != self.client.ears.pages.len() {
            return self.wrong("a page has not come");
        }
        let bad = whole.clone().filter(|spoken| matches!(spoken.meaning, Meaning::Line(_, true)));
        if bad.count() < self.client.ears.lines {
            return self.wrong("an answer to a line that was right");
        }
        let on_full = self.world.dispatcher.peers.config.on_full;
        let unanswered = whole.skip(self.watch.ponged);
        let mut pings = unanswered.filter(|spoken| matches!(spoken.meaning, Meaning::Ping(_)));
        if on_full == OnFull::Close && pings.next().is_some() {
            return self.wrong("a pong has not come");
        }
        Ok(())
    }
}
