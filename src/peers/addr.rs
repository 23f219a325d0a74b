//! A client's address in 19 bytes; the standard library's takes 32, in every connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address and a port, or none. The scope of a link-local address is not kept; and an address of
/// version 4 is one, also where a socket for version 6 shows it as one of its own (RFC 4291 section
/// 2.5.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerAddr {
    kind: Kind,
    port: [u8; 2],
    bytes: [u8; 16],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    V4,
    V6,
}

impl From<Option<SocketAddr>> for PeerAddr {
    fn from(addr: Option<SocketAddr>) -> PeerAddr {
        let (kind, bytes) = match addr.map(|addr| addr.ip().to_canonical()) {
            None => (Kind::None, [0; 16]),
            Some(IpAddr::V4(ip)) => (Kind::V4, ip.to_ipv6_mapped().octets()),
            Some(IpAddr::V6(ip)) => (Kind::V6, ip.octets()),
        };
        let port = addr.map_or(0, |addr| addr.port());
        PeerAddr { kind, port: port.to_be_bytes(), bytes }
    }
}

impl PeerAddr {
    pub(crate) fn get(self) -> Option<SocketAddr> {
        let [.., a, b, c, d] = self.bytes;
        let ip = match self.kind {
            Kind::None => return None,
            Kind::V4 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            Kind::V6 => IpAddr::V6(Ipv6Addr::from(self.bytes)),
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes(self.port)))
    }
}

/// As the log shows it. Port 0 is none: a proxy tells the address alone.
impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            None => f.write_str("a Unix socket"),
            Some(addr) if addr.port() == 0 => addr.ip().fmt(f),
            Some(addr) => addr.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        for text in ["127.0.0.1:8080", "[::1]:65535", "[fe80::1]:0", "0.0.0.0:0"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(PeerAddr::from(Some(addr)).get(), Some(addr));
        }
        let mapped: SocketAddr = "[::ffff:1.2.3.4]:1".parse().unwrap();
        assert_eq!(PeerAddr::from(Some(mapped)).get(), "1.2.3.4:1".parse().ok());
        assert_eq!(PeerAddr::from(None).get(), None);
        assert_eq!(size_of::<PeerAddr>(), 19);
    }

    #[test]
    fn no_port_is_shown_where_there_is_none() {
        for (addr, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:443", "[::1]:443"),
            ("[::ffff:1.2.3.4]:1", "1.2.3.4:1"),
            ("127.0.0.1:0", "127.0.0.1"),
            ("[2001:db8::1]:0", "2001:db8::1"),
        ] {
            assert_eq!(PeerAddr::from(addr.parse().ok()).to_string(), shown);
        }
        assert_eq!(PeerAddr::from(None).to_string(), "a Unix socket");
    }
}
