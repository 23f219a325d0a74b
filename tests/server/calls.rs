//! What handlers are called for, and what clients are sent for it.

use crate::recorder::{Event, Log, Recorder, What, record_with};
use wsloop::{ConnId, Context};

/// A handler that only records, and its record.
pub fn record() -> (Recorder<impl FnMut(&mut Context<'_>, &What) + Send + 'static>, Log) {
    record_with(|_, _| {})
}

/// The events of one connection.
pub fn only(events: &[Event], id: ConnId) -> Vec<What> {
    events.iter().filter(|event| event.id == id).map(|event| event.what.clone()).collect()
}

/// A code and a reason, to compare with.
pub fn ended(code: u16, reason: &str) -> (u16, String) {
    (code, reason.to_string())
}

/// The server's frame, for comparison; up to 125 bytes.
pub fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= 125);
    [&[first, payload.len() as u8], payload].concat()
}
