//! Sockets: those that listen, those of clients, and the TLS on them. Each call here is one call of
//! the system; when to make which is decided elsewhere.

pub(crate) mod listener;
#[cfg(test)]
pub(crate) mod played;
mod program;
mod socket;
pub(crate) mod stream;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
pub(crate) mod tls;
pub(crate) mod transfer;
