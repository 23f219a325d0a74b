//! What happens in a turn, step by step.
//!
//! Nearly all turns go through the same steps. Code that most turns skip is kept out of line, here
//! and in the files they call. Inlined, it would lie among the steps and be fetched for nothing:
//! between two turns the kernel's own code pushes ours out of the processor's cache.

use std::io;
use std::time::Duration;

use log::debug;
use mio::Token;

use super::alarm::Alarm;
use super::remote::Command;
use super::{ALARM, LAST_LISTENER, LISTENERS, Server, WAKER};
#[cfg(feature = "cli")]
use super::{SIGNALS, signals::Signals};
use crate::dispatch::Dispatcher;
use crate::ids::ConnId;
use crate::net::stream::Readiness;
use crate::peers::complaints::quoted;
use crate::peers::time::{Millis, NEVER};

/// Most messages of other threads handled in a turn.
const COMMANDS_PER_TURN: usize = 256;
/// Most sources put into the poll in a turn. To start a program takes a third of a millisecond.
const STARTS_PER_TURN: usize = 8;

impl Server {
    /// Waits for events, and does what they and the deadlines ask for.
    pub(super) fn turn_within(&mut self, wait: Option<Duration>) -> io::Result<usize> {
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            result => result?,
        }
        let left_over = self.dispatcher.begin_turn();
        let count = self.read_announced();
        self.dispatcher.read_on(left_over, &mut self.receive);
        self.acceptor.accept(self.poll.registry(), &mut self.dispatcher.peers);
        if self.inlet_waits {
            self.run_commands();
        }
        let removed = self.dispatcher.end_turn(&mut self.receive);
        if removed || self.acceptor.may_resume(&self.dispatcher.peers) {
            self.acceptor.resume(&mut self.dispatcher.peers);
        }
        self.set_alarm();
        Ok(count)
    }

    /// Puts sources that were opened into the poll, which starts those that are programs.
    pub(super) fn watch_opened(&mut self) {
        let peers = &mut self.dispatcher.peers;
        for _ in 0..STARTS_PER_TURN {
            let Some(id) = peers.next_opened() else { return };
            let Some(conn) = peers.get_mut(id) else { continue };
            match conn.stream.register(self.poll.registry(), Token(id.token())) {
                Ok(()) => peers.is_watched(id),
                Err(error) => peers.cannot_be_watched(id, &error),
            }
        }
    }

    /// Reads from the connections that the poll announces, and notes what else it announces for the
    /// later steps. Returns how many events there were.
    fn read_announced(&mut self) -> usize {
        let mut count: usize = 0;
        #[cfg(feature = "cli")]
        let mut signals = false;
        for event in &self.events {
            count = count.wrapping_add(1);
            match event.token() {
                Token(token) if token < LAST_LISTENER => {
                    self.dispatcher.announced(token, Readiness::of(event), &mut self.receive);
                }
                WAKER => self.inlet_waits = true,
                ALARM => self.alarm.iter_mut().for_each(Alarm::went_off),
                #[cfg(feature = "cli")]
                SIGNALS => signals = true,
                Token(token) => self.acceptor.announce(LISTENERS.saturating_sub(token)),
            }
        }
        #[cfg(feature = "cli")]
        if signals {
            self.obey_signals();
        }
        count
    }

    /// Whether there is work that no event will announce.
    pub(super) fn has_left_over(&self) -> bool {
        self.inlet_waits || self.dispatcher.peers.has_left_over()
    }

    /// When the next turn must come, whether or not an event comes; 0 for at once.
    pub(super) fn due(&self) -> Option<Millis> {
        if self.has_left_over() { Some(0) } else { self.next_deadline() }
    }

    fn next_deadline(&self) -> Option<Millis> {
        let peers = &self.dispatcher.peers;
        let due = [peers.next_deadline(), peers.timers.next(), self.acceptor.due()];
        let first = due.into_iter().fold(NEVER, |first, at| first.min(at.unwrap_or(NEVER)));
        (first != NEVER).then_some(first)
    }

    /// Sets the alarm, if there is one, to when the next turn must come.
    pub(crate) fn set_alarm(&mut self) {
        let due = match self.alarm {
            None => None,
            Some(_) if !self.has_left_over() => self.next_deadline(),
            // Left-over work need not be announced to this loop, only to one around it.
            Some(_) => self.dispatcher.peers.config.fd_only.then_some(0),
        };
        if let (Some(alarm), Some(at)) = (&mut self.alarm, due) {
            alarm.set(at, &self.dispatcher.peers.clock);
        }
    }

    /// Does what other threads ask for.
    #[inline(never)]
    fn run_commands(&mut self) {
        if self.inlet.take_stop() {
            self.stop();
        }
        if self.inlet.take_wake() {
            self.dispatcher.wake();
        }
        let Dispatcher { peers, routes, .. } = &mut self.dispatcher;
        for _ in 0..COMMANDS_PER_TURN {
            match self.inlet.next() {
                None => {
                    self.inlet_waits = false;
                    return;
                }
                Some(Command::Send(id, message)) => {
                    peers.send(id, message.as_message());
                }
                Some(Command::Route(route, message)) => {
                    peers.broadcast(route, message.as_message(), ConnId::NONE);
                }
                Some(Command::Broadcast(path, message)) => match routes.named(&path) {
                    Some(route) => peers.broadcast(route, message.as_message(), ConnId::NONE),
                    None => {
                        debug!("another thread broadcasts to {}, which is no route", quoted(&path));
                    }
                },
            }
        }
    }

    #[cfg(feature = "cli")]
    #[cold]
    fn obey_signals(&mut self) {
        let request = self.signals.as_mut().map(Signals::arrived).unwrap_or_default();
        let reload = request.hangup && self.has_tls_files();
        if reload {
            match self.reload_tls() {
                Ok(()) => log::info!("the certificate was read anew"),
                Err(error) => log::error!("the certificate stays as it is: {error}"),
            }
        }
        if request.stop || (request.hangup && !reload) {
            self.signals.iter().for_each(Signals::obeyed);
            self.stop();
        }
    }
}
