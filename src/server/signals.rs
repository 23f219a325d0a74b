//! SIGTERM, SIGINT and SIGHUP as events of the loop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// What signals ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SignalRequest {
    pub(super) reload: bool,
    pub(super) stop: bool,
}

/// Registered signal handlers.
pub(super) struct Signals {
    source: signal_hook_mio::v1_0::Signals,
}

impl Signals {
    /// From now on the first signal is an event, and the second ends the process, with the exit
    /// status that shells give to a process that a signal ended. SIGHUP is left as it was unless
    /// `hangup` asks for it.
    pub(super) fn register(registry: &Registry, token: Token, hangup: bool) -> io::Result<Signals> {
        let second = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag unset, and then sets it.
            let status = signal.saturating_add(128);
            flag::register_conditional_shutdown(signal, status, Arc::clone(&second))?;
            flag::register(signal, Arc::clone(&second))?;
        }
        let mut source = signal_hook_mio::v1_0::Signals::new([SIGTERM, SIGINT])?;
        if hangup {
            source.add_signal(SIGHUP)?;
        }
        registry.register(&mut source, token, Interest::READABLE)?;
        Ok(Signals { source })
    }

    /// What the signals that have come ask for.
    pub(super) fn arrived(&mut self) -> SignalRequest {
        let mut request = SignalRequest::default();
        for signal in self.source.pending() {
            request.reload |= signal == SIGHUP;
            request.stop |= signal != SIGHUP;
        }
        request
    }
}
