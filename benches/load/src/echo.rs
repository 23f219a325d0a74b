//! The other end of tunnels: it sends back what comes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::poll::Poll;
use crate::server::Target;

const ROOM: usize = 256 * 1024;
/// How long a new connection may have to wait.
const TICK: Duration = Duration::from_millis(1);

/// Starts an echo that lasts as long as this program, and tells the servers where it is.
pub fn beside(targets: &[Target]) -> Result<Vec<Target>, String> {
    let port = start().map_err(|error| format!("an echo: {error}"))?;
    Ok(targets.iter().map(|target| target.with_echo(port)).collect())
}

/// A thread, where this program runs. It never sleeps, as the clients never do: to wake it would be
/// counted as the server's work.
fn start() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || serve(&listener));
    Ok(port)
}

fn serve(listener: &TcpListener) -> Result<(), String> {
    let mut poll = Poll::new()?;
    let (mut streams, mut room) = (Vec::new(), vec![0; ROOM]);
    loop {
        for ready in poll.wait(TICK)? {
            let stream: &mut Option<TcpStream> = &mut streams[ready.place];
            if stream.as_mut().is_some_and(|stream| answer(stream, &mut room).is_err()) {
                *stream = None;
            }
        }
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            poll.add(&stream, streams.len())?;
            streams.push(Some(stream));
        }
    }
}

/// What came goes back before anything else is read: the clients always take theirs.
fn answer(stream: &mut TcpStream, room: &mut [u8]) -> io::Result<()> {
    let len = stream.read(room)?;
    let mut left = &room[..len];
    if left.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    while !left.is_empty() {
        match stream.write(left) {
            Ok(len) => left = &left[len..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_goes_back() {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, start().unwrap())).unwrap();
        stream.write_all(b"there and back").unwrap();
        let mut back = [0; 14];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"there and back");
    }
}
