//! Certificates and keys in PEM form (RFC 7468), and what is wrong with them in words.

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::{Error, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// All certificates of a file, at least one, in its order.
pub(crate) fn certificates(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file).collect();
    match all {
        Ok(all) if all.is_empty() => Err("it has no certificate in PEM form".to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(reason(error)),
    }
}

/// The same, as the authorities that are trusted.
pub(crate) fn authorities(file: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        let added = roots.add(certificate);
        added.map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

/// The first private key of a file.
pub(crate) fn private_key(file: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(file).map_err(|error| match error {
        Error::NoItemsFound => {
            "it has no private key in PEM form: PKCS#8, PKCS#1 or SEC1, without a passphrase"
                .to_owned()
        }
        error => reason(error),
    })
}

/// The library shows lines of a file as numbers.
fn reason(error: Error) -> String {
    match error {
        Error::MissingSectionEnd { end_marker } => {
            // What the section is of: `CERTIFICATE`.
            let kind = String::from_utf8_lossy(&end_marker);
            format!("it ends before its line `-----END {kind}-----`: part of it is missing")
        }
        // What stands there may be a part of a key.
        Error::IllegalSectionStart { .. } => {
            "a line that begins with `-----BEGIN ` does not end with `-----`".to_owned()
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = include_str!("http/tls/testing/one.pem");
    const KEY: &str = include_str!("http/tls/testing/one.key");

    #[test]
    fn a_half_written_file_is_said_to_be_one() {
        let half = |text: &str| text[..text.len() / 2].to_owned();
        let certificate = certificates(half(CERTIFICATE).as_bytes()).unwrap_err();
        let key = private_key(half(KEY).as_bytes()).unwrap_err();
        for (error, end) in [
            (certificate, "`-----END CERTIFICATE-----`"),
            (key, "`-----END PRIVATE KEY-----`"),
        ] {
            assert!(
                error.starts_with("it ends before") && error.contains(end),
                "{error}"
            );
        }
        let error = certificates(b"-----BEGIN CERTIFICATE\nhunter2").unwrap_err();
        assert!(
            !error.contains('[') && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn a_file_of_something_else_is_told_from_one_that_is_right() {
        assert_eq!(certificates(CERTIFICATE.as_bytes()).unwrap().len(), 1);
        assert!(private_key(KEY.as_bytes()).is_ok());
        assert!(
            certificates(KEY.as_bytes())
                .unwrap_err()
                .contains("no certificate")
        );
        assert!(
            private_key(CERTIFICATE.as_bytes())
                .unwrap_err()
                .contains("no private key")
        );
    }
}
