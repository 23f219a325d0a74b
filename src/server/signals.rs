//! SIGTERM, SIGINT and SIGHUP as events of the loop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Which signals have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SignalRequest {
    pub(super) hangup: bool,
    pub(super) stop: bool,
}

/// Registered signal handlers.
pub(super) struct Signals {
    source: signal_hook_mio::v1_0::Signals,
    /// The server stops: the next SIGTERM or SIGINT ends the process.
    second: Arc<AtomicBool>,
}

impl Signals {
    /// From now on the first signal is an event, and the second ends the process, with the exit
    /// status that shells give to a process that a signal ended. SIGHUP is left as it was unless
    /// `hangup` asks for it. It never counts as the second: when a terminal goes, it comes from the
    /// kernel and from the shell, and systemd may send it along with SIGTERM.
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
        Ok(Signals { source, second })
    }

    /// What the signals that have come ask for.
    pub(super) fn arrived(&mut self) -> SignalRequest {
        let mut request = SignalRequest::default();
        for signal in self.source.pending() {
            request.hangup |= signal == SIGHUP;
            request.stop |= signal != SIGHUP;
        }
        request
    }

    /// The server stops, whichever signal it was.
    pub(super) fn obeyed(&self) {
        self.second.store(true, Ordering::SeqCst);
    }
}

/// Whether SIGHUP would end this process, which neither ignores it nor has a handler for it. False
/// where the system does not tell: only Linux does, in this file.
pub(super) fn hangup_is_fatal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_default(&status, SIGHUP)
}

/// Whether the process of this status leaves a signal to the system.
fn is_default(status: &str, signal: i32) -> bool {
    // One bit for each signal, the first for signal 1.
    let mask = |name: &str| {
        let digits = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(digits.trim(), 16).ok()
    };
    let bit = signal.checked_sub(1).and_then(|place| 1_u64.checked_shl(place.cast_unsigned()));
    match (mask("SigIgn:"), mask("SigCgt:"), bit) {
        (Some(ignored), Some(caught), Some(bit)) => (ignored | caught) & bit == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_the_systems_if_the_process_neither_ignores_nor_catches_it() {
        let status = "Name:\twsloop\nSigIgn:\t0000000000000002\nSigCgt:\t0000000180004000\n";
        assert!(is_default(status, SIGHUP));
        assert!(!is_default(status, SIGINT), "ignored");
        assert!(!is_default(status, SIGTERM), "caught");
        for unknown in ["", "SigIgn:\t0\n", "SigIgn:\tzero\nSigCgt:\t0\n"] {
            assert!(!is_default(unknown, SIGHUP), "{unknown:?}");
        }
    }
}
