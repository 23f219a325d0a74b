//! The server's own code on a clock and on sockets that are played: what happens between events,
//! deadlines and buffers, in any order, and in no time. Compiled with the unit tests, since it plays
//! what no program has.

mod edges;
mod kernel;
mod periods;
mod world;
