//! Log lines to standard error, without ever waiting for its reader: there is only one thread, and
//! whoever reads the log must not be able to stop it.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A pipe that polls as writable takes this many bytes without blocking: PIPE_BUF.
const AT_ONCE: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// Writes lines while they are taken, drops them while they are not, and then says how many it
/// dropped.
#[derive(Default)]
pub struct LogOutput {
    lost: u64,
    /// The last line was not written to its end.
    torn: bool,
}

impl Write for LogOutput {
    /// Called with a whole line. It always counts as written, even if it was dropped.
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
        let mut written: usize = 0;
        for piece in line.chunks(AT_ONCE) {
            if written == 0 && self.torn && put_at_once(b"\n") {
                self.torn = false;
            }
            if self.torn || !put_at_once(piece) {
                self.lost = self.lost.saturating_add(1);
                self.torn |= written > 0;
                return;
            }
            written = piece.len().saturating_add(written);
        }
    }
}

/// Whether all of it was taken, without waiting.
fn put_at_once(piece: &[u8]) -> bool {
    is_writable() && rustix::io::write(io::stderr(), piece).is_ok_and(|n| n == piece.len())
}

fn is_writable() -> bool {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&no_wait)).is_ok()
        && fds.iter().all(|fd| fd.revents().contains(PollFlags::OUT))
}
