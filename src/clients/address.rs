//! Addresses as clients have them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Where a client comes from: an address of IPv4, or the first 64 bits of one of IPv6, of which each subscriber has
/// at least that many (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(IpAddr);

impl Address {
    /// That of a client; `None` on this machine itself, where nobody is held to account.
    pub fn of(address: IpAddr) -> Option<Self> {
        let is_here = address.to_canonical().is_loopback();
        (!is_here).then(|| Self::of_proxy(address))
    }

    /// That of a proxy in the place of clients of whom no more is known, also on this machine.
    pub fn of_proxy(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                let network = address.to_bits() >> 64 << 64;
                Self(Ipv6Addr::from_bits(network).into())
            }
            address => Self(address),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) if address.is_loopback() => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        Address::of(text.parse().unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn a_subscriber_s_network_counts_as_one_address_and_this_machine_as_none() {
        assert_eq!(shown("192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(shown("::ffff:192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(
            shown("2001:db8:1:2:3::4").as_deref(),
            Some("2001:db8:1:2::/64")
        );
        assert_eq!(shown("2001:db8:1:2::"), shown("2001:db8:1:2:ffff::1"));
        for here in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(shown(here), None, "{here}");
        }
        let proxy = |text: &str| Address::of_proxy(text.parse().unwrap()).to_string();
        assert_eq!(
            (proxy("::ffff:127.0.0.1"), proxy("::1")),
            ("127.0.0.1".into(), "::1".into())
        );
    }
}
