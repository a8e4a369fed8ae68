//! Where a request comes from that proxies have passed on.
//!
//! Each proxy adds the address that it was asked by behind those that it was told. So what they say is read from its end
//! on, for as long as it was said by one that is trusted: what stands before that, anybody may have written.

use crate::config::ForwardedHeader;
use ipnet::IpNet;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// The proxies whose word is taken.
#[derive(Clone, Debug)]
pub struct Proxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
}

impl Proxies {
    /// Those in these networks, and where they say whom they were asked by.
    pub fn new(networks: Vec<IpNet>, header: ForwardedHeader) -> Self {
        Self { networks, header }
    }

    /// The name of that header.
    pub fn header(&self) -> &'static str {
        match self.header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        }
    }

    /// Whether the word of this address is taken.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|net| net.contains(&address))
    }

    /// Where a request comes from that came over a connection from `peer`, with these values of the header, in order.
    /// The last address that is known for sure, where a proxy hides the one before or says something unreadable.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        values: impl DoubleEndedIterator<Item = Cow<'a, str>>,
    ) -> Origin {
        let mut address = peer;
        if self.trusts(peer) {
            for value in values.rev() {
                for hop in self.hops(&value) {
                    let Some(before) = hop else {
                        let is_told = false;
                        return Origin { address, is_told };
                    };
                    address = before;
                    if !self.trusts(address) {
                        let is_told = true;
                        return Origin { address, is_told };
                    }
                }
            }
        }
        let is_told = true;
        Origin { address, is_told }
    }

    /// The addresses in one value of the header, from the last on; `None` for each that is none.
    fn hops(&self, value: &str) -> Vec<Option<IpAddr>> {
        match self.header {
            ForwardedHeader::XForwardedFor => value.rsplit(',').map(node).collect(),
            ForwardedHeader::Forwarded => {
                // Lists may have empty elements (RFC 9110, section 5.6.1).
                let is_empty = |one: &&str| one.trim_matches([' ', '\t', ';']).is_empty();
                let elements = elements(value).filter(|one| !is_empty(one));
                elements.map(|one| asked_by(&pairs(one)?)).collect()
            }
        }
    }
}

/// Where a request comes from, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client's address, or that of the last proxy of which one is known.
    pub address: IpAddr,
    /// Whether that proxy has told all that it said so that it can be read.
    pub is_told: bool,
}

/// An address with or without a port, that of IPv6 with or without brackets.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse().ok().filter(IpAddr::is_ipv6)
}

/// The parameter `for` of an element, if it is there once and is an address.
fn asked_by(pairs: &[(String, String)]) -> Option<IpAddr> {
    let mut named = pairs.iter().filter(|(name, _)| name == "for");
    match (named.next(), named.next()) {
        (Some((_, value)), None) => node(value),
        _ => None,
    }
}

/// The elements of a list, from the last on. Read from there they are what proxies have added, whatever a client has
/// written before.
fn elements(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let text = rest?;
        let comma = last_comma(text);
        rest = comma.map(|at| &text[..at]);
        Some(comma.map_or(text, |at| &text[at + 1..]))
    })
}

/// The last comma that is in no quoted string.
fn last_comma(text: &str) -> Option<usize> {
    let mut is_quoted = false;
    text.bytes().enumerate().rev().find_map(|(at, byte)| {
        match byte {
            b'"' if !is_escaped(&text[..at]) => is_quoted = !is_quoted,
            b',' if !is_quoted => return Some(at),
            _ => {}
        }
        None
    })
}

/// Whether what comes after this text is escaped by the backslash at its end.
fn is_escaped(before: &str) -> bool {
    let backslashes = before.bytes().rev().take_while(|&byte| byte == b'\\');
    backslashes.count() % 2 == 1
}

/// The pairs of an element of `Forwarded` (RFC 7239, section 4), with the names in small letters; `None` where it does not
/// keep to the standard.
fn pairs(element: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = element;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        // Elements may have empty pairs.
        if !rest.is_empty() && !rest.starts_with(';') {
            let (pair, after) = pair(rest)?;
            pairs.push(pair);
            rest = after.trim_start_matches([' ', '\t']);
        }
        match rest.strip_prefix(';') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Some(pairs),
            None => return None,
        }
    }
}

/// A pair at the beginning of a text, and what comes after it.
fn pair(text: &str) -> Option<((String, String), &str)> {
    let (name, text) = token(text)?;
    let text = text.strip_prefix('=')?;
    let (value, rest) = match text.strip_prefix('"') {
        Some(text) => quoted(text)?,
        None => token(text).map(|(value, rest)| (value.to_owned(), rest))?,
    };
    Some(((name.to_ascii_lowercase(), value), rest))
}

/// A token (RFC 9110, section 5.6.2) of one character or more; colons and brackets are let pass, which some write bare.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:[]".contains(c);
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// The rest of a quoted string (RFC 9110, section 5.6.4), and what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut all = text.char_indices();
    while let Some((at, c)) = all.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(all.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxies(header: ForwardedHeader) -> Proxies {
        let networks = ["10.0.0.0/8", "fd00::/8", "192.0.2.9/32"];
        Proxies::new(networks.map(|net| net.parse().unwrap()).into(), header)
    }

    fn client(header: ForwardedHeader, peer: &str, values: &[&str]) -> String {
        let peer = peer.parse().unwrap();
        let values = values.iter().copied().map(Cow::Borrowed);
        proxies(header).client(peer, values).address.to_string()
    }

    #[test]
    fn the_last_address_that_no_trusted_proxy_has_is_the_client_s() {
        let of = |peer, values| client(ForwardedHeader::XForwardedFor, peer, values);
        assert_eq!(of("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(of("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(
            of("10.0.0.1", &["6.6.6.6, 198.51.100.7, 10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(
            of("10.0.0.1", &["6.6.6.6", "198.51.100.7", "fd00::2"]),
            "198.51.100.7"
        );
        assert_eq!(of("10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(of("10.0.0.1", &["198.51.100.7:1234"]), "198.51.100.7");
        // All are ours: the first of them has asked.
        assert_eq!(of("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn who_is_not_trusted_is_not_believed() {
        for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            let value = ["6.6.6.6, for=6.6.6.6"];
            assert_eq!(client(header, "203.0.113.5", &value), "203.0.113.5");
            assert_eq!(client(header, "10.0.0.1", &[]), "10.0.0.1");
        }
    }

    #[test]
    fn behind_what_can_t_be_read_nothing_is_believed() {
        let of = |value| client(ForwardedHeader::XForwardedFor, "10.0.0.1", &[value]);
        for value in [
            "6.6.6.6, unknown",
            "6.6.6.6, ",
            "6.6.6.6,[10.0.0.1]",
            "::1%eth0",
        ] {
            assert_eq!(of(value), "10.0.0.1", "{value}");
        }
        assert_eq!(of("6.6.6.6, junk, 192.0.2.9"), "192.0.2.9");
        let of = |value| client(ForwardedHeader::Forwarded, "10.0.0.1", &[value]);
        for value in [
            "for=6.6.6.6, for=unknown",
            "for=6.6.6.6, for=_hidden",
            "for=6.6.6.6, by=10.0.0.2",
            "for=6.6.6.6, for=1.2.3.4;for=1.2.3.5",
            "for=6.6.6.6;, for=\"1.2.3.4",
            "for=6.6.6.6, for",
            "for=6.6.6.6, for = 1.2.3.4",
        ] {
            assert_eq!(of(value), "10.0.0.1", "{value}");
        }
    }

    #[test]
    fn a_client_does_not_spoil_what_proxies_add() {
        for (header, value) in [
            (ForwardedHeader::XForwardedFor, "\u{fffd}, 198.51.100.7"),
            (ForwardedHeader::Forwarded, "for=\"x, for=198.51.100.7"),
            (ForwardedHeader::Forwarded, "a b, for=198.51.100.7"),
            (ForwardedHeader::Forwarded, "\\, for=\"198.51.100.7\""),
            (
                ForwardedHeader::Forwarded,
                "\", for=198.51.100.7;host=\"a\\\",b\"",
            ),
        ] {
            assert_eq!(
                client(header, "10.0.0.1", &[value]),
                "198.51.100.7",
                "{value}"
            );
        }
        let told = |value: &'static str| {
            let peer = "10.0.0.1".parse().unwrap();
            let values = [Cow::Borrowed(value)].into_iter();
            let proxies = proxies(ForwardedHeader::XForwardedFor);
            proxies.client(peer, values).is_told
        };
        let both = (told("198.51.100.7, unknown"), told("junk, 198.51.100.7"));
        assert_eq!(both, (false, true));
    }

    #[test]
    fn the_standard_s_examples_are_read() {
        let of = |values| client(ForwardedHeader::Forwarded, "10.0.0.1", values);
        assert_eq!(
            of(&["For=\"[2001:db8:cafe::17]:4711\""]),
            "2001:db8:cafe::17"
        );
        assert_eq!(
            of(&["for=192.0.2.60;proto=http;by=203.0.113.43"]),
            "192.0.2.60"
        );
        assert_eq!(of(&["for=192.0.2.43, for=198.51.100.17"]), "198.51.100.17");
        assert_eq!(
            of(&[
                "for=192.0.2.43",
                "for=\"10.1.1.1\";secret=\"a, for=6.6.6.6\\\"\""
            ]),
            "192.0.2.43"
        );
    }

    proptest! {
        /// Whatever a client writes: what the proxy next to us adds behind it is what counts.
        #[test]
        fn nothing_written_by_a_client_moves_it(
            written in prop::collection::vec("[ -~\t]{0,40}", 0..4),
            real in any::<u32>().prop_map(std::net::Ipv4Addr::from),
        ) {
            let peer = "10.0.0.1".parse().unwrap();
            let real = IpAddr::from(real);
            for (header, added) in [
                (ForwardedHeader::XForwardedFor, real.to_string()),
                (ForwardedHeader::Forwarded, format!("for={real}")),
            ] {
                let proxies = proxies(header);
                prop_assume!(!proxies.trusts(real));
                let values: Vec<&str> = written.iter().map(String::as_str).chain([added.as_str()]).collect();
                let known = Origin { address: real, is_told: true };
                prop_assert_eq!(proxies.client(peer, values.iter().copied().map(Cow::Borrowed)), known);
                // Appended to the same line, as most do.
                let line = [&written[..], &[added]].concat().join(", ");
                prop_assert_eq!(proxies.client(peer, [Cow::Borrowed(line.as_str())].into_iter()), known);
            }
        }

        /// Elements are read as they were written.
        #[test]
        fn forwarded_is_read_as_it_was_written(
            all in prop::collection::vec(prop::collection::vec(("[a-z]{1,5}", "[ -~]{0,8}"), 1..4), 1..4),
        ) {
            let quote = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
            let element = |pairs: &Vec<(String, String)>| {
                let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", quote(value))).collect();
                pairs.join(";")
            };
            let text: Vec<String> = all.iter().map(element).collect();
            let text = text.join(", ");
            let mut read: Vec<_> = elements(&text).map(pairs).collect();
            read.reverse();
            prop_assert_eq!(read.into_iter().collect::<Option<Vec<_>>>(), Some(all));
        }
    }
}
