//! TLS: a session of the server's and rustls as the client, and between them a network that cuts,
//! damages, loses and repeats.
//!
//! Keys and random numbers are others in each run, and so is what is encrypted. Its length is not: the
//! certificate's signatures are all of one length. So a stream is cut at the same places each time.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::net::tls::{Session, Tls};
use crate::net::transfer::Received;

/// A certificate for localhost and its key, which protect nothing.
const PEM: &[u8] = include_bytes!("localhost.pem");
/// Most steps that are taken, and most bytes that one step says: more than a record holds.
const STEPS: usize = 48;
const MOST_SAID: usize = 20_000;

static SERVER: LazyLock<Tls> = LazyLock::new(|| Tls::from_pem(PEM, PEM).unwrap());

/// For TLS 1.3 and 1.2.
static CLIENTS: LazyLock<[Arc<ClientConfig>; 2]> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(PEM).unwrap()).unwrap();
    [&rustls::version::TLS13, &rustls::version::TLS12].map(|version| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let mut config = builder.with_root_certificates(roots.clone()).with_no_client_auth();
        // Each handshake is like the first.
        config.resumption = Resumption::disabled();
        Arc::new(config)
    })
});

/// `mode[1] buffer[1] steps`: whatever the network does, what either side hears is what the other has
/// said, from its beginning on, each byte once and in order. If nothing was damaged, lost or
/// repeated, it is all of it. If something was, the connection ends, unless it made no difference.
///
/// With bit 0 of the mode the client speaks TLS 1.2. With bit 1 its first bytes were read by somebody
/// else. `buffer` is the size of the server's receive buffer. A step has two bytes: the low four bits
/// of the first say what happens, the high four and the second how much of it.
pub fn tls(input: &[u8]) {
    let Some(([mode, buffer], steps)) = input.split_first_chunk::<2>() else { return };
    let mut talk = Talk::new(*mode, *buffer);
    for step in steps.chunks_exact(2).take(STEPS) {
        talk.step(step[0] & 15, usize::from(step[1]) << (step[0] >> 4));
        talk.check();
    }
    talk.finish();
}

/// Byte `place` of all that the client says, or the server.
fn byte(place: usize, of_server: bool) -> u8 {
    (place % if of_server { 241 } else { 251 }) as u8
}

fn bytes(from: usize, count: usize, of_server: bool) -> Vec<u8> {
    (from..from + count).map(|place| byte(place, of_server)).collect()
}

/// What was said and heard in one direction: how many bytes.
#[derive(Default)]
struct Words {
    said: usize,
    heard: usize,
}

impl Words {
    fn hear(&mut self, came: &[u8], of_server: bool) {
        let same =
            came.iter().zip(self.heard..).all(|(&came, place)| came == byte(place, of_server));
        assert!(same, "something else than was said, behind {} bytes", self.heard);
        self.heard += came.len();
    }
}

/// The server's socket: what came and was not read, and what the kernel took and has room for.
#[derive(Default)]
struct Kernel {
    came: VecDeque<u8>,
    ended: bool,
    taken: Vec<u8>,
    room: usize,
}

impl Read for Kernel {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.came.is_empty() && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.came.read(buf)
    }
}

impl Write for Kernel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.room.min(bytes.len());
        if count == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= count;
        self.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Talk {
    server: Session,
    kernel: Kernel,
    receive: Vec<u8>,
    /// What the server says and the session has not taken.
    outbox: Vec<u8>,
    /// The server says nothing more, and has told so.
    closes: bool,
    closed: bool,
    /// The server reads nothing more, since the stream has ended or there was an error; then it writes
    /// nothing more either.
    over: bool,
    broken: bool,

    client: ClientConnection,
    /// Encrypted, and under way to the server.
    sent: Vec<u8>,
    /// The client says nothing more, and has told so; its stream ends, behind this; it failed.
    done: bool,
    takes_leave: bool,
    /// That was in the midst of the handshake.
    left_early: bool,
    /// How often it has changed its keys.
    new_keys: usize,
    ended: bool,
    failed: bool,
    /// The client was told that nothing more comes.
    told: bool,

    up: Words,
    down: Words,
    /// Something was damaged, lost or repeated on its way to the server, or to the client.
    spoilt_up: bool,
    spoilt_down: bool,
    /// Somebody else reads what comes first.
    early: bool,
}

impl Talk {
    fn new(mode: u8, buffer: u8) -> Talk {
        let config = Arc::clone(&CLIENTS[usize::from(mode & 1)]);
        let mut client = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        client.set_buffer_limit(None);
        let mut talk = Talk {
            server: Session::new(&SERVER).unwrap(),
            kernel: Kernel::default(),
            receive: vec![0; 1 + usize::from(buffer).pow(2)],
            outbox: Vec::new(),
            closes: false,
            closed: false,
            over: false,
            broken: false,
            client,
            sent: Vec::new(),
            done: false,
            takes_leave: false,
            left_early: false,
            new_keys: 0,
            ended: false,
            failed: false,
            told: false,
            up: Words::default(),
            down: Words::default(),
            spoilt_up: false,
            spoilt_down: false,
            early: mode & 2 != 0,
        };
        talk.client_writes();
        talk
    }

    fn step(&mut self, what: u8, much: usize) {
        match what {
            0 | 1 => self.client_says(much.min(MOST_SAID)),
            2 => self.server_says(much.min(MOST_SAID)),
            3..=5 => drop(self.bring_up(much)),
            6 | 7 => drop(self.bring_down(much)),
            8 => self.bring_all(),
            9 => self.spoilt_up |= damage(&mut self.sent, much),
            10 => self.spoilt_down |= damage(&mut self.kernel.taken, much),
            11 => self.spoilt_up |= lose_or_repeat(&mut self.sent, much),
            // Of more than 32 in a row rustls thinks that they are an attack.
            12 if self.new_keys < 32 => {
                self.new_keys += 1;
                // Refused in TLS 1.2, and before hands were shaken.
                let _ = self.client.refresh_traffic_keys();
                self.client_writes();
            }
            12 => {}
            13 => {
                self.closes = true;
                self.server_writes();
            }
            14 => {
                self.left_early |= self.client.is_handshaking();
                self.done = true;
                self.takes_leave = true;
                self.client.send_close_notify();
                self.client_writes();
            }
            _ => self.client_ends(much),
        }
    }

    fn client_says(&mut self, count: usize) {
        if self.done || self.failed {
            return;
        }
        let bytes = bytes(self.up.said, count, false);
        self.client.writer().write_all(&bytes).unwrap();
        self.up.said += count;
        self.client_writes();
    }

    fn client_writes(&mut self) {
        while self.client.wants_write() {
            let mut made = Vec::new();
            self.client.write_tls(&mut made).unwrap();
            if !self.ended {
                self.sent.extend(made);
            }
        }
    }

    /// The client's stream ends, without so many of the bytes that are under way.
    fn client_ends(&mut self, less: usize) {
        let less = less.min(self.sent.len());
        self.sent.truncate(self.sent.len() - less);
        self.spoilt_up |= less > 0;
        // What was to follow the handshake is never sent.
        if self.client.is_handshaking() && !self.ended {
            self.up.said = 0;
        }
        self.done = true;
        self.ended = true;
        self.bring_up(0);
    }

    fn server_says(&mut self, count: usize) {
        if self.closes || self.broken {
            return;
        }
        self.outbox.extend(bytes(self.down.said, count, true));
        self.down.said += count;
        self.server_writes();
    }

    /// As an outbox is flushed: until nothing is left, or there is no room.
    fn server_writes(&mut self) {
        if self.broken {
            return;
        }
        loop {
            let (first, second) = self.outbox.split_at(self.outbox.len().min(100));
            let parts = [IoSlice::new(first), IoSlice::new(second)];
            let parts = if self.outbox.is_empty() { &[][..] } else { &parts };
            let written = self.server.write(&mut self.kernel, parts).unwrap();
            assert!(written.bytes <= self.outbox.len());
            self.outbox.drain(..written.bytes);
            if written.blocked {
                let waits = self.kernel.room == 0 || self.server.is_handshaking();
                return assert!(waits, "it waits for room that there is");
            }
            if self.outbox.is_empty() {
                if !self.closes || self.closed || self.server.is_handshaking() {
                    return;
                }
                self.closed = true;
                self.server.close();
            }
        }
    }

    /// So many bytes come to the server, which reads them. True if there were any.
    fn bring_up(&mut self, most: usize) -> bool {
        let came: Vec<u8> = self.sent.drain(..most.min(self.sent.len())).collect();
        let fresh_end = self.ended && self.sent.is_empty() && !self.kernel.ended;
        self.kernel.ended |= fresh_end;
        if self.over || (came.is_empty() && !fresh_end) {
            return !came.is_empty();
        }
        if std::mem::take(&mut self.early) {
            self.server.unread(&came);
        } else {
            self.kernel.came.extend(&came);
        }
        self.server_reads(came.len());
        self.server_writes();
        true
    }

    /// Reads until it is told that nothing more is there: no more is announced then.
    fn server_reads(&mut self, came: usize) {
        // Each read takes a byte at least, or returns one; of some a part was there before.
        for _ in 0..2 * came + 40_000 {
            match self.server.read(&mut self.kernel, &mut self.receive) {
                Ok(Received::Bytes { count, more }) => {
                    assert!(count > 0, "nothing came");
                    self.up.hear(&self.receive[..count], false);
                    if !more && self.has_read_all() {
                        return;
                    }
                }
                Ok(Received::Nothing { more }) => {
                    if !more && self.has_read_all() {
                        return;
                    }
                }
                Ok(Received::Onto { .. }) => panic!("TLS has no landing"),
                Ok(Received::HalfEnd) => panic!("TLS has no such end"),
                Ok(Received::End) => {
                    let ends = self.kernel.ended || self.done;
                    assert!(ends || self.spoilt_up, "an end that nobody sent");
                    self.over = true;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.has_read_all();
                    return;
                }
                Err(error) => {
                    let known = [ErrorKind::InvalidData, ErrorKind::Unsupported];
                    assert!(known.contains(&error.kind()), "{error}");
                    assert!(self.may_fail(), "{error}, though nothing was spoilt");
                    // An alert tells the client.
                    let _ = self.server.write(&mut self.kernel, &[]);
                    (self.over, self.broken) = (true, true);
                    return;
                }
            }
        }
        panic!("it reads for ever");
    }

    /// Something was spoilt; or the client took leave in the midst of the handshake, an error too.
    fn may_fail(&self) -> bool {
        self.spoilt_up || self.spoilt_down || (self.takes_leave && self.server.is_handshaking())
    }

    /// It is said that all was read. That is to be true; only the end is announced by itself.
    fn has_read_all(&self) -> bool {
        assert!(self.kernel.came.is_empty(), "something is left unread");
        !self.kernel.ended
    }

    /// So many bytes more fit into the server's kernel, and those it has come to the client. True if
    /// there were any.
    fn bring_down(&mut self, most: usize) -> bool {
        self.kernel.room = self.kernel.room.saturating_add(most).min(1 << 20);
        self.server_writes();
        let count = most.min(self.kernel.taken.len());
        let came: Vec<u8> = self.kernel.taken.drain(..count).collect();
        self.client_reads(&came);
        self.client_writes();
        count > 0
    }

    fn client_reads(&mut self, mut came: &[u8]) {
        // As the server's session does: see there.
        if self.takes_leave && (self.spoilt_up || self.spoilt_down) {
            return;
        }
        while !came.is_empty() && !self.failed {
            if self.client.read_tls(&mut came).unwrap() == 0 {
                // Told that nothing more comes, it reads nothing.
                return;
            }
            if let Err(error) = self.client.process_new_packets() {
                assert!(self.may_fail(), "{error}, though nothing was spoilt");
                self.failed = true;
            }
            let mut heard = Vec::new();
            match self.client.reader().read_to_end(&mut heard) {
                Ok(_) => self.told = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            self.down.hear(&heard, true);
        }
    }

    /// Everything comes to where it goes, until nothing is under way.
    fn bring_all(&mut self) {
        let quiet = (0..1000).any(|_| {
            let up = self.bring_up(usize::MAX);
            let down = self.bring_down(1 << 20);
            !up && !down
        });
        assert!(quiet, "it never comes to rest");
    }

    fn check(&self) {
        assert!(self.up.heard <= self.up.said && self.down.heard <= self.down.said);
    }

    fn finish(mut self) {
        self.bring_all();
        let agreed = !self.client.is_handshaking() && !self.server.is_handshaking();
        if !self.spoilt_up && !self.spoilt_down {
            assert!(agreed || self.done, "no handshake");
            self.check_all_heard(agreed);
        } else if agreed {
            // A record that is announced as longer than it was is whole only once more has come.
            self.client_says(MOST_SAID);
            self.server_says(MOST_SAID);
            self.bring_all();
            let heard = self.up.heard == self.up.said && self.down.heard == self.down.said;
            let ends = self.over || self.failed || self.done || self.closes;
            assert!(ends || heard, "neither heard nor ended");
            let told = self.over || self.closed || self.spoilt_up;
            assert!(!self.failed || told, "the client's alert is not heard");
        }
        if !self.ended {
            self.client_ends(0);
            self.bring_all();
        }
        assert!(self.over, "the end is not heard");
    }

    /// Nothing was spoilt.
    fn check_all_heard(&self, agreed: bool) {
        if !agreed {
            return;
        }
        let whole = !self.closed && !self.left_early;
        assert!(!whole || self.up.heard == self.up.said, "the server has not heard all");
        assert_eq!(self.down.heard, self.down.said, "the client has not heard all");
        assert!(self.outbox.is_empty() && self.told == self.closed);
    }
}

/// Flips a bit. False if there is none.
fn damage(bytes: &mut [u8], place: usize) -> bool {
    let len = bytes.len().max(1);
    let byte = bytes.get_mut(place % len);
    byte.map(|byte| *byte ^= 1 << (place % 8)).is_some()
}

/// The first bytes of these are lost, or come twice. False if there are none.
fn lose_or_repeat(bytes: &mut Vec<u8>, much: usize) -> bool {
    let first: Vec<u8> = bytes.iter().copied().take(1 + much / 2).collect();
    if much.is_multiple_of(2) {
        bytes.drain(..first.len());
    } else {
        bytes.splice(..0, first.iter().copied());
    }
    !first.is_empty()
}
