//! In place of `deflate.rs` where its feature is off: nothing is ever agreed on, so whatever needs
//! an agreement cannot exist.

use super::Violation;

/// Settings that nobody can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deflate {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agreed {}

pub(crate) fn agree<'a>(_: impl Iterator<Item = &'a [u8]>) -> Option<Agreed> {
    None
}

impl std::fmt::Display for Agreed {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

pub(super) fn longest(len: usize) -> usize {
    len
}

#[derive(Debug, Default)]
pub(super) struct Contexts;

impl Contexts {
    pub(crate) fn new(_: Option<Deflate>) -> Contexts {
        Contexts
    }

    pub(super) fn work(&self) -> u64 {
        0
    }

    pub(super) fn note_inflated(&mut self, _: usize) {}

    pub(super) fn take_inflater(&mut self) -> Option<Box<Inflater>> {
        None
    }

    #[expect(clippy::boxed_local, reason = "the same call as where there is something to give")]
    pub(super) fn give_inflater(&mut self, inflater: Box<Inflater>) {
        match *inflater {}
    }

    pub(crate) fn deflate(&mut self, agreed: Agreed, _: &[u8], _: &mut Vec<u8>) -> bool {
        match agreed {}
    }
}

#[derive(Debug)]
pub(crate) enum Inflater {}

impl Inflater {
    pub(crate) const SIZE: usize = 0;

    pub(super) fn inflate(
        &mut self,
        _: &[u8],
        _: &mut dyn FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        match *self {}
    }

    pub(super) fn finish(
        &mut self,
        _: &mut dyn FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        match *self {}
    }
}
