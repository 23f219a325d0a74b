//! What the server counts about itself.

use std::time::Duration;

/// Counters since the server began, and gauges of this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How long the server has run.
    pub uptime: Duration,
    /// Connections accepted: WebSockets, plain HTTP, feeds; not the sources that were opened.
    pub accepted: u64,
    /// Requests that were refused with a status of 400 or more.
    pub refused: u64,
    /// WebSockets opened.
    pub opened: u64,
    /// WebSockets that have ended.
    pub closed: u64,
    /// WebSockets open now, by version, oldest first: [`Version::Hixie75`](crate::Version::Hixie75) to
    /// [`Version::Rfc6455`](crate::Version::Rfc6455).
    pub open: [u64; 5],
    /// Clients who listen by plain HTTP now: see [`Server::events`](crate::Server::events).
    pub listening: u64,
    /// Whole messages received.
    pub messages_in: u64,
    /// Messages queued; one for many connections counts for each.
    pub messages_out: u64,
    /// Bytes read from all sockets.
    pub bytes_in: u64,
    /// Bytes written to all sockets.
    pub bytes_out: u64,
    /// Bytes queued at this moment, for all connections together. A message shared by many counts
    /// for each.
    pub backlog: u64,
    /// Connections that the server ended, by reason, in the order the reasons first came up.
    pub cut: Vec<(&'static str, u64)>,
}

impl Stats {
    /// Counts a connection that the server ended of its own accord.
    pub(crate) fn count_cut(&mut self, reason: &'static str) {
        match self.cut.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.cut.push((reason, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_in_the_order_they_came_up() {
        let mut stats = Stats::default();
        for reason in ["idle", "backlog full", "idle"] {
            stats.count_cut(reason);
        }
        assert_eq!(stats.cut, [("idle", 2), ("backlog full", 1)]);
    }
}
