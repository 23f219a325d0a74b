//! A timer in the poll's own set: with it the poll's descriptor announces deadlines too.

use std::io;

use mio::{Registry, Token};

use crate::peers::time::{Clock, Millis, NEVER};

/// Goes off when the next turn must come.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) struct Alarm {
    timer: std::os::fd::OwnedFd,
    /// When it will go off; [`NEVER`] if it is not set.
    at: Millis,
    failed: bool,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Alarm {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Alarm> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        use std::os::fd::AsRawFd;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let fd = timer.as_raw_fd();
        registry.register(&mut mio::unix::SourceFd(&fd), token, mio::Interest::READABLE)?;
        Ok(Alarm { timer, at: NEVER, failed: false })
    }

    /// Sets it to go off at this time at the latest. One that is set for earlier stays as it is: it
    /// leads to one idle turn, where moving it would cost a system call each time.
    pub(super) fn set(&mut self, at: Millis, clock: &Clock) {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        if at >= self.at {
            return;
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let wait =
            Timespec::try_from(clock.until(at)).unwrap_or(Timespec { tv_sec: i64::MAX, ..zero });
        // Zero would turn it off.
        let it_value = if wait == zero { Timespec { tv_nsec: 1, ..zero } } else { wait };
        let spec = Itimerspec { it_interval: zero, it_value };
        self.failed = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec).is_err();
        if !self.failed {
            self.at = at;
        }
    }

    /// Whether it could be set; if not, the loop has to watch the time itself.
    pub(super) fn is_set(&self) -> bool {
        !self.failed
    }

    /// It went off. It is not read: setting it again resets it, and with edge-triggered events that
    /// is enough.
    pub(super) fn went_off(&mut self) {
        self.at = NEVER;
    }
}

/// Other systems have none.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) enum Alarm {}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Alarm {
    pub(super) fn new(_: &Registry, _: Token) -> io::Result<Alarm> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn set(&mut self, _: Millis, _: &Clock) {
        match *self {}
    }

    pub(super) fn is_set(&self) -> bool {
        match *self {}
    }

    pub(super) fn went_off(&mut self) {
        match *self {}
    }
}
