//! A socket that a test plays: what the kernel would hold and take is up to the test, so that
//! whatever a kernel may do can be done in any order.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;

/// What the kernel does for one socket.
pub(crate) trait Play {
    /// As read(2): 0 is the end of the stream.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;
    /// As send(2): how much was taken.
    fn write(&mut self, part: &[u8]) -> io::Result<usize>;
    fn shutdown_write(&mut self) -> io::Result<()>;
}

#[derive(Clone)]
pub(crate) struct Played(Rc<RefCell<dyn Play>>);

impl Played {
    pub(crate) fn new(play: Rc<RefCell<dyn Play>>) -> Played {
        Played(play)
    }

    pub(super) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buf)
    }

    pub(super) fn read_onto(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let mut room = vec![0; buffer.capacity() - buffer.len()];
        let count = self.read(&mut room)?;
        buffer.extend_from_slice(&room[..count]);
        Ok(count)
    }

    pub(super) fn write(&self, part: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(part)
    }

    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        self.0.borrow_mut().shutdown_write()
    }
}

impl fmt::Debug for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Played")
    }
}
