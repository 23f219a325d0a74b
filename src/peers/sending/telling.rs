//! What sources are told: bytes or lines, in no framing.

use super::{OFFER_FROM, Peers, SendStatus};
use crate::ids::SourceId;
use crate::peers::closing::Unsent;
use crate::peers::connection::{Connection, Role};
use crate::proto::Message;
use crate::source::Cut;

impl Connection {
    /// What it is told, if it may be told anything more.
    fn takes_words(&self) -> Option<Cut> {
        let Role::Source { cut, .. } = self.role else { return None };
        (!self.has_last_words() && self.stream.takes_answers()).then_some(cut)
    }
}

impl Peers {
    /// Whether a source may be told anything more.
    pub(crate) fn takes_words(&self, source: SourceId) -> bool {
        self.get(source.0).is_some_and(|conn| conn.takes_words().is_some())
    }

    /// Queues something for a source. What does not fit, or has no room in memory, is dropped, and the
    /// source stays.
    #[expect(clippy::arithmetic_side_effects, reason = "lengths of what lies in memory")]
    pub(crate) fn tell(&mut self, source: SourceId, message: Message<'_>) -> SendStatus {
        let Some(mut out) = self.outgoing_at_once(source.0) else { return SendStatus::Dropped };
        let Some(cut) = out.conn.takes_words() else { return SendStatus::Dropped };
        let end: &[u8] = if cut == Cut::Lines { b"\n" } else { b"" };
        let bytes = message.as_bytes();
        let len = bytes.len() + end.len();
        let queued = if !out.has_room(len) {
            Err(Unsent::Full)
        } else if len >= OFFER_FROM && !out.is_listed() && !out.conn.is_opening() {
            out.offer_whole(&[&[], bytes, end])
        } else {
            let write = |out: &mut Vec<u8>| {
                out.extend_from_slice(bytes);
                out.extend_from_slice(end);
            };
            out.append(len, write).then_some(()).ok_or(Unsent::NoMemory)
        };
        match queued {
            Ok(()) => out.queued(),
            // What follows would be read as the rest of it.
            Err(Unsent::CutShort) => self.unsent(source.0, Unsent::CutShort),
            Err(_) => {
                out.conn.writing.pressed = true;
                SendStatus::Dropped
            }
        }
    }
}
