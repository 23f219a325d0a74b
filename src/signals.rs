//! SIGTERM and SIGINT as events of the loop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Registered signal handlers.
pub(crate) struct Signals {
    source: signal_hook_mio::v1_0::Signals,
}

impl Signals {
    /// From here on the first signal is an event, and the second ends the process, with the exit
    /// status that shells give to a process that a signal ended.
    pub(crate) fn register(registry: &Registry, token: Token) -> io::Result<Signals> {
        let second = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag unset, and then sets it.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&second))?;
            flag::register(signal, Arc::clone(&second))?;
        }
        let mut source = signal_hook_mio::v1_0::Signals::new([SIGTERM, SIGINT])?;
        registry.register(&mut source, token, Interest::READABLE)?;
        Ok(Signals { source })
    }

    /// Whether a signal has come.
    pub(crate) fn arrived(&mut self) -> bool {
        self.source.pending().count() > 0
    }
}
