//! Who is open on a route, and what was broadcast to them in this turn: framed once for each
//! framing in use, and delivered to everybody when the turn ends. So each member is visited once a
//! turn, however many messages there are.

use std::rc::Rc;

use super::last::Last;
use crate::ids::ConnId;
use crate::proto::pool::Pool;
use crate::proto::{Framing, Message};

/// Once this many bytes are posted, they are delivered without waiting for the end of the turn.
const FULL: usize = 64 * 1024;
/// Marks kept when nothing waits.
const SPARE_MARKS: usize = 1024;

/// A member's part in its room.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Membership {
    /// Its index among the members.
    pub(super) place: u32,
    /// How many of the messages that wait in the room it has had, or is not to have.
    pub(super) had: u16,
}

/// What became of a message that was broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Posted {
    /// It waits to be delivered.
    Waits,
    /// So does it, and no more should.
    Full,
    /// Some of the wires lack it; all is to be delivered, and those who miss it are to be told.
    NoMemory,
}

#[derive(Debug, Default)]
pub(super) struct Room {
    members: Vec<ConnId>,
    /// How many messages wait to be delivered.
    posted: u16,
    /// Those messages, in each framing that any member has.
    wires: Vec<Wire>,
    /// The last message, for those who come later.
    pub(super) last: Last,
}

/// Messages side by side, in one framing.
#[derive(Debug)]
pub(super) struct Wire {
    framing: Framing,
    members: usize,
    bytes: Rc<Vec<u8>>,
    /// Where the bytes ended before the first message, and after each.
    marks: Vec<Mark>,
    /// There was no memory for one of them, which it lacks.
    incomplete: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    bytes: usize,
    /// Fewer than were posted, if the framing cannot carry some.
    messages: u64,
}

impl Room {
    pub(super) fn members(&self) -> &[ConnId] {
        &self.members
    }

    /// How many messages wait to be delivered.
    pub(super) fn posted(&self) -> u16 {
        self.posted
    }

    /// Adds a member. What waits was posted before it came, and is not for it.
    pub(super) fn join(&mut self, id: ConnId, framing: Framing) -> Membership {
        match self.wires.iter_mut().find(|wire| wire.framing == framing) {
            Some(wire) => wire.members = wire.members.saturating_add(1),
            None => self.wires.push(Wire::new(framing, self.posted)),
        }
        let place = self.members.len() as u32;
        self.members.push(id);
        Membership { place, had: self.posted }
    }

    pub(super) fn has_member(&self, id: ConnId, place: u32) -> bool {
        self.members.get(place as usize) == Some(&id)
    }

    /// Removes a member. Returns the one that has its place now, if any.
    pub(super) fn leave(&mut self, place: u32, framing: Framing) -> Option<ConnId> {
        self.members.swap_remove(place as usize);
        if let Some(wire) = self.wires.iter_mut().find(|wire| wire.framing == framing) {
            wire.members = wire.members.saturating_sub(1);
        }
        self.wires.retain(|wire| wire.members > 0);
        if self.members.is_empty() {
            self.posted = 0;
        }
        self.members.get(place as usize).copied()
    }

    /// Frames a message for everybody.
    pub(super) fn post(&mut self, message: Message<'_>, pool: &mut Pool) -> Posted {
        self.posted = self.posted.saturating_add(1);
        for wire in &mut self.wires {
            wire.append(message, pool);
        }
        if self.wires.iter().any(Wire::is_incomplete) {
            Posted::NoMemory
        } else if self.posted == u16::MAX || self.wires.iter().any(|wire| wire.bytes.len() >= FULL)
        {
            Posted::Full
        } else {
            Posted::Waits
        }
    }

    /// What waits, in a member's framing.
    pub(super) fn wire(&self, framing: Framing) -> Option<&Wire> {
        self.wires.iter().find(|wire| wire.framing == framing)
    }

    /// Empties the room, once all is delivered.
    pub(super) fn clear(&mut self) {
        self.posted = 0;
        self.wires.iter_mut().for_each(Wire::clear);
    }
}

impl Wire {
    /// For the first member of its framing, which joins after this many messages.
    fn new(framing: Framing, posted: u16) -> Wire {
        let marks = vec![Mark::default(); usize::from(posted).saturating_add(1)];
        Wire { framing, members: 1, bytes: Rc::default(), marks, incomplete: false }
    }

    fn append(&mut self, message: Message<'_>, pool: &mut Pool) {
        // This copies the bytes if a member shares them that was sent something else in this turn.
        let bytes = Rc::make_mut(&mut self.bytes);
        let encoded = self.framing.encode(message, pool, bytes);
        self.incomplete |= encoded.is_err();
        let carried = encoded.unwrap_or(false);
        let bytes = bytes.len();
        let messages = self.end().messages.saturating_add(u64::from(carried));
        self.marks.push(Mark { bytes, messages });
    }

    fn clear(&mut self) {
        self.incomplete = false;
        self.marks.truncate(1);
        self.marks.shrink_to(SPARE_MARKS);
        match Rc::get_mut(&mut self.bytes) {
            Some(bytes) if bytes.capacity() <= FULL => bytes.clear(),
            _ => self.bytes = Rc::default(),
        }
    }

    /// Whether it lacks a message that there was no memory for.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Whether these bytes of it are at least half of the memory that it has.
    pub(super) fn is_mostly(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.bytes.capacity() / 2
    }

    /// Whether one connection alone has a share in the bytes.
    pub(super) fn is_shared_for_the_first_time(&self) -> bool {
        Rc::strong_count(&self.bytes) == 2
    }

    /// All the bytes, to be shared.
    pub(super) fn bytes(&self) -> &Rc<Vec<u8>> {
        &self.bytes
    }

    /// The bytes of message `from` and all behind it, and how many messages they are.
    pub(super) fn since(&self, from: u16) -> (&[u8], u64) {
        let from = self.marks.get(usize::from(from)).copied().unwrap_or(self.end());
        let bytes = self.bytes.get(from.bytes..).unwrap_or_default();
        (bytes, self.end().messages.saturating_sub(from.messages))
    }

    /// The bytes of each message, beginning with message `from`.
    pub(super) fn each_since(&self, from: u16) -> impl Iterator<Item = &[u8]> {
        let marks = self.marks.get(usize::from(from)..).unwrap_or_default();
        let pairs = marks.iter().zip(marks.iter().skip(1));
        let carried = pairs.filter(|(before, behind)| before.messages < behind.messages);
        carried.filter_map(|(before, behind)| self.bytes.get(before.bytes..behind.bytes))
    }

    fn end(&self) -> Mark {
        self.marks.last().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(framings: &[Framing]) -> (Room, Pool) {
        let mut room = Room::default();
        for (place, &framing) in framings.iter().enumerate() {
            assert_eq!(room.join(ConnId::NONE, framing).place, place as u32);
        }
        (room, Pool::default())
    }

    #[test]
    fn messages_lie_side_by_side_in_each_framing() {
        let (mut room, mut pool) = room(&[Framing::Hybi, Framing::Hixie, Framing::Hybi]);
        assert_eq!(room.wires.len(), 2);
        assert_eq!(room.post(Message::Text("a"), &mut pool), Posted::Waits);
        assert_eq!(room.post(Message::Binary(b"\xff"), &mut pool), Posted::Waits);
        assert_eq!(room.post(Message::Text(""), &mut pool), Posted::Waits);
        assert_eq!(room.posted(), 3);

        let hybi = room.wire(Framing::Hybi).unwrap();
        assert_eq!(hybi.since(0), (&b"\x81\x01a\x82\x01\xff\x81\x00"[..], 3));
        assert_eq!(hybi.since(1), (&b"\x82\x01\xff\x81\x00"[..], 2));
        assert_eq!(hybi.since(3), (&b""[..], 0));
        assert_eq!(hybi.each_since(1).collect::<Vec<_>>(), [&b"\x82\x01\xff"[..], b"\x81\x00"]);

        let hixie = room.wire(Framing::Hixie).unwrap();
        assert_eq!(hixie.since(0), (&b"\x00a\xff\x00\xff"[..], 2));
        assert_eq!(hixie.since(1), (&b"\x00\xff"[..], 1));
        assert_eq!(hixie.each_since(0).collect::<Vec<_>>(), [&b"\x00a\xff"[..], b"\x00\xff"]);
    }

    #[test]
    fn what_others_hold_is_theirs_and_what_nobody_holds_is_used_again() {
        let (mut room, mut pool) = room(&[Framing::Hybi]);
        room.post(Message::Text("held"), &mut pool);
        let held = Rc::clone(room.wire(Framing::Hybi).unwrap().bytes());
        room.clear();
        room.post(Message::Text("next"), &mut pool);
        assert_eq!(held[..], *b"\x81\x04held");
        let wire = room.wire(Framing::Hybi).unwrap();
        assert_eq!(wire.bytes()[..], *b"\x81\x04next");
        let place = wire.bytes().as_ptr();
        room.clear();
        assert_eq!(room.posted(), 0);
        room.post(Message::Text("last"), &mut pool);
        let wire = room.wire(Framing::Hybi).unwrap();
        assert_eq!((wire.since(0), wire.bytes().as_ptr()), ((&b"\x81\x04last"[..], 1), place));
    }

    #[test]
    fn a_room_is_full_at_65_535_messages_though_they_take_nothing() {
        let (mut room, mut pool) = room(&[Framing::Hixie]);
        for _ in 1..u16::MAX {
            assert_eq!(room.post(Message::Binary(b""), &mut pool), Posted::Waits);
        }
        assert_eq!(room.post(Message::Binary(b""), &mut pool), Posted::Full);
        assert_eq!(room.wire(Framing::Hixie).unwrap().since(0), (&b""[..], 0));
    }

    #[test]
    fn a_room_is_full_at_64_kib_and_keeps_no_more_than_that() {
        let (mut room, mut pool) = room(&[Framing::Hybi]);
        let text = "t".repeat(FULL - 2 - 4);
        assert_eq!(room.post(Message::Text(&text), &mut pool), Posted::Waits);
        assert_eq!(room.post(Message::Text(""), &mut pool), Posted::Full);
        room.clear();
        assert_eq!(room.post(Message::Text(&"t".repeat(FULL)), &mut pool), Posted::Full);
        room.clear();
        assert_eq!(room.wires[0].bytes.capacity(), 0);
        assert_eq!(
            (1..).find(|_| room.post(Message::Text(""), &mut pool) == Posted::Full),
            Some(FULL / 2)
        );
        room.clear();
        assert!(room.wires[0].marks.capacity() <= SPARE_MARKS);
    }

    #[test]
    fn the_last_to_leave_takes_everything_along() {
        let (mut room, mut pool) = room(&[Framing::Hybi, Framing::Hixie]);
        room.post(Message::Text("a"), &mut pool);
        assert_eq!(room.leave(0, Framing::Hybi), Some(ConnId::NONE));
        assert_eq!((room.posted(), room.members().len(), room.wires.len()), (1, 1, 1));
        assert_eq!(room.leave(0, Framing::Hixie), None);
        assert_eq!((room.posted(), room.wires.len()), (0, 0));
    }

    #[test]
    fn what_waits_is_not_for_who_comes_in_between() {
        let (mut room, mut pool) = room(&[Framing::Hybi]);
        room.post(Message::Text("a"), &mut pool);
        for framing in [Framing::Hybi, Framing::Hixie] {
            let had = room.join(ConnId::NONE, framing).had;
            assert_eq!(room.wire(framing).unwrap().since(had), (&b""[..], 0));
        }
        room.post(Message::Text("b"), &mut pool);
        assert_eq!(room.wire(Framing::Hybi).unwrap().since(1), (&b"\x81\x01b"[..], 1));
        assert_eq!(room.wire(Framing::Hixie).unwrap().since(1), (&b"\x00b\xff"[..], 1));
    }
}
