//! The names of connections, routes and sources: in the library, and as tokens of the poll.

use std::fmt;

const SLOT_BITS: u32 = if usize::BITS >= 64 { 32 } else { 20 };
const SLOT_MASK: usize = (1 << SLOT_BITS) - 1;
/// Tokens with a slot above this are the server's own.
pub(crate) const MAX_SLOTS: usize = SLOT_MASK - 1024;

/// The number of a route, counted from 0 as they were added.
pub(crate) type RouteId = u16;

/// The name of one connection for as long as the server runs: once the connection has gone its name
/// is harmless, and is given to no other. Names are ordered by when the connections were accepted
/// (the count begins anew after four thousand million).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(
    /// The serial, and below it the slot: one number, since names are compared often.
    u64,
);

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnId")
            .field("slot", &self.slot())
            .field("serial", &self.serial())
            .finish()
    }
}

impl ConnId {
    /// No connection.
    pub(crate) const NONE: ConnId = ConnId(u32::MAX as u64);

    pub(crate) fn new(slot: u32, serial: u32) -> ConnId {
        ConnId((u64::from(serial) << 32) | u64::from(slot))
    }

    /// The connection's place among all; another may have the place after it.
    pub(crate) fn slot(self) -> usize {
        self.0 as u32 as usize
    }

    /// Which connection it is, counted from 1 as they were accepted; the log calls it by this.
    pub(crate) fn serial(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Slot and serial side by side: an event for a slot that was reused in the same batch of
    /// events then has the wrong serial. On 32 bits the serial loses its upper part.
    pub(crate) fn token(self) -> usize {
        ((self.serial() as usize) << SLOT_BITS) | self.slot()
    }
}

/// The name of one source of lines, for as long as the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub(crate) ConnId);

/// The slot that a token names, if it is a connection's.
pub(crate) fn slot(token: usize) -> usize {
    token & SLOT_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_slot_and_serial_and_is_ordered_by_the_serial() {
        let id = ConnId::new(7, u32::MAX);
        assert_eq!((id.slot(), id.serial(), slot(id.token())), (7, u32::MAX, 7));
        assert!(ConnId::new(9, 1) < ConnId::new(8, 2));
        assert_eq!(format!("{:?}", ConnId::new(1, 2)), "ConnId { slot: 1, serial: 2 }");
    }

    #[test]
    fn another_in_the_same_slot_has_another_token() {
        let last = u32::try_from(MAX_SLOTS).unwrap();
        assert_ne!(ConnId::new(last, 1).token(), ConnId::new(last, 2).token());
        assert_eq!(slot(ConnId::new(last, 2).token()), MAX_SLOTS);
    }
}
