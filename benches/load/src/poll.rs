//! epoll, level-triggered.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

pub struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

/// Which socket, and whether it has something to read, or room to write.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    pub place: usize,
    pub readable: bool,
    pub writable: bool,
}

impl Poll {
    pub fn new() -> Result<Poll, String> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|error| error.to_string())?;
        Ok(Poll { epoll, events: Vec::with_capacity(1024) })
    }

    pub fn add(&self, stream: &TcpStream, place: usize) -> Result<(), String> {
        let data = EventData::new_u64(place as u64);
        let flags = EventFlags::IN;
        epoll::add(&self.epoll, stream, data, flags).map_err(|error| error.to_string())
    }

    /// For reading always, for writing as well or not.
    pub fn watch(&self, stream: &TcpStream, place: usize, write: bool) -> Result<(), String> {
        let flags = if write { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        let data = EventData::new_u64(place as u64);
        epoll::modify(&self.epoll, stream, data, flags).map_err(|error| error.to_string())
    }

    /// Who is ready; nobody, if the time is over. It does not sleep: waking this program would be
    /// counted as the server's work.
    pub fn wait(&mut self, most: Duration) -> Result<Vec<Ready>, String> {
        self.events.clear();
        let start = Instant::now();
        while self.events.is_empty() && start.elapsed() < most {
            match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&AT_ONCE)) {
                // An echo may share the processor.
                Ok(0) => std::thread::yield_now(),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let ready = self.events.iter().map(|&Event { flags, data }| Ready {
            place: data.u64() as usize,
            readable: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
            writable: flags.contains(EventFlags::OUT),
        });
        Ok(ready.collect())
    }
}
