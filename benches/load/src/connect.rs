//! Connections made, upgraded and closed again.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use crate::client::{dial, frame, is_accepted, read_head, request};
use crate::fleet::Sample;
use crate::server::Server;

/// Connections under way at a time.
const AT_A_TIME: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);
/// A close with status 1000, and its answer.
const NORMAL: [u8; 2] = [0x03, 0xe8];
const CLOSED: [u8; 4] = [0x88, 0x02, 0x03, 0xe8];

/// Opens and closes for so long. A message is a connection here, and a round trip its whole life.
pub fn run(server: &Server, time: Duration) -> Result<Sample, String> {
    let before = server.times();
    let start = Instant::now();
    let mut latencies = Vec::new();
    while start.elapsed() < time {
        let sent = Instant::now();
        lives(server.addr).map_err(|error| format!("a connection: {error}"))?;
        let each = sent.elapsed().as_nanos().min(u32::MAX.into()) as u32;
        latencies.extend([each; AT_A_TIME]);
    }
    let time = start.elapsed();
    sleep(Duration::from_millis(1));
    let used = server.times().since(before);
    Ok(Sample { messages: latencies.len() as u64, time, server: used, latencies })
}

/// All dial, then all are upgraded, then all are closed: so the server always has the next to do.
pub fn lives(addr: SocketAddr) -> io::Result<()> {
    let request = request("/mirror");
    let streams = (0..AT_A_TIME).map(|_| dial(addr, 0)).collect::<io::Result<Vec<TcpStream>>>()?;
    for mut stream in &streams {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
    }
    let close = frame(8, [1, 2, 3, 4], &NORMAL);
    for mut stream in &streams {
        let head = read_head(stream)?;
        if !is_accepted(&head) {
            return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
        }
        stream.write_all(&close)?;
    }
    streams.iter().try_for_each(await_close)
}

/// The answering close, and whether the connection then ends, or is reset where the server does not
/// wait. Then it is reset from here: nothing may be left in TIME_WAIT, or the ports run out.
fn await_close(mut stream: &TcpStream) -> io::Result<()> {
    let mut answer = [0; CLOSED.len()];
    match stream.read_exact(&mut answer) {
        Ok(()) if answer[0] != CLOSED[0] => return Err(io::Error::other("no close came back")),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
        _ => {}
    }
    Ok(set_socket_linger(stream, Some(Duration::ZERO))?)
}
