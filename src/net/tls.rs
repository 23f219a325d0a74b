//! TLS (RFC 8446 and RFC 5246), by rustls: certificates, and one session for each client. Nothing
//! here knows a socket; bytes are read from and written to whatever the stream hands in.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::warn;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::transfer::{Received, Written};

/// Most encrypted bytes that a session keeps for a client that does not read. Messages wait in the
/// backlog, within its usual limit.
const MAX_UNSENT: usize = 64 * 1024;

/// A certificate and its private key: what [`Config::tls`](crate::Config::tls) needs for `wss`.
///
/// TLS 1.3 and 1.2 are spoken, with the cipher suites that rustls considers safe; HTTP/1.1 is
/// agreed on by ALPN (RFC 7301), and clients are not asked for certificates. Clones share the
/// certificate.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    /// The paths of certificate and key, if they came from files.
    files: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Reads PEM files: the certificate, followed by those that vouch for it, and its private key,
    /// in PKCS#8, PKCS#1 or SEC 1. Both may be the same file.
    ///
    /// A key that every user of the system may read is taken, and the log warns of it.
    ///
    /// # Errors
    /// If a file cannot be read; [`InvalidData`](io::ErrorKind::InvalidData) if it has no
    /// certificate or no key, or if the two do not belong together. The text names the file.
    pub fn from_files(cert: impl AsRef<Path>, key: impl AsRef<Path>) -> io::Result<Tls> {
        let (cert, key) = (cert.as_ref(), key.as_ref());
        let named = |path: &Path, error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        let read = |path: &Path| std::fs::read(path).map_err(|error| named(path, error));
        let chain = certificates(&read(cert)?).map_err(|error| named(cert, error))?;
        let secret = private_key(&read(key)?).map_err(|error| named(key, error))?;
        let mut tls = Tls::new(chain, secret).map_err(|error| named(key, error))?;
        tls.files = Some((cert.to_owned(), key.to_owned()));
        if is_open_to_everybody(key) {
            warn!("{}: everybody may read this private key: chmod o-r", key.display());
        }
        Ok(tls)
    }

    /// The same, from PEM text that the program has in memory.
    ///
    /// # Errors
    /// As [`from_files`](Tls::from_files), but none of them names a file.
    pub fn from_pem(cert: &[u8], key: &[u8]) -> io::Result<Tls> {
        Tls::new(certificates(cert)?, private_key(key)?)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> io::Result<Tls> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let mut config = builder
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(invalid)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { config: Arc::new(config), files: None })
    }

    /// Reads the files again.
    pub(crate) fn reloaded(&self) -> io::Result<Tls> {
        match &self.files {
            Some((cert, key)) => Tls::from_files(cert, key),
            None => Err(io::Error::new(io::ErrorKind::Unsupported, "it came from no file")),
        }
    }

    /// Whether there are files to be read again.
    #[cfg(feature = "cli")]
    pub(crate) fn is_from_files(&self) -> bool {
        self.files.is_some()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Whether users may read a file who neither own it nor are of its group.
fn is_open_to_everybody(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o004 != 0)
}

fn certificates(text: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(invalid("no certificate in it (PEM)")),
        chain => chain.map_err(invalid),
    }
}

fn private_key(text: &[u8]) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => invalid("no private key in it (PEM: PKCS#8, PKCS#1 or SEC 1)"),
        error => invalid(error),
    })
}

fn invalid(error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// One client's TLS.
pub(crate) struct Session(Box<Inner>);

#[derive(Debug)]
struct Inner {
    conn: ServerConnection,
    /// Something has come from the client.
    begun: bool,
    /// It was said that no more will come.
    closed: bool,
    /// Bytes that were encrypted and not all written yet: they count as taken when they are.
    owed: usize,
    /// What somebody else has read from the socket.
    early: Vec<u8>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("owed", &self.0.owed).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(tls: &Tls) -> io::Result<Session> {
        let mut conn = ServerConnection::new(Arc::clone(&tls.config)).map_err(invalid)?;
        conn.set_buffer_limit(Some(MAX_UNSENT));
        Ok(Session(Box::new(Inner {
            conn,
            begun: false,
            closed: false,
            owed: 0,
            early: Vec::new(),
        })))
    }

    /// Keeps what was already read from the client's socket; the next read returns it.
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        self.0.early.extend_from_slice(bytes);
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.0.conn.is_handshaking()
    }

    /// Reads from the socket once at most, and returns what comes of it. Errors are the socket's,
    /// those that [`Stream::read`](crate::net::stream::Stream::read) names, and `InvalidData` for
    /// bytes that are not valid TLS; then an alert is to be written. The end of the socket counts
    /// as the end of the stream, since frames and requests tell by themselves whether they are
    /// whole.
    pub(crate) fn read(&mut self, socket: &mut dyn Read, buf: &mut [u8]) -> io::Result<Received> {
        let inner = &mut *self.0;
        match inner.conn.reader().read(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) => return Ok(Received::End),
            left => return left.map(|count| Received::Bytes { count, more: true }),
        }
        let (came, may_follow) = inner.read_socket(socket, buf)?;
        if came == 0 {
            return Ok(Received::End);
        }
        // Behind our goodbye only the end counts. If these bytes are wrong, rustls would have to send an
        // alert behind it, and its debug builds panic (0.23.46).
        if inner.closed {
            return Ok(Received::Nothing { more: may_follow });
        }
        if !std::mem::replace(&mut inner.begun, true)
            && buf.first().is_some_and(u8::is_ascii_uppercase)
        {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (bytes, left) = inner.decrypt(buf, came)?;
        let more = may_follow || left;
        Ok(match bytes {
            0 => Received::Nothing { more },
            count => Received::Bytes { count, more },
        })
    }

    /// Encrypts as much of these parts as it has room for, and writes. They count as taken once
    /// nothing of them is left here.
    pub(crate) fn write(
        &mut self,
        socket: &mut dyn Write,
        parts: &[IoSlice<'_>],
    ) -> io::Result<Written> {
        let inner = &mut *self.0;
        let mut taken = inner.write_socket(socket)?;
        let idle = inner.owed == 0 && !inner.conn.wants_write() && !inner.conn.is_handshaking();
        if idle && !parts.is_empty() {
            inner.owed = inner.conn.writer().write_vectored(parts)?;
            taken = taken.saturating_add(inner.write_socket(socket)?);
        }
        if inner.conn.wants_write() {
            return Ok(Written { bytes: 0, blocked: true, taken });
        }
        let bytes = std::mem::take(&mut inner.owed);
        Ok(Written { bytes, blocked: bytes == 0 && !parts.is_empty(), taken })
    }

    /// Says with the next write that no more will come. What comes from the client is dropped then.
    pub(crate) fn close(&mut self) {
        self.0.closed = true;
        self.0.conn.send_close_notify();
    }
}

impl Inner {
    /// Returns how much came, and whether more may follow at once.
    fn read_socket(&mut self, socket: &mut dyn Read, buf: &mut [u8]) -> io::Result<(usize, bool)> {
        if self.early.is_empty() {
            let came = socket.read(buf)?;
            return Ok((came, came == buf.len()));
        }
        let len = self.early.as_slice().read(buf)?;
        self.early.drain(..len);
        self.early.shrink_to_fit();
        Ok((len, true))
    }

    /// Decrypts the first `came` bytes of a buffer in place. Returns how many bytes that makes, and
    /// whether there is more, or the end, behind them.
    ///
    /// There is room, since what was decrypted lies before what was not. Only a record of which a
    /// part had come before may need more, and there is never more than one of those in the session
    /// (16 KiB, the most that it keeps).
    fn decrypt(&mut self, buf: &mut [u8], came: usize) -> io::Result<(usize, bool)> {
        let (mut taken, mut bytes, mut more) = (0_usize, 0_usize, false);
        while taken < came {
            let step = self.conn.read_tls(&mut buf.get(taken..came).unwrap_or_default())?;
            taken = taken.saturating_add(step);
            let state = self.conn.process_new_packets();
            let state = state.map_err(|error| invalid(format_args!("TLS: {error}")))?;
            let fits = state.plaintext_bytes_to_read().min(taken.saturating_sub(bytes));
            let end = bytes.saturating_add(fits);
            self.conn.reader().read_exact(buf.get_mut(bytes..end).unwrap_or_default())?;
            bytes = end;
            more = fits < state.plaintext_bytes_to_read() || state.peer_has_closed();
            if step == 0 {
                break;
            }
        }
        Ok((bytes, more))
    }

    /// Returns how many bytes the socket has taken.
    fn write_socket(&mut self, socket: &mut dyn Write) -> io::Result<usize> {
        let mut taken = 0_usize;
        while self.conn.wants_write() {
            match self.conn.write_tls(socket) {
                Ok(bytes) => taken = taken.saturating_add(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_open_to_nobody() {
        assert!(!is_open_to_everybody(Path::new("/")));
        assert!(!is_open_to_everybody(Path::new("/dev/null")));
        assert!(!is_open_to_everybody(Path::new("/nowhere")));
    }
}
