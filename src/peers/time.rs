//! Time: the clock of a turn, the deadlines of connections, the timers of handlers.
//!
//! A connection has one entry among the deadlines that counts, at most. It is not moved when the
//! connection shows life, only looked at again when it falls due: nothing here costs anything per
//! message. Entries that a later one has replaced, or whose connection has gone, stay until they fall
//! due, or until they are more than those that count.

#[cfg(test)]
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
#[cfg(test)]
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::ids::{ConnId, RouteId};

/// Milliseconds since the server began.
pub(crate) type Millis = u64;

/// No deadline.
pub(crate) const NEVER: Millis = Millis::MAX;

/// The time, read once a turn.
#[derive(Debug)]
pub(crate) struct Clock {
    source: Source,
    now: Millis,
}

/// Where the time comes from.
#[derive(Debug)]
enum Source {
    /// The system's clock, from this moment on.
    System(Instant),
    /// Whoever tests: time passes when the test says so, and so no test has to wait.
    #[cfg(test)]
    Given(Rc<Cell<Duration>>),
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { source: Source::System(Instant::now()), now: 0 }
    }

    /// A clock that shows what a test sets.
    #[cfg(test)]
    pub(crate) fn given(time: Rc<Cell<Duration>>) -> Clock {
        Clock { source: Source::Given(time), now: 0 }
    }

    /// How long the server has run.
    fn elapsed(&self) -> Duration {
        match &self.source {
            Source::System(start) => start.elapsed(),
            #[cfg(test)]
            Source::Given(time) => time.get(),
        }
    }

    /// When this turn began.
    pub(crate) fn now(&self) -> Millis {
        self.now
    }

    pub(crate) fn tick(&mut self) {
        self.now = millis(self.elapsed());
    }

    pub(super) fn uptime(&self) -> Duration {
        self.elapsed()
    }

    /// The first whole millisecond that is `duration` from this very moment, at which the turn may
    /// have begun a while ago.
    pub(crate) fn after(&self, duration: Duration) -> Millis {
        millis(self.elapsed().saturating_add(duration)).saturating_add(1)
    }

    /// How long it is from this very moment until `at`.
    pub(crate) fn until(&self, at: Millis) -> Duration {
        Duration::from_millis(at).saturating_sub(self.elapsed())
    }
}

/// Whole milliseconds, at most half of [`NEVER`]. Not by `as_millis`, which divides 128 bits.
pub(super) fn millis(duration: Duration) -> Millis {
    let seconds = duration.as_secs().saturating_mul(1000);
    seconds.saturating_add(duration.subsec_millis().into()).min(NEVER / 2)
}

/// When to look at which connection again.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Millis, ConnId)>>,
}

impl Deadlines {
    pub(super) fn push(&mut self, at: Millis, id: ConnId) {
        self.heap.push(Reverse((at, id)));
    }

    pub(super) fn next(&self) -> Option<Millis> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Drops the entries that do not count, and gives their memory back.
    pub(super) fn retain(&mut self, counts: impl Fn(Millis, ConnId) -> bool) {
        self.heap.retain(|Reverse((at, id))| counts(*at, *id));
        self.heap.shrink_to(self.heap.len().saturating_mul(2));
    }

    pub(super) fn pop_due(&mut self, now: Millis) -> Option<(Millis, ConnId)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

/// The name of a timer that a handler set, for [`clear_timer`](crate::Context::clear_timer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId {
    at: Millis,
    /// Timers due at the same time fire in the order they were set in.
    sequence: u64,
}

#[cfg(feature = "capi")]
impl TimerId {
    pub(crate) fn to_words(self) -> [u64; 2] {
        [self.at, self.sequence]
    }

    pub(crate) fn from_words([at, sequence]: [u64; 2]) -> TimerId {
        TimerId { at, sequence }
    }
}

/// What to call when a timer fires.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timer {
    pub(crate) conn: ConnId,
    pub(crate) route: RouteId,
    pub(crate) tag: u64,
}

/// The timers that handlers set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeMap<TimerId, Timer>,
    by_conn: BTreeSet<(ConnId, TimerId)>,
    sequence: u64,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Millis, timer: Timer) -> TimerId {
        self.sequence = self.sequence.wrapping_add(1);
        let id = TimerId { at, sequence: self.sequence };
        self.by_time.insert(id, timer);
        self.by_conn.insert((timer.conn, id));
        id
    }

    pub(crate) fn clear(&mut self, id: TimerId) {
        if let Some(timer) = self.by_time.remove(&id) {
            self.by_conn.remove(&(timer.conn, id));
        }
    }

    /// Clears all timers of a connection that is gone.
    pub(super) fn clear_all(&mut self, conn: ConnId) {
        let first = (conn, TimerId { at: 0, sequence: 0 });
        while let Some(&(owner, id)) = self.by_conn.range(first..).next()
            && owner == conn
        {
            self.clear(id);
        }
    }

    pub(crate) fn next(&self) -> Option<Millis> {
        self.by_time.first_key_value().map(|(id, _)| id.at)
    }

    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<Timer> {
        let (&id, &timer) = self.by_time.first_key_value()?;
        if id.at > now {
            return None;
        }
        self.clear(id);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_for_ever_is_no_longer_than_half_of_that() {
        let longest = Duration::from_millis(u64::MAX);
        assert_eq!([longest, Duration::MAX].map(millis), [NEVER / 2; 2]);
        assert_eq!(millis(Duration::new(2, 3_999_999)), 2_003);
        assert!(Clock::new().after(Duration::MAX) < NEVER);
    }

    #[test]
    fn deadlines_fall_due_in_order() {
        let mut deadlines = Deadlines::default();
        let id = ConnId::NONE;
        for at in [30, 10, 20] {
            deadlines.push(at, id);
        }
        assert_eq!(deadlines.next(), Some(10));
        assert_eq!(deadlines.pop_due(9), None);
        assert_eq!(deadlines.pop_due(25), Some((10, id)));
        assert_eq!(deadlines.pop_due(25), Some((20, id)));
        assert_eq!(deadlines.pop_due(25), None);
    }

    #[test]
    fn timers_fire_in_order_and_not_once_cleared() {
        let mut timers = Timers::default();
        let timer = |slot, tag| Timer { conn: ConnId::new(slot, 1), route: 0, tag };
        timers.set(5, timer(1, 10));
        let cleared = timers.set(5, timer(1, 11));
        timers.set(5, timer(2, 12));
        timers.set(4, timer(1, 13));
        timers.clear(cleared);
        let fired: Vec<u64> = std::iter::from_fn(|| timers.pop_due(5)).map(|t| t.tag).collect();
        assert_eq!(fired, [13, 10, 12]);
    }

    #[test]
    fn a_connection_takes_its_timers_along() {
        let mut timers = Timers::default();
        for slot in [1, 2, 1, 3] {
            timers.set(9, Timer { conn: ConnId::new(slot, 1), route: 0, tag: slot.into() });
        }
        timers.clear_all(ConnId::new(1, 1));
        let left: Vec<u64> = std::iter::from_fn(|| timers.pop_due(9)).map(|t| t.tag).collect();
        assert_eq!(left, [2, 3]);
        assert!(timers.by_conn.is_empty());
    }
}
