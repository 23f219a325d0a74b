//! Clients of plain HTTP on a route: who hears its messages as events, and whose message is awaited.

use super::Peers;
use super::connection::{Connection, Role};
use super::inbox::{Inbox, Post};
use crate::ids::{ConnId, RouteId};
use crate::proto::Framing;

impl Connection {
    /// Whether it hears the messages of its route by plain HTTP.
    pub(crate) fn is_listener(&self) -> bool {
        self.role == Role::Listener
    }
}

impl Peers {
    /// The head of a response without end is queued: the connection joins the room of a route, and
    /// hears as events what is said there. What it sends from now on is not looked at.
    pub(super) fn listen(&mut self, id: ConnId, route: RouteId) {
        if let Some(conn) = self.get_mut(id).filter(|conn| !conn.is_ending()) {
            conn.route = route;
            conn.framing = Framing::Events;
            conn.inbox = Inbox::Discard;
            self.enter(id, Role::Listener);
        }
    }

    /// The head of a message by POST has come, and its body is awaited.
    pub(crate) fn await_post(&mut self, id: ConnId, route: RouteId, post: Post) {
        let now = self.clock.now();
        if let Some(conn) = self.get_mut(id).filter(|conn| !conn.is_ending()) {
            conn.route = route;
            conn.since = now;
            conn.inbox = Inbox::Post(Box::new(post));
            self.arm(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{ErrorKind, Read};
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::http::response::Response;
    use crate::net::stream::Stream;
    use crate::peers::sending::SendStatus;
    use crate::peers::time::Clock;
    use crate::proto::Message;
    use crate::proto::memory::scarcity::{self, Scarcity};

    struct Scene {
        peers: Peers,
        time: Rc<Cell<Duration>>,
        id: ConnId,
        client: UnixStream,
    }

    /// One who listens, and has read the head.
    fn scene(config: Config) -> Scene {
        let time = Rc::new(Cell::new(Duration::ZERO));
        let mut peers = Peers::new(config);
        peers.clock = Clock::given(Rc::clone(&time));
        peers.add_room();
        let (ours, client) = UnixStream::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        let id = peers.admit(Stream::from_fd(ours.into()).unwrap().0, None);
        peers.respond_with_events(id, &Response::events(), 0);
        let mut scene = Scene { peers, time, id, client };
        let head = scene.reads();
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
        scene
    }

    impl Scene {
        /// What the client finds when all is written.
        fn reads(&mut self) -> String {
            self.peers.deliver_all();
            while let Some(id) = self.peers.next_to_write() {
                self.peers.flush(id);
            }
            let mut bytes = Vec::new();
            let end = self.client.read_to_end(&mut bytes);
            assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
            String::from_utf8(bytes).unwrap()
        }

        /// The same at this time.
        fn reads_at(&mut self, millis: u64) -> String {
            self.time.set(Duration::from_millis(millis));
            self.peers.clock.tick();
            while let Some(id) = self.peers.next_overdue() {
                self.peers.judge(id);
            }
            self.reads()
        }

        fn is_there(&self) -> bool {
            self.peers.get(self.id).is_some_and(Connection::is_open)
        }
    }

    #[test]
    fn comments_are_sent_for_ever_to_one_who_says_nothing() {
        let mut scene = scene(Config::default());
        for hour in 0..3 {
            for interval in 1..=144 {
                let at = 25_000 * (144 * hour + interval);
                assert_eq!(scene.reads_at(at - 1), "");
                assert_eq!(scene.reads_at(at), ":\n");
            }
        }
        assert!(scene.is_there());
    }

    #[test]
    fn neither_the_idle_timeout_nor_an_end_of_pings_ends_it() {
        let idle_timeout = Some(Duration::from_secs(1));
        let mut scene = scene(Config { ping_interval: None, idle_timeout, ..Config::default() });
        assert_eq!(scene.reads_at(u64::MAX / 4), "");
        assert!(scene.is_there());
    }

    #[test]
    fn a_backlog_that_no_comment_fits_into_has_none() {
        let mut scene = scene(Config { max_backlog: 100, ..Config::default() });
        scene.peers.config.on_full = crate::config::OnFull::Drop;
        assert_eq!(scene.reads_at(25_000), "");
        assert!(scene.is_there());
    }

    #[test]
    fn who_takes_nothing_is_sent_no_comment_and_ends() {
        let mut scene = scene(Config::default());
        // More than the kernel takes.
        let much = "x".repeat(2 << 20);
        assert_eq!(scene.peers.send(scene.id, (&much).into()), SendStatus::Backpressure);
        while let Some(id) = scene.peers.next_to_write() {
            scene.peers.flush(id);
            scene.peers.write_on_next_turn();
            if !scene.peers.has_left_over() {
                break;
            }
        }
        let ended = |scene: &mut Scene, millis| {
            scene.time.set(Duration::from_millis(millis));
            scene.peers.clock.tick();
            while let Some(id) = scene.peers.next_overdue() {
                scene.peers.judge(id);
            }
            !scene.is_there()
        };
        assert!(!ended(&mut scene, 49_999));
        assert!(ended(&mut scene, 50_000));
        assert_eq!(scene.peers.stats().cut, [("takes nothing", 1)]);
    }

    #[test]
    fn lines_that_there_is_no_memory_for_end_it() {
        let mut scene = scene(Config::default());
        scene.peers.broadcast(0, Message::Text("before"), ConnId::NONE);
        scarcity::set(Scarcity::Over(100));
        let text = "\n".repeat(100);
        assert_eq!(scene.peers.send(scene.id, (&text).into()), SendStatus::Dropped);
        scarcity::set(Scarcity::None);
        assert_eq!(scene.reads(), "data: before\n\n");
        assert_eq!(scene.peers.stats().cut, [("no memory for this message", 1)]);
    }

    #[test]
    fn what_cannot_wait_for_it_ends_it() {
        let text = "x".repeat(20_000);
        for (memory, max_backlog, why) in [
            (Scarcity::None, 20_007, "backlog full"),
            // There is memory for the event, and none for where it waits.
            (Scarcity::After(1), 20_008, "no memory for this message"),
        ] {
            let mut scene = scene(Config { max_backlog, ..Config::default() });
            scarcity::set(memory);
            assert_eq!(scene.peers.send(scene.id, (&text).into()), SendStatus::Dropped);
            scarcity::set(Scarcity::None);
            assert_eq!(scene.peers.stats().cut, [(why, 1)]);
            assert_eq!(scene.reads(), "");
        }
    }
}
