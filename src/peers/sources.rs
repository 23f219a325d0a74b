//! Sources: streams that came by a feed, or that a handler opened. What comes of them is lines or
//! bytes, and what they are told goes to them; they are in no room, and speak no protocol.
//!
//! One that is opened is blocked until the kernel announces that it is connected: so what it is told
//! meanwhile waits, like what a slow reader is sent.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::connection::{Connection, Exit, Reach, ReadyState, Role};
use super::inbox::Inbox;
use super::time::Millis;
use super::{Peers, find};
use crate::ids::{ConnId, MAX_SLOTS, RouteId, SourceId};
use crate::net::stream::Stream;
use crate::proto::close::code;
use crate::proto::lines::Lines;
use crate::source::{Cut, Source, SourceEnd};

/// Of its four descriptors, those that a program has beside the one that each connection has: two ends
/// of one pipe, one of the other, and what announces its end.
const MORE_OF_PROGRAM: usize = 3;
/// Why a source ends that takes nothing.
pub(super) const TAKES_NOTHING: &str = "takes nothing";

impl Connection {
    pub(crate) fn is_source(&self) -> bool {
        matches!(self.role, Role::Source { .. })
    }

    /// Whether it is a source that the kernel has not connected yet.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.role, Role::Source { reach: Reach::Opening, .. })
    }

    /// Whether it is a source, and what comes of it is handed over.
    pub(crate) fn is_heard(&self) -> bool {
        self.is_source() && !self.is_ending()
    }

    /// Whether what is wrong with its lines is told to itself, and not to the log.
    pub(crate) fn is_told_of_lines(&self) -> bool {
        let came = matches!(self.role, Role::Source { reach: Reach::Came, .. });
        came && self.stream.takes_answers()
    }

    /// The kernel has connected it, if it was still to be.
    pub(super) fn reached(&mut self, now: Millis) {
        if let Role::Source { reach: reach @ Reach::Opening, .. } = &mut self.role {
            *reach = Reach::Opened;
            (self.since, self.written) = (now, now);
            let ends = self.has_last_words();
            self.ready_state = if ends { ReadyState::Closing } else { ReadyState::Open };
        }
    }
}

impl Peers {
    /// Admits a source of lines for a route, which came by a feed, in the same way as a client.
    pub(crate) fn admit_source(
        &mut self,
        stream: Stream,
        addr: Option<SocketAddr>,
        route: RouteId,
    ) -> ConnId {
        let id = self.admit(stream, addr);
        if let Some(conn) = self.get_mut(id) {
            conn.role = Role::Source { reach: Reach::Came, cut: Cut::Lines };
            conn.writing.never_stalls = true;
            conn.route = route;
            conn.ready_state = ReadyState::Open;
            conn.inbox = Inbox::Lines(Box::<Lines>::default());
            // A file is never announced, nor is its end. A socket or a pipe is read until it is empty,
            // which costs one try more than it must.
            conn.reading.announced(true);
        }
        self.read_next_turn(id);
        id
    }

    /// Whether one more source of this kind may be opened.
    pub(crate) fn has_room_for(&self, source: &Source) -> bool {
        !source.is_program() || self.programs < self.config.max_programs
    }

    /// How many descriptors are taken: one by each connection, one by each file under way, and more by
    /// programs.
    pub(crate) fn descriptors(&self) -> usize {
        let of_programs = self.programs.saturating_mul(MORE_OF_PROGRAM);
        self.len().saturating_add(self.files()).saturating_add(of_programs)
    }

    /// Begins to connect to a source. It is put into the poll when the next turn begins.
    pub(crate) fn open_source(&mut self, source: &Source, route: RouteId) -> io::Result<SourceId> {
        if self.stopping {
            return Err(io::Error::new(ErrorKind::NotConnected, "the server stops"));
        }
        if self.len() >= MAX_SLOTS {
            return Err(io::Error::other("there are as many connections as there can be"));
        }
        if !self.has_room_for(source) {
            let why = format!("{} programs run, and no more may", self.programs);
            return Err(io::Error::other(why));
        }
        let stream = Stream::open(&source.target)?;
        if source.is_program() {
            self.programs = self.programs.saturating_add(1);
        }
        let (id, now) = (self.insert(stream, None), self.clock.now());
        if let Some(conn) = self.get_mut(id) {
            conn.role = Role::Source { reach: Reach::Opening, cut: source.cut };
            conn.writing.never_stalls = source.never_stalls;
            conn.route = route;
            conn.inbox = match source.cut {
                Cut::Lines => Inbox::Lines(Box::new(Lines::of_a_known_source())),
                Cut::Bytes => Inbox::Bytes,
            };
            // A device is there at once.
            match conn.stream.ends_in_answer() {
                true => conn.writing.blocked = true,
                false => conn.reached(now),
            }
        }
        self.arm(id);
        self.opened.push_back(id);
        Ok(SourceId(id))
    }

    /// The next source that was opened and is to be put into the poll; it may have gone again.
    pub(crate) fn next_opened(&mut self) -> Option<ConnId> {
        self.opened.pop_front()
    }

    /// It is in the poll. A program runs now, and some sockets are connected at once.
    pub(crate) fn is_watched(&mut self, id: ConnId) {
        let now = self.clock.now();
        let Some(conn) = self.get_mut(id) else { return };
        if conn.is_opening() && conn.stream.is_connected() {
            conn.reached(now);
            self.write_this_turn(id);
        }
    }

    /// It cannot be put into the poll.
    pub(crate) fn cannot_be_watched(&mut self, id: ConnId, error: &io::Error) {
        self.drop_now(id, code::ABNORMAL, &error.to_string());
    }

    /// A source whose end was not reported yet.
    pub(crate) fn source(&self, source: SourceId) -> Option<&Connection> {
        self.get(source.0).filter(|conn| conn.is_source())
    }

    /// Bytes that wait for a source to take them.
    pub(crate) fn untold(&self, source: SourceId) -> usize {
        self.source(source).map_or(0, Connection::queued)
    }

    /// Ends what a source is told, behind what is queued; what still comes of it is handed over until
    /// it ends too, or is silent for the close timeout.
    pub(crate) fn end_source(&mut self, source: SourceId) {
        let (id, now) = (source.0, self.clock.now());
        let Some(conn) = find(&mut self.conns, id) else { return };
        if !conn.is_source() || conn.has_last_words() {
            return;
        }
        self.changed = true;
        conn.exit = Exit::LastWords { linger: conn.stream.ends_in_answer() };
        if !conn.is_opening() {
            conn.ready_state = ReadyState::Closing;
            conn.since = now;
            conn.list_to_write(&mut self.to_write);
        }
        self.arm(id);
    }

    /// Nobody is there any more to be told anything: what a source had said before is still handed
    /// over. False if that has been done, or it is no source.
    pub(super) fn hear_out(&mut self, id: ConnId) -> bool {
        let to_be_heard = |conn: &&mut Connection| conn.is_heard() && !conn.reading.has_ended();
        let Some(conn) = find(&mut self.conns, id).filter(to_be_heard) else { return false };
        conn.writing.outbox.clear();
        self.end_source(SourceId(id));
        self.write_this_turn(id);
        true
    }

    /// Ends a source both ways: what it was told is written, and nothing that comes is looked at.
    pub(crate) fn close_source(&mut self, source: SourceId, code: u16, why: &str) {
        let Some(conn) = self.source(source) else { return };
        let linger = conn.stream.ends_in_answer();
        self.end_both_ways(source.0, code, why, linger);
    }

    /// The same for whichever reason; with `linger` its end is awaited.
    pub(super) fn end_both_ways(&mut self, id: ConnId, code: u16, why: &str, linger: bool) {
        let now = self.clock.now();
        if let Some(conn) = self.get_mut(id).filter(|conn| conn.is_open()) {
            conn.ready_state = ReadyState::Closing;
            conn.since = now;
        }
        self.end(id, code, why, linger);
        self.arm(id);
    }
}

/// Why a source has ended, by what was noted of it.
pub(crate) fn source_end<'a>(
    reach: Reach,
    code: u16,
    reason: &'a str,
    exit: Option<ExitStatus>,
) -> SourceEnd<'a> {
    match (code, reason) {
        (code::GOING_AWAY, _) => SourceEnd::Stopped,
        (_, "") => match exit.map(|exit| (exit.code(), exit.signal())) {
            Some((Some(code), _)) if code != 0 => SourceEnd::Exited(code),
            Some((_, Some(signal))) => SourceEnd::Killed(signal),
            _ => SourceEnd::Ended,
        },
        _ if reach == Reach::Opening => SourceEnd::Unreachable(reason),
        (_, TAKES_NOTHING) => SourceEnd::Stalled,
        (_, reason) => SourceEnd::Failed(reason),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::net::UnixListener;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::peers::sending::SendStatus;
    use crate::peers::time::Clock;
    use crate::proto::Message;

    struct Scene {
        peers: Peers,
        time: Rc<Cell<Duration>>,
        listener: UnixListener,
        source: SourceId,
    }

    /// One source, to which the kernel is connecting.
    fn scene() -> Scene {
        let time = Rc::new(Cell::new(Duration::ZERO));
        let mut peers = Peers::new(Config::default());
        peers.clock = Clock::given(Rc::clone(&time));
        let path = std::env::temp_dir().join(format!(
            "wsloop-source-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let listener = UnixListener::bind(&path).unwrap();
        let source = peers.open_source(&Source::unix(&path), 0).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(peers.next_opened(), Some(source.0));
        Scene { peers, time, listener, source }
    }

    impl Scene {
        /// The kernel announces that it is connected.
        fn is_reached(&mut self) {
            let readiness = crate::net::stream::Readiness {
                readable: false,
                read_closed: false,
                writable: true,
            };
            assert_eq!(self.peers.announced(self.source.0.token(), readiness), None);
            self.writes();
        }

        fn writes(&mut self) {
            self.peers.write_on_next_turn();
            while let Some(id) = self.peers.next_to_write() {
                self.peers.flush(id);
            }
        }

        fn pass_until(&mut self, millis: u64) {
            self.time.set(Duration::from_millis(millis));
            self.peers.clock.tick();
            while let Some(id) = self.peers.next_overdue() {
                self.peers.judge(id);
            }
        }

        /// How many have ended by this time.
        fn ended_by_any(&mut self, millis: u64) -> usize {
            self.pass_until(millis);
            self.peers.take_ended().len()
        }

        /// How it has ended, if it has by this time.
        fn ended_by(&mut self, millis: u64) -> Option<String> {
            self.pass_until(millis);
            let report = self.peers.take_ended().pop().map(|id| self.peers.take_report(id))??;
            let Role::Source { reach, .. } = report.role else { panic!("it is a source") };
            let ending = report.ending.unwrap();
            Some(source_end(reach, ending.code, &ending.reason, None).to_string())
        }
    }

    #[test]
    fn who_does_not_answer_is_unreachable_when_the_time_for_a_handshake_is_over() {
        let mut scene = scene();
        let time = Config::default().handshake_timeout.as_millis() as u64;
        // It is tried to write to it before it is reached, which means nothing.
        scene.writes();
        assert_eq!(scene.ended_by(time - 1), None);
        let end = "it cannot be reached: no answer in time";
        assert_eq!(scene.ended_by(time).as_deref(), Some(end));
    }

    #[test]
    fn one_that_goes_before_it_is_in_the_poll_keeps_no_other_from_it() {
        let mut peers = Peers::new(Config::default());
        let program = Source::program("true");
        let first = peers.open_source(&program, 0).unwrap();
        peers.drop_now(first.0, code::ABNORMAL, "short of memory");
        // Its handler tries again, while the turn comes to its end.
        let second = peers.open_source(&program, 0).unwrap();
        while let Some(id) = peers.next_to_write() {
            peers.flush(id);
        }
        peers.take_ended().into_iter().for_each(|id| peers.remove(id));
        peers.write_on_next_turn();
        assert!(peers.has_left_over(), "a turn has to follow that puts it into the poll");
        assert_eq!([peers.next_opened(), peers.next_opened()], [Some(first.0), Some(second.0)]);
        assert!(!peers.has_left_over());
    }

    #[test]
    fn one_that_is_reached_may_be_silent_for_ever() {
        let mut scene = scene();
        scene.is_reached();
        assert_eq!(scene.ended_by(u64::MAX / 4), None);
        assert_eq!(scene.peers.len(), 1);
    }

    #[test]
    fn one_that_takes_nothing_is_stalled_after_the_time_that_a_client_has() {
        let mut scene = scene();
        scene.is_reached();
        let (_peer, _) = scene.listener.accept().unwrap();
        // More than the kernel takes for it.
        let much = vec![b'x'; 2 << 20];
        let status = scene.peers.tell(scene.source, Message::Binary(&much));
        assert_eq!(status, SendStatus::Backpressure);
        scene.writes();
        // A ping's interval and the time for its answer, as for a client.
        assert_eq!(scene.ended_by(49_999), None);
        assert_eq!(scene.ended_by(50_000).as_deref(), Some("it takes nothing"));
    }

    #[test]
    fn one_that_is_ended_and_silent_is_cut_after_the_close_timeout() {
        let mut scene = scene();
        // Before it is reached too: its end follows what it is told.
        scene.peers.tell(scene.source, Message::Text("last words"));
        scene.peers.end_source(scene.source);
        let close = Config::default().close_timeout.as_millis() as u64;
        assert_eq!(scene.ended_by(close), None);
        scene.is_reached();
        let (mut peer, _) = scene.listener.accept().unwrap();
        let mut got = String::new();
        std::io::Read::read_to_string(&mut peer, &mut got).unwrap();
        assert_eq!(got, "last words");
        assert_eq!(scene.ended_by(2 * close - 1), None);
        assert_eq!(scene.ended_by(2 * close).as_deref(), Some("it failed: not done in time"));
    }

    #[test]
    fn one_that_is_ended_and_paused_is_cut_when_all_its_time_is_over_or_it_takes_nothing() {
        let close = Config::default().close_timeout.as_millis() as u64;
        for told in [1, 2 << 20] {
            let mut scene = scene();
            scene.is_reached();
            let (_peer, _) = scene.listener.accept().unwrap();
            scene.peers.pause(scene.source.0);
            scene.peers.tell(scene.source, Message::Binary(&vec![b'x'; told]));
            scene.peers.end_source(scene.source);
            scene.writes();
            if told == 1 {
                assert_eq!(scene.ended_by(12 * close - 1), None);
                let end = "it failed: takes too long to close";
                assert_eq!(scene.ended_by(12 * close).as_deref(), Some(end));
            } else {
                assert_eq!(scene.ended_by(close - 1), None);
                assert_eq!(scene.ended_by(close).as_deref(), Some("it takes nothing"));
            }
        }
    }

    #[test]
    fn a_stop_ends_those_that_are_told_no_more() {
        let mut scene = scene();
        scene.is_reached();
        let (_peer, _) = scene.listener.accept().unwrap();
        scene.peers.end_source(scene.source);
        scene.writes();
        scene.peers.stop();
        scene.writes();
        assert_eq!(scene.ended_by(0).as_deref(), Some("the server stops"));
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let fed = scene.peers.admit_source(Stream::from_fd(ours.into()).unwrap().0, None, 0);
        scene.peers.end_source(SourceId(fed));
        scene.writes();
        scene.peers.stop();
        assert_eq!(scene.ended_by(0).as_deref(), Some("the server stops"));
    }

    #[test]
    fn one_that_is_closed_before_it_is_reached_ends_once_it_is() {
        let mut scene = scene();
        scene.peers.close_source(scene.source, code::NORMAL, "");
        scene.writes();
        assert_eq!(scene.ended_by(0), None);
        scene.is_reached();
        assert_eq!(scene.ended_by(0).as_deref(), Some("it has ended"));
    }

    #[test]
    fn a_stop_does_not_wait_for_one_that_was_closed_before_it_is_reached() {
        let mut scene = scene();
        scene.peers.close_source(scene.source, code::NORMAL, "");
        scene.peers.stop();
        assert_eq!(scene.ended_by(0).as_deref(), Some("it has ended"));
    }

    #[test]
    fn much_that_it_is_told_before_it_is_reached_waits() {
        let mut scene = scene();
        scene.writes();
        let much = [b'x'; 20_000];
        let status = scene.peers.tell(scene.source, Message::Binary(&much));
        assert_eq!((status, scene.peers.untold(scene.source)), (SendStatus::Queued, much.len()));
    }

    #[test]
    fn who_is_no_source_or_cannot_be_told_is_left_alone() {
        let Scene { mut peers, source, .. } = scene();
        let stdin = Stream::plain(crate::net::stream::Socket::Stdin);
        let stdin = peers.admit_source(stdin, None, 0);
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let client = peers.admit(Stream::from_fd(ours.into()).unwrap().0, None);
        for id in [stdin, client, ConnId::NONE] {
            let status = peers.tell(SourceId(id), Message::Text("hello"));
            assert_eq!((status, peers.untold(SourceId(id))), (SendStatus::Dropped, 0));
        }
        for id in [client, ConnId::NONE] {
            peers.end_source(SourceId(id));
            peers.close_source(SourceId(id), code::NORMAL, "");
        }
        assert!(!peers.get(client).unwrap().has_last_words());
        // A second end says nothing more.
        peers.end_source(source);
        peers.end_source(source);
        assert!(peers.get(source.0).unwrap().has_last_words());
    }

    #[test]
    fn one_that_is_closed_is_told_what_waits_and_then_has_the_close_timeout_to_end() {
        let mut scene = scene();
        scene.peers.tell(scene.source, Message::Text("last words"));
        scene.peers.close_source(scene.source, code::NORMAL, "");
        assert_eq!(scene.peers.tell(scene.source, Message::Text("!")), SendStatus::Dropped);
        scene.is_reached();
        assert_eq!(scene.ended_by(0).as_deref(), Some("it has ended"));
        let (mut peer, _) = scene.listener.accept().unwrap();
        let mut got = String::new();
        std::io::Read::read_to_string(&mut peer, &mut got).unwrap();
        assert_eq!(got, "last words");
        let close = Config::default().close_timeout.as_millis() as u64;
        let is_gone = |scene: &Scene| scene.peers.get(scene.source.0).unwrap().is_gone();
        assert_eq!((scene.ended_by_any(close - 1), is_gone(&scene)), (0, false));
        assert_eq!((scene.ended_by_any(close), is_gone(&scene)), (1, true));
    }
}
