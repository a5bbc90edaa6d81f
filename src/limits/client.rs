//! Who a client is as far as limits go: its address, or that of its network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A client's address. One IPv6 client has a whole /64 to send from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    V4(Ipv4Addr),
    /// The first half of the address.
    V6(u64),
}

impl Client {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            #[expect(clippy::cast_possible_truncation, reason = "the half of it")]
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }

    /// The other end of the connection; where that is a proxy, whom it says to have heard. Proxies add to
    /// `X-Forwarded-For` behind what they were sent, so its last entry is the proxy's own word, and the others anybody's.
    pub(crate) fn seen(peer: Option<SocketAddr>, forwarded_for: Option<&[u8]>) -> Option<Self> {
        let told = forwarded_for.and_then(|line| std::str::from_utf8(line).ok());
        let last = told.and_then(|line| line.rsplit(',').next()).and_then(|entry| address(entry.trim()));
        last.or(peer.map(|peer| peer.ip())).map(Self::of)
    }
}

/// Proxies write addresses with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let whole = text.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    whole.ok().or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded_for: Option<&str>) -> Option<Client> {
        Client::seen(peer.parse().ok(), forwarded_for.map(str::as_bytes))
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let one = seen("[2001:db8:1:2::1]:5", None);
        assert_eq!(one, seen("[2001:db8:1:2:ffff::9]:6", None));
        assert_ne!(one, seen("[2001:db8:1:3::1]:5", None));
        assert_eq!(seen("[::ffff:192.0.2.1]:5", None), seen("192.0.2.1:7", None));
        assert_ne!(seen("192.0.2.1:5", None), seen("192.0.2.2:5", None));
        assert_eq!(seen("none", None), None);
    }

    #[test]
    fn of_what_a_proxy_tells_its_own_word_counts() {
        let client = seen("192.0.2.1:1", None);
        for told in ["192.0.2.1", "192.0.2.1:80", "10.9.9.9, 192.0.2.1", "x,, 192.0.2.1 ", "::ffff:192.0.2.1"] {
            assert_eq!(seen("127.0.0.1:9", Some(told)), client, "{told:?}");
        }
        let client = seen("[2001:db8::1]:1", None);
        for told in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80", "192.0.2.1, 2001:db8::7"] {
            assert_eq!(seen("127.0.0.1:9", Some(told)), client, "{told:?}");
        }
        // What makes no sense is as good as nothing.
        for told in ["", "unknown", "192.0.2.1, _hidden"] {
            assert_eq!(seen("127.0.0.1:9", Some(told)), seen("127.0.0.1:1", None), "{told:?}");
        }
    }
}
