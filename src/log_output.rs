//! Log lines to standard error, without ever waiting for its reader: there is one thread, and
//! whoever reads the log must not be able to stop it.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A pipe that polls as writable takes this much without blocking (POSIX: PIPE_BUF is 512 at
/// least, 4,096 on Linux).
const AT_ONCE: usize = 512;

/// Writes lines as long as they are taken, drops them while they are not, and says how many.
#[derive(Default)]
pub struct LogOutput {
    lost: u64,
}

impl Write for LogOutput {
    /// Called with a whole line; takes it, whatever becomes of it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lost > 0 && is_writable() {
            let note = format!("[{} log lines were lost: nobody read them]\n", self.lost);
            self.lost = 0;
            self.put(note.as_bytes());
        }
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogOutput {
    fn put(&mut self, line: &[u8]) {
        let whole = line.chunks(AT_ONCE).all(|piece| {
            is_writable() && rustix::io::write(io::stderr(), piece).is_ok_and(|n| n == piece.len())
        });
        self.lost += u64::from(!whole);
    }
}

fn is_writable() -> bool {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&no_wait)).is_ok() && fds[0].revents().contains(PollFlags::OUT)
}
