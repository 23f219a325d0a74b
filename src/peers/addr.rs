//! A client's address in 19 bytes; the standard library's takes 32, in every connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address and a port, or none. The scope of a link-local address is not kept.
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
        let (kind, bytes) = match addr.map(|addr| addr.ip()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        for text in ["127.0.0.1:8080", "[::1]:65535", "[::ffff:1.2.3.4]:1", "[fe80::1]:0"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(PeerAddr::from(Some(addr)).get(), Some(addr));
        }
        assert_eq!(PeerAddr::from(None).get(), None);
        assert_eq!(size_of::<PeerAddr>(), 19);
    }
}
