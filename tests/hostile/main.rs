//! What is done to a server to harm it, and what goes wrong around it; others must be served
//! meanwhile.

#[path = "../common/mod.rs"]
mod common;

mod attack;

mod answers;
#[cfg(target_os = "linux")]
mod frames;
mod heads;
mod limits;
mod load;
mod origin;
mod paths;
#[cfg(target_os = "linux")]
mod peers;
