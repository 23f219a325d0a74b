//! What changes the process that it runs in, and so shares it with nobody.

#[path = "../common/mod.rs"]
mod common;

#[cfg(target_os = "linux")]
mod soak;
