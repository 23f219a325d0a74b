//! What the test programs share: the bytes that clients send, a client that speaks all five versions,
//! and folders. The files beside this one are for those programs that need them.
//!
//! Nothing here sleeps to let something happen: tests wait for an event or a byte. The timeouts
//! are only there so that a test that would hang fails instead.

mod bytes;
mod client;
mod scratch;

use std::thread;
use std::time::Duration;

pub use bytes::*;
pub use client::*;
pub use scratch::*;

/// How long a test waits for what must come: far longer than it takes on any machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Lets time pass, for a deadline to be over; never to let something happen.
pub fn let_pass(time: Duration) {
    thread::sleep(time);
}
