//! What is done to a server to harm it, and what goes wrong around it; others must be served
//! meanwhile.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/neighbours.rs"]
mod neighbours;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/recorder.rs"]
mod recorder;
#[path = "../common/serving.rs"]
mod serving;
#[path = "../common/unruly.rs"]
mod unruly;

mod attack;

mod answers;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod frames;
mod heads;
mod host;
mod limits;
mod load;
mod origin;
mod paths;
mod peers;
