//! What a certificate says of itself (RFC 5280).

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};

/// What clients look at before they trust a server that shows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The names and addresses of the server.
    pub(crate) names: Vec<String>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// Whether it is one of an authority, which no server may show as its own.
    pub(crate) is_authority: bool,
}

impl Certificate {
    /// Reads one in DER form; `None` where it is none.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let read = x509_cert::Certificate::from_der(der).ok()?.tbs_certificate;
        let names = read.get::<SubjectAltName>().ok()?;
        let names = names.map_or_else(Vec::new, |(_, SubjectAltName(names))| names);
        let authority = read.get::<BasicConstraints>().ok()?;
        let time = |since: Duration| UNIX_EPOCH.checked_add(since);
        Some(Self {
            names: names.iter().filter_map(name).collect(),
            not_before: time(read.validity.not_before.to_unix_duration())?,
            not_after: time(read.validity.not_after.to_unix_duration())?,
            is_authority: authority.is_some_and(|(_, constraints)| constraints.ca),
        })
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(address) => {
            let bytes = address.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}
