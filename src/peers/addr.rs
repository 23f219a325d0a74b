//! A client's address in 19 bytes; the standard library's takes 32, in every connection. And how many
//! come from the same one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Peers, find};
use crate::http::request::Request;
use crate::ids::ConnId;

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

/// How many connections come from where, if that is limited.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    most: Option<usize>,
    /// A proxy in front says who they are: then its word counts, and its own address does not.
    by_proxy: bool,
    counts: HashMap<IpAddr, usize>,
}

impl Visitors {
    pub(super) fn new(most: Option<usize>, by_proxy: bool) -> Visitors {
        Visitors { most, by_proxy, counts: HashMap::new() }
    }

    /// Whose connection it is, as far as that is counted. Loopback is the machine itself, or a proxy.
    /// Of an address of version 6 the first half counts: a customer has the other half to choose from.
    fn visitor(&self, addr: PeerAddr) -> Option<IpAddr> {
        self.most?;
        // A proxy tells no port.
        let addr = addr.get().filter(|addr| self.by_proxy == (addr.port() == 0))?;
        match addr.ip() {
            ip if ip.is_loopback() => None,
            IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into()),
            ip => Some(ip),
        }
    }

    /// Whether one connection more from there is too much.
    pub(super) fn are_too_many(&self, addr: PeerAddr) -> bool {
        let (Some(most), Some(visitor)) = (self.most, self.visitor(addr)) else { return false };
        self.counts.get(&visitor).copied().unwrap_or(0) >= most
    }

    pub(super) fn comes(&mut self, addr: PeerAddr) {
        if let Some(visitor) = self.visitor(addr) {
            let count = self.counts.entry(visitor).or_default();
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn goes(&mut self, addr: PeerAddr) {
        let Some(visitor) = self.visitor(addr) else { return };
        if let Entry::Occupied(mut entry) = self.counts.entry(visitor) {
            match entry.get().saturating_sub(1) {
                0 => drop(entry.remove()),
                left => *entry.get_mut() = left,
            }
        }
    }
}

impl Peers {
    /// Whether one more connection from there would be too much.
    pub(crate) fn has_too_many_from(&self, addr: impl Into<PeerAddr>) -> bool {
        self.visitors.are_too_many(addr.into())
    }

    /// A proxy says where a request comes from; if it does not, the request is its own. False if there
    /// are too many from there.
    pub(crate) fn comes_from(&mut self, id: ConnId, named: Option<IpAddr>) -> bool {
        let Some(conn) = find(&mut self.conns, id) else { return false };
        self.visitors.goes(conn.addr);
        conn.addr = match named {
            Some(ip) => Some(SocketAddr::new(ip, 0)).into(),
            None if conn.was_answered() => conn.stream.peer_addr().into(),
            None => conn.addr,
        };
        let too_many = self.visitors.are_too_many(conn.addr);
        self.visitors.comes(conn.addr);
        !too_many
    }

    /// Whether the client's connection is TLS: here, or as far as a proxy in front says so.
    pub(crate) fn is_secure(&self, id: ConnId, request: &Request<'_>) -> bool {
        if self.get(id).is_some_and(|conn| conn.stream.is_tls()) {
            return true;
        }
        let config = &self.config;
        config.secure_proxy || (config.trust_proxy && is_forwarded_from_tls(request))
    }
}

/// Whether the proxy says that the client speaks TLS. Where there are several proxies, the first
/// tells of the client's own connection.
fn is_forwarded_from_tls(request: &Request<'_>) -> bool {
    let list = request.header_bytes("X-Forwarded-Proto").unwrap_or_default();
    let first = list.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
    first.eq_ignore_ascii_case(b"https") || first.eq_ignore_ascii_case(b"wss")
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

    fn addr(text: &str) -> PeerAddr {
        PeerAddr::from(Some(text.parse().unwrap()))
    }

    #[test]
    fn connections_are_counted_by_where_they_come_from() {
        let mut visitors = Visitors::new(Some(2), false);
        for from in ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "[2001:db8::1]:1"] {
            assert!(!visitors.are_too_many(addr(from)), "{from}");
            visitors.comes(addr(from));
        }
        assert!(visitors.are_too_many(addr("[::ffff:192.0.2.1]:3")));
        assert!(!visitors.are_too_many(addr("[2001:db8::ffff]:1")));
        visitors.comes(addr("[2001:db8::ffff]:1"));
        assert!(visitors.are_too_many(addr("[2001:db8::2]:1")));
        assert!(!visitors.are_too_many(addr("[2001:db8:0:1::1]:1")));
        visitors.goes(addr("192.0.2.1:1"));
        assert!(!visitors.are_too_many(addr("192.0.2.1:1")));
        for from in ["192.0.2.1:2", "192.0.2.2:1", "[2001:db8::1]:1", "[2001:db8::ffff]:1"] {
            visitors.goes(addr(from));
        }
        assert!(visitors.counts.is_empty());
    }

    #[test]
    fn the_machine_itself_and_a_proxy_are_not_counted() {
        let mut visitors = Visitors::new(Some(0), false);
        for from in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1"] {
            visitors.comes(addr(from));
            assert!(!visitors.are_too_many(addr(from)), "{from}");
        }
        assert!(!visitors.are_too_many(PeerAddr::from(None)));
        let by_proxy = Visitors::new(Some(0), true);
        assert!(!by_proxy.are_too_many(addr("192.0.2.1:1")));
        assert!(by_proxy.are_too_many(addr("192.0.2.1:0")));
    }
}
