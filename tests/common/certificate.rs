//! Certificates for localhost, made anew for each test, and rustls as the client that trusts them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use crate::common::{Client, read_head, request};
use rcgen::CertifiedKey;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls::{StreamOwned, SupportedProtocolVersion};
use wsloop::Version;

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A certificate for localhost that vouches for itself.
pub struct Certificate {
    pub cert: String,
    pub key: String,
    pub der: CertificateDer<'static>,
}

pub fn certificate() -> Certificate {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let der = cert.der().clone();
    Certificate { cert: cert.pem(), key: signing_key.serialize_pem(), der }
}

impl Certificate {
    pub fn client_config(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).unwrap();
        builder.with_root_certificates(roots).with_no_client_auth()
    }

    pub fn session(&self) -> ClientConnection {
        let config = self.client_config(rustls::ALL_VERSIONS);
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
    }

    pub fn connect(&self, addr: SocketAddr) -> Stream {
        StreamOwned::new(self.session(), socket(addr))
    }
}

pub fn socket(addr: SocketAddr) -> TcpStream {
    Client::connect(addr).stream
}

/// Opens a WebSocket on a stream of any kind.
pub fn open(stream: &mut (impl Read + Write)) {
    stream.write_all(&request(Version::Rfc6455, "/mirror", "")).unwrap();
    assert!(read_head(stream).starts_with("HTTP/1.1 101 "));
}

/// Reads as many bytes as are wanted; they must be these.
pub fn expect(stream: &mut impl Read, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    stream.read_exact(&mut got).unwrap();
    assert!(got == bytes, "{} bytes", got.len());
}
