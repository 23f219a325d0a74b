//! A bridge: one source for all who are on a path.

use std::time::Duration;

use log::{info, warn};

use crate::{
    Answer, Context, Handler, Message, Request, Response, SendStatus, Source, SourceEnd, SourceId,
    code,
};

/// After the first failure the source is opened again when this has passed, and each time later twice
/// as long,
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// but no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const AWAY: &str = "what is bridged to this path is away; it is tried again\n";

/// Opens one source, when the route is added. What any client says goes to it, and what comes of it to
/// all of them: text for each of its lines, or binary messages for its bytes.
///
/// When it ends, it is opened again after 100 ms, and after twice as long each time that nothing came
/// of it, up to 5 s. Meanwhile nobody is left to think that he is connected: clients are closed with
/// 1013 and the reason, and new ones are answered 503 with `Retry-After`.
///
/// A source that does not keep up, or reads nothing at all, slows nobody down: what it has no room for is dropped, and the log
/// says how many messages that were. A client who does not keep up has a backlog like any other.
///
/// ```no_run
/// use wsloop::handlers::Shared;
/// use wsloop::{Server, Source};
///
/// fn main() -> std::io::Result<()> {
///     let mut server = Server::bind("127.0.0.1:8080")?;
///     server.route("/meter", Shared::new(Source::device("/dev/ttyUSB0")));
///     server.run()
/// }
/// ```
#[derive(Debug)]
pub struct Shared {
    source: Source,
    open: Option<SourceId>,
    pause: Duration,
    dropped: u64,
}

impl Shared {
    /// With this source for all.
    pub fn new(source: Source) -> Shared {
        Shared { source: source.never_stalls(), open: None, pause: FIRST_PAUSE, dropped: 0 }
    }

    fn open(&mut self, ws: &mut Context<'_>) {
        match ws.open(&self.source) {
            Ok(source) => self.open = Some(source),
            Err(error) => self.is_away(ws, SourceEnd::Unreachable(&error.to_string())),
        }
    }

    /// Nobody is connected to it any more; it is tried again.
    fn is_away(&mut self, ws: &mut Context<'_>, end: SourceEnd<'_>) {
        info!("{}: {end}; it is tried again in {:?}", self.source, self.pause);
        for conn in ws.members().to_vec() {
            ws.to(conn).close(code::TRY_AGAIN_LATER, &end.to_string());
        }
        ws.of_route().set_timer(self.pause, 0);
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

impl Handler for Shared {
    fn on_start(&mut self, ws: &mut Context<'_>) {
        self.open(ws);
    }

    fn on_timer(&mut self, ws: &mut Context<'_>, _: u64) {
        self.open(ws);
    }

    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Answer {
        if self.open.is_none() {
            return Answer::Respond(Response::text(503, AWAY).header("Retry-After", "1"));
        }
        super::binary_if_offered(request)
    }

    fn on_open(&mut self, ws: &mut Context<'_>, _: &Request<'_>) {
        super::carries(ws, &self.source);
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        let Some(source) = self.open else { return };
        if ws.tell(source, message) == SendStatus::Dropped {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    fn on_publish(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        self.on_message(ws, message);
    }

    fn on_source_drain(&mut self, _: &mut Context<'_>, _: SourceId) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            warn!("{} did not keep up: {dropped} messages were dropped", self.source);
        }
    }

    fn on_line(&mut self, ws: &mut Context<'_>, _: SourceId, line: &str) -> Result<(), String> {
        self.pause = FIRST_PAUSE;
        ws.broadcast(line);
        Ok(())
    }

    fn on_bytes(&mut self, ws: &mut Context<'_>, _: SourceId, bytes: &[u8]) {
        self.pause = FIRST_PAUSE;
        ws.broadcast(bytes);
    }

    fn on_source_end(&mut self, ws: &mut Context<'_>, source: SourceId, end: SourceEnd<'_>) {
        // Others may feed this path.
        if self.open != Some(source) {
            return;
        }
        self.open = None;
        self.on_source_drain(ws, source);
        if end != SourceEnd::Stopped {
            self.is_away(ws, end);
        }
    }
}
