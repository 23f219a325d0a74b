//! In place of `tls.rs` where its feature is off: there is no certificate, so there can be no
//! session.

use std::io::{self, IoSlice, Read, Write};

use super::transfer::{Received, Written};

/// Certificates that nobody can have.
#[derive(Debug, Clone)]
pub enum Tls {}

impl Tls {
    pub(crate) fn reloaded(&self) -> io::Result<Tls> {
        match *self {}
    }

    #[cfg(feature = "cli")]
    pub(crate) fn is_from_files(&self) -> bool {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum Session {}

impl Session {
    pub(crate) fn new(tls: &Tls) -> io::Result<Session> {
        match *tls {}
    }

    pub(super) fn unread(&mut self, _: &[u8]) {
        match *self {}
    }

    pub(super) fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub(super) fn read(&mut self, _: &mut dyn Read, _: &mut [u8]) -> io::Result<Received> {
        match *self {}
    }

    pub(super) fn write(&mut self, _: &mut dyn Write, _: &[IoSlice<'_>]) -> io::Result<Written> {
        match *self {}
    }

    pub(super) fn close(&mut self) {
        match *self {}
    }
}
