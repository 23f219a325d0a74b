//! The last message that was broadcast in a room, kept for those who come later.

use super::Peers;
use crate::ids::{ConnId, RouteId};
use crate::proto::Message;
use crate::proto::memory::make_room;

/// What a room keeps.
#[derive(Debug, Default)]
pub(super) enum Last {
    /// Nothing: nobody has asked for it.
    #[default]
    NotKept,
    /// Nothing yet, or nothing that is within the limit.
    None,
    Text(Vec<u8>),
    Binary(Vec<u8>),
}

impl Last {
    pub(super) fn is_kept(&self) -> bool {
        !matches!(self, Last::NotKept)
    }

    /// The same of a message, if it has no more than `max` bytes and there is memory for it.
    fn of(message: Message<'_>, max: usize) -> Last {
        let (bytes, mut copy) = (message.as_bytes(), Vec::new());
        if bytes.len() > max || make_room(&mut copy, bytes.len()).is_err() {
            return Last::None;
        }
        copy.extend_from_slice(bytes);
        match message {
            Message::Text(_) => Last::Text(copy),
            Message::Binary(_) => Last::Binary(copy),
        }
    }

    fn message(&self) -> Option<Message<'_>> {
        match self {
            Last::NotKept | Last::None => None,
            Last::Text(text) => str::from_utf8(text).ok().map(Message::Text),
            Last::Binary(bytes) => Some(Message::Binary(bytes)),
        }
    }

    /// Bytes of memory that it holds.
    fn held(&self) -> usize {
        match self {
            Last::NotKept | Last::None => 0,
            Last::Text(bytes) | Last::Binary(bytes) => bytes.capacity(),
        }
    }
}

impl Peers {
    /// Sends those who come to a route from now on the last message that was broadcast there.
    pub(crate) fn keep_last(&mut self, route: RouteId) {
        if let Some(room) = self.rooms.get_mut(usize::from(route)).filter(|r| !r.last.is_kept()) {
            room.last = Last::None;
        }
    }

    /// Keeps a message that is being broadcast. One that is too large to be kept leaves nothing: what
    /// was said before it is not the last any more.
    #[cold]
    pub(super) fn keep(&mut self, route: RouteId, message: Message<'_>) {
        let max = self.config.max_message;
        let Some(room) = self.rooms.get_mut(usize::from(route)) else { return };
        let before = std::mem::replace(&mut room.last, Last::of(message, max)).held();
        let now = room.last.held();
        self.count_kept(before, now);
    }

    /// Sends the last message to one who comes.
    #[cold]
    pub(super) fn send_last(&mut self, id: ConnId, route: RouteId) {
        let Some(room) = self.rooms.get_mut(usize::from(route)) else { return };
        let last = std::mem::take(&mut room.last);
        if let Some(message) = last.message() {
            self.send(id, message);
        }
        if let Some(room) = self.rooms.get_mut(usize::from(route)) {
            room.last = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::config::Config;
    use crate::net::stream::Stream;
    use crate::peers::inbox::Inbox;
    use crate::proto::memory::scarcity::{self, Scarcity};

    /// What is kept of the last of these.
    fn last<'p>(peers: &'p mut Peers, messages: &[Message<'_>]) -> Option<Message<'p>> {
        for message in messages {
            peers.broadcast(0, *message, ConnId::NONE);
        }
        peers.rooms[0].last.message()
    }

    #[test]
    fn the_last_is_kept_where_it_is_asked_for() {
        let mut peers = Peers::new(Config { max_message: 5, ..Config::default() });
        peers.add_room();
        assert_eq!(last(&mut peers, &[Message::Text("early")]), None);
        peers.keep_last(0);
        assert_eq!(last(&mut peers, &[]), None);
        let text = Message::Text("\u{e9}");
        assert_eq!(last(&mut peers, &[Message::Binary(b"1"), text]), Some(text));
        peers.keep_last(0);
        let binary = Message::Binary(b"\xff2345");
        assert_eq!(last(&mut peers, &[binary]), Some(binary));
        // A route that there is not.
        peers.keep_last(1);
        peers.broadcast(1, text, ConnId::NONE);
    }

    #[test]
    fn what_cannot_be_kept_leaves_nothing_that_is_older() {
        let mut peers = Peers::new(Config { max_message: 5, ..Config::default() });
        peers.add_room();
        peers.keep_last(0);
        assert_eq!(last(&mut peers, &[Message::Text("12345"), Message::Text("123456")]), None);
        assert!(last(&mut peers, &[Message::Text("12345")]).is_some());
        scarcity::set(Scarcity::Over(4));
        assert_eq!(last(&mut peers, &[Message::Binary(b"12345")]), None);
        assert_eq!(peers.held_in_all(), 0);
    }

    #[test]
    fn who_holds_the_most_ends_when_what_is_kept_is_too_much_with_it() {
        let mut peers = Peers::new(Config { max_memory: Some(10_000), ..Config::default() });
        peers.add_room();
        peers.keep_last(0);
        let (ours, _peer) = UnixStream::pair().unwrap();
        let id = peers.admit(Stream::from_fd(ours.into()).unwrap().0, None);
        peers.get_mut(id).unwrap().inbox = Inbox::Head(Vec::with_capacity(5000));
        peers.weigh(id);
        assert!(last(&mut peers, &[Message::Binary(&[0; 2000])]).is_some());
        assert!(!peers.get(id).unwrap().is_gone());
        assert!(last(&mut peers, &[Message::Binary(&[0; 6000])]).is_some());
        assert!(peers.get(id).unwrap().is_gone());
    }

    #[test]
    fn what_is_kept_counts() {
        let mut peers = Peers::new(Config::default());
        for route in 0..2 {
            peers.add_room();
            peers.keep_last(route);
            peers.broadcast(route, Message::Binary(&[0; 100_000]), ConnId::NONE);
        }
        assert_eq!(peers.held_in_all(), 200_000);
        peers.broadcast(0, Message::Text(""), ConnId::NONE);
        assert_eq!(peers.held_in_all(), 100_000);
    }
}
