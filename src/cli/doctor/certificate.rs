//! The server's certificate: whether it and its key can be used, and clients will take it.

use super::Finding;
use crate::config::TlsSettings;
use crate::http::{Certificate, Tls};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How long before its end a certificate is to be renewed.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What there is to say of it; nothing where the server speaks no TLS.
pub(super) fn look(settings: &TlsSettings) -> Vec<Finding> {
    let chain = match Tls::look(settings.clone()) {
        Ok(chain) => chain,
        Err(error) => return vec![Finding::fail(format!("certificate: {error}"), "")],
    };
    let now = SystemTime::now();
    let chain = chain.iter().enumerate();
    let found = chain.flat_map(|(place, certificate)| match place {
        0 => own(certificate, now),
        _ => issuer(place + 1, certificate, now).into_iter().collect(),
    });
    found.collect()
}

/// The server's own.
fn own(certificate: &Certificate, now: SystemTime) -> Vec<Finding> {
    let mut all = vec![validity("certificate", certificate, now)];
    if certificate.is_authority {
        all.push(Finding::fail(
            "certificate: it is one of an authority (basicConstraints CA:TRUE), which many clients refuse from a server (--tls-cert)",
            "make it with CA:FALSE",
        ));
    }
    all.push(match certificate.names.join(", ") {
        names if names.is_empty() => Finding::fail(
            "certificate: it has no name of the server (subjectAltName), without which clients refuse it (--tls-cert)",
            "make it for the names by which clients reach the server",
        ),
        names => Finding::ok(format!("certificate: it is for {names} (--tls-cert)")),
    });
    all
}

/// One of those that lead to its authority, counted from 1; nothing where all is well.
fn issuer(place: usize, certificate: &Certificate, now: SystemTime) -> Option<Finding> {
    let found = validity(
        &format!("certificate {place} of --tls-cert"),
        certificate,
        now,
    );
    (found.verdict != super::Verdict::Ok).then_some(found)
}

fn validity(what: &str, certificate: &Certificate, now: SystemTime) -> Finding {
    let Certificate {
        not_before,
        not_after,
        ..
    } = *certificate;
    let (from, until) = (shown(not_before), shown(not_after));
    if now < not_before {
        return Finding::fail(
            format!("{what}: it holds from {from} on, and clients refuse it until then"),
            "look at the clock, or make another",
        );
    }
    if now > not_after {
        let text = format!("{what}: it has expired at {until}, and clients refuse it");
        return Finding::fail(text, "renew it");
    }
    match not_after.duration_since(now) {
        Ok(left) if left < SOON => Finding::warn(
            format!("{what}: it expires at {until}, within 14 days"),
            "renew it; the server takes the new one when the files change",
        ),
        _ => Finding::ok(format!("{what}: it and its key fit, until {until}")),
    }
}

fn shown(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn certificate(names: &[&str], is_authority: bool) -> Certificate {
        let day = Duration::from_secs(24 * 3600);
        Certificate {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            not_before: SystemTime::UNIX_EPOCH + day * 100,
            not_after: SystemTime::UNIX_EPOCH + day * 200,
            is_authority,
        }
    }

    #[test]
    fn one_that_clients_refuse_fails_and_one_that_they_soon_will_is_told() {
        for (day, verdict) in [
            (99, Verdict::Fail),
            (101, Verdict::Ok),
            (185, Verdict::Ok),
            (187, Verdict::Warn),
            (201, Verdict::Fail),
        ] {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 24 * 3600);
            let found = own(&certificate(&["h"], false), now);
            assert_eq!(found[0].verdict, verdict, "day {day}: {found:?}");
            let issuer = issuer(2, &certificate(&[], true), now);
            assert_eq!(issuer.is_some(), verdict != Verdict::Ok, "day {day}");
        }
    }

    #[test]
    fn one_of_an_authority_or_without_a_name_fails() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(150 * 24 * 3600);
        let verdicts = |names: &[&str], is_authority| {
            let found = own(&certificate(names, is_authority), now);
            found.iter().map(|one| one.verdict).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&["h"], false), [Verdict::Ok, Verdict::Ok]);
        assert_eq!(verdicts(&[], false), [Verdict::Ok, Verdict::Fail]);
        assert_eq!(
            verdicts(&["h"], true),
            [Verdict::Ok, Verdict::Fail, Verdict::Ok]
        );
    }
}
