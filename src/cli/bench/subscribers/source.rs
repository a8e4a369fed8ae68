//! The address to connect from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Connections from one address; the kernel has some 28,000 ports for each by default.
const PER_SOURCE: usize = 20_000;

/// Where connection `number` comes from, if the address that the kernel takes would run out of ports.
pub(super) fn source(target: SocketAddr, number: usize) -> Option<Ipv4Addr> {
    let last = u8::try_from(1 + number / PER_SOURCE).ok()?;
    let target = match target.ip() {
        IpAddr::V4(target) if target.is_loopback() && last > 1 => target,
        _ => return None,
    };
    let [a, b, c, _] = target.octets();
    Some(Ipv4Addr::new(a, b, c, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_to_loopback_come_from_several_addresses() {
        let local = "127.0.0.1:80".parse().unwrap();
        assert_eq!(source(local, 0), None);
        assert_eq!(source(local, 19_999), None);
        assert_eq!(source(local, 20_000), Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(source("192.0.2.1:80".parse().unwrap(), 20_000), None);
    }
}
