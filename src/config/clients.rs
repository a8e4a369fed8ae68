//! Bounds on what a single client may have, and how clients behind proxies are told apart.

use super::number::count;
use ipnet::IpNet;
use std::net::IpAddr;
use std::num::NonZeroU32;

/// What each address and each subject may have and do.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits for each client")]
pub struct ClientSettings {
    /// Connections open at once from one address, and streams, polls and WebSockets open for one, each. Those who come
    /// later are told to come back. This machine's own addresses are not counted; of IPv6 the first 64 bits are.
    #[arg(
        long,
        env = "TIDINGS_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        default_value_t = 10_000,
        value_parser = count::<usize>(1)
    )]
    pub max_connections_per_address: usize,

    /// Streams, polls and WebSockets open at once for one subject of tokens, or one API key.
    #[arg(
        long,
        env = "TIDINGS_MAX_CONNECTIONS_PER_SUBJECT",
        value_name = "N",
        default_value_t = 1_000,
        value_parser = count::<usize>(1)
    )]
    pub max_connections_per_subject: usize,

    /// Events that one subject may publish in a second; one of whom no subject is known, from one address. API keys
    /// and this machine's own addresses may publish as many as they like. More are answered with 429.
    #[arg(long, env = "TIDINGS_PUBLISH_RATE", value_name = "N", default_value_t = per_second(1_000), value_parser = count::<NonZeroU32>(1))]
    pub publish_rate: NonZeroU32,

    /// Events that may come at once after a pause, before that rate holds.
    #[arg(long, env = "TIDINGS_PUBLISH_BURST", value_name = "N", default_value_t = per_second(5_000), value_parser = count::<NonZeroU32>(1))]
    pub publish_burst: NonZeroU32,

    /// Messages that one subject may send in a second over all of its WebSockets, likewise.
    #[arg(long, env = "TIDINGS_MESSAGE_RATE", value_name = "N", default_value_t = per_second(200), value_parser = count::<NonZeroU32>(1))]
    pub message_rate: NonZeroU32,

    /// Messages that may come at once after a pause, before that rate holds.
    #[arg(long, env = "TIDINGS_MESSAGE_BURST", value_name = "N", default_value_t = per_second(1_000), value_parser = count::<NonZeroU32>(1))]
    pub message_burst: NonZeroU32,

    /// Networks of proxies whose word is taken for where a request comes from, as in `10.0.0.0/8`; may be given several
    /// times (in the variable: separated by commas).
    #[arg(
        long,
        env = "TIDINGS_TRUSTED_PROXIES",
        value_name = "NETWORK",
        value_delimiter = ',',
        value_parser = parse_network
    )]
    pub trusted_proxies: Vec<IpNet>,

    /// The header in which these proxies say it, and pass on none of their clients' own.
    #[arg(
        long,
        env = "TIDINGS_FORWARDED_HEADER",
        value_name = "NAME",
        default_value = "x-forwarded-for"
    )]
    pub forwarded_header: ForwardedHeader,
}

/// Where a proxy says for whom it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ForwardedHeader {
    /// Addresses, separated by commas: each proxy adds the one that it was asked by.
    XForwardedFor,
    /// The standard's (RFC 7239).
    Forwarded,
}

const fn per_second(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("it is more than 0")
}

/// A network, or a single address.
fn parse_network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = text.parse::<IpNet>().ok();
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    network.or_else(address).ok_or_else(|| {
        "it is a network or an address, as in 10.0.0.0/8, 192.0.2.1 or fd00::/8".to_owned()
    })
}
