//! TLS for clients that are played, by rustls.

use std::io::{Read, Write};
use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::net::stream::Stream;
use crate::net::tls::Tls;

/// A certificate, and what its clients trust. Its signatures are all of one length, so that a stream
/// is cut at the same places each time.
static MADE: LazyLock<(Tls, Arc<ClientConfig>)> = LazyLock::new(|| {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let names = vec!["localhost".to_string()];
    let cert = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each handshake is like the first.
    config.resumption = Resumption::disabled();
    let (cert, key) = (cert.pem(), key.serialize_pem());
    (Tls::from_pem(cert.as_bytes(), key.as_bytes()).unwrap(), Arc::new(config))
});

/// The same stream with TLS on it, on the server's side.
pub fn serve(stream: Stream) -> Stream {
    stream.with_tls(Some(&MADE.0)).unwrap()
}

/// A client's side of a session.
pub struct Session {
    session: ClientConnection,
    /// What came of a record that is not whole.
    begun: Vec<u8>,
    /// Bytes of whole records that came.
    position: u64,
}

/// What a record held, and the byte of the stream where it ended.
pub type Record = (Vec<u8>, u64);

impl Session {
    pub fn new() -> Session {
        let name = "localhost".try_into().unwrap();
        let mut session = ClientConnection::new(MADE.1.clone(), name).unwrap();
        session.set_buffer_limit(None);
        Session { session, begun: Vec::new(), position: 0 }
    }

    pub fn is_shaking_hands(&self) -> bool {
        self.session.is_handshaking()
    }

    /// What the client sends when it says this, and what TLS itself has to send.
    pub fn encrypt(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.session.writer().write_all(bytes).unwrap();
        let mut encrypted = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut encrypted).unwrap();
        }
        encrypted
    }

    /// What the records hold that came.
    pub fn decrypt(&mut self, bytes: &[u8]) -> Result<Vec<Record>, String> {
        self.begun.extend_from_slice(bytes);
        let mut records = Vec::new();
        while let &[_, _, _, high, low, ..] = &self.begun[..] {
            let size = 5 + usize::from(u16::from_be_bytes([high, low]));
            let Some(mut record) = self.begun.get(..size) else { break };
            while !record.is_empty() {
                self.session.read_tls(&mut record).unwrap();
            }
            let state = self.session.process_new_packets().map_err(|error| error.to_string())?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.session.reader().read_exact(&mut plain).unwrap();
            self.begun.drain(..size);
            self.position += size as u64;
            records.push((plain, self.position));
        }
        Ok(records)
    }
}
