//! The server's own code on a clock and on sockets that are played: what happens between events,
//! deadlines and buffers, in any order, and in no time. Compiled with the unit tests, since it plays
//! what no program has.
//!
//! `kernel` is one socket, `world` a server without a poll. On these stand schedules that are written
//! by hand, in `periods` and `edges`, and such as are made of a number, in `random`: a `schedule` is
//! `play`ed with `client`s and a `handler`, and the `oracle` looks on, as does `memory` where there is
//! none for a message.

mod bounds;
mod client;
mod edges;
mod handler;
mod kernel;
mod memory;
mod oracle;
mod periods;
mod play;
mod random;
mod schedule;
#[cfg(feature = "tls")]
mod secure;
mod world;
