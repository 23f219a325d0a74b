//! The one thing here that other threads may use.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use mio::Waker;

use crate::Message;
use crate::ids::{ConnId, RouteId};

/// Most messages that wait for the loop at a time.
const CAPACITY: usize = 1024;

/// Reaches a server from other threads. Cheap to clone; never blocks; may outlive the server.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let mut server = wsloop::Server::bind("127.0.0.1:0")?;
/// let remote = server.remote();
/// let sensor = std::thread::spawn(move || {
///     if let Err(message) = remote.broadcast("/live", "21.5 degrees") {
///         eprintln!("the loop is behind, not sent: {message:?}");
///     }
///     remote.stop();
/// });
/// server.run()?;
/// # sensor.join().unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Remote {
    shared: Arc<Shared>,
    commands: SyncSender<Command>,
}

/// A message that owns its payload, so that it can go to another thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageBuf {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl MessageBuf {
    /// The message, borrowed.
    pub fn as_message(&self) -> Message<'_> {
        match self {
            MessageBuf::Text(text) => Message::Text(text),
            MessageBuf::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl From<String> for MessageBuf {
    fn from(text: String) -> Self {
        MessageBuf::Text(text)
    }
}

impl From<&str> for MessageBuf {
    fn from(text: &str) -> Self {
        MessageBuf::Text(text.to_string())
    }
}

impl From<Vec<u8>> for MessageBuf {
    fn from(bytes: Vec<u8>) -> Self {
        MessageBuf::Binary(bytes)
    }
}

#[derive(Debug)]
struct Shared {
    waker: Waker,
    stop: AtomicBool,
    wake: AtomicBool,
}

/// What the loop is to do for another thread.
#[derive(Debug)]
pub(crate) enum Command {
    Send(ConnId, MessageBuf),
    Broadcast(String, MessageBuf),
    /// As `Broadcast`, for a route named by its number.
    #[cfg_attr(
        not(feature = "capi"),
        expect(dead_code, reason = "for C, where routes are numbers")
    )]
    Route(RouteId, MessageBuf),
}

/// The loop's end of the channel.
#[derive(Debug)]
pub(super) struct Inlet {
    shared: Arc<Shared>,
    commands: Receiver<Command>,
}

pub(super) fn remote(waker: Waker) -> (Remote, Inlet) {
    let (sender, commands) = sync_channel(CAPACITY);
    let flag = || AtomicBool::new(false);
    let shared = Arc::new(Shared { waker, stop: flag(), wake: flag() });
    (Remote { shared: shared.clone(), commands: sender }, Inlet { shared, commands })
}

impl Remote {
    /// Asks the loop to send a message to one connection. The outcome is not reported.
    ///
    /// # Errors
    /// Returns the message, if 1,024 are waiting already or the server is gone.
    pub fn send_to(&self, id: ConnId, message: impl Into<MessageBuf>) -> Result<(), MessageBuf> {
        self.command(Command::Send(id, message.into()))
    }

    /// Asks the loop to send a message to everyone on a route, named as it was added.
    ///
    /// # Errors
    /// Returns the message, if 1,024 are waiting already or the server is gone.
    pub fn broadcast(&self, path: &str, message: impl Into<MessageBuf>) -> Result<(), MessageBuf> {
        self.command(Command::Broadcast(path.to_string(), message.into()))
    }

    /// Asks the loop to call [`on_wake`](crate::Handler::on_wake) of every handler. Calls before
    /// the loop does so count as one.
    pub fn wake(&self) {
        self.shared.wake.store(true, Ordering::Release);
        self.rouse();
    }

    /// Asks the loop to stop, as [`Server::stop`](crate::Server::stop) does.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.rouse();
    }

    fn command(&self, command: Command) -> Result<(), MessageBuf> {
        self.queue(command).map_err(|error| match error {
            TrySendError::Full(command) | TrySendError::Disconnected(command) => match command {
                Command::Send(_, message)
                | Command::Broadcast(_, message)
                | Command::Route(_, message) => message,
            },
        })
    }

    pub(crate) fn queue(&self, command: Command) -> Result<(), TrySendError<Command>> {
        let result = self.commands.try_send(command);
        self.rouse();
        result
    }

    fn rouse(&self) {
        // It fails only when the poll is gone, and then there is nobody to rouse.
        let _: io::Result<()> = self.shared.waker.wake();
    }
}

impl Inlet {
    /// The next message of another thread.
    pub(super) fn next(&self) -> Option<Command> {
        self.commands.try_recv().ok()
    }

    pub(super) fn take_stop(&self) -> bool {
        self.shared.stop.swap(false, Ordering::Acquire)
    }

    pub(super) fn take_wake(&self) -> bool {
        self.shared.wake.swap(false, Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Poll, Token};

    #[test]
    fn a_full_queue_gives_the_message_back() {
        let poll = Poll::new().unwrap();
        let (remote, inlet) = remote(Waker::new(poll.registry(), Token(0)).unwrap());
        for _ in 0..CAPACITY {
            remote.broadcast("/", "x").unwrap();
        }
        assert_eq!(remote.broadcast("/", "y"), Err(MessageBuf::Text("y".into())));
        assert!(matches!(inlet.next(), Some(Command::Broadcast(path, _)) if path == "/"));
        remote.send_to(ConnId::NONE, vec![1]).unwrap();
        drop(inlet);
        assert_eq!(remote.broadcast("/", "z"), Err(MessageBuf::Text("z".into())));
    }

    #[test]
    fn wakes_and_stops_are_never_lost_and_count_once() {
        let poll = Poll::new().unwrap();
        let (remote, inlet) = remote(Waker::new(poll.registry(), Token(0)).unwrap());
        remote.wake();
        remote.wake();
        remote.stop();
        assert!(inlet.take_wake() && inlet.take_stop());
        assert!(!inlet.take_wake() && !inlet.take_stop());
    }
}
