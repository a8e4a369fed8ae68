//! Keys of backends: texts that nobody can guess, of which the server knows the SHA-256 alone.

use super::claims::Claims;
use super::grants::{Grants, InvalidPermissions, Permissions};
use super::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use subtle::ConstantTimeEq;

/// The most keys that there can be: each request with credentials is held against all of them.
pub const MAX_API_KEYS: usize = 1000;
/// What a key begins with, so that those that search for leaked secrets find it.
const PREFIX: &str = "tidings_";

/// A key by its hash: whose it is, and what he may do.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    name: String,
    hash: [u8; 32],
    permissions: Permissions,
}

/// Why a text is no [`ApiKey`]; quotes neither a hash nor what stands in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApiKey {
    /// Not in that form.
    #[error("write `NAME:HASH:PERMISSIONS`, as `tidings token --api-key NAME` prints it")]
    Form,
    /// The name can't be one.
    #[error("its name is empty, or has a control character")]
    Name,
    /// The hash is none.
    #[error(
        "what stands after its name is no SHA-256 in 64 hexadecimal digits; the key itself does not belong there"
    )]
    Hash,
    /// The permissions are wrong.
    #[error(transparent)]
    Permissions(#[from] InvalidPermissions),
    /// In a file: which line.
    #[error("in line {0}: {1}")]
    Line(usize, Box<Self>),
    /// A hash that was there.
    #[error("the key of `{0}` is there twice")]
    Twice(String),
    /// Over [`MAX_API_KEYS`].
    #[error("{0} keys are more than there can be, {MAX_API_KEYS}")]
    TooMany(usize),
}

impl ApiKey {
    /// A new key and its record: 32 bytes of the system's randomness.
    pub fn generate(
        name: &str,
        permissions: Permissions,
    ) -> Result<(Secret, Self), getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let record = Self {
            name: name.to_owned(),
            hash: Sha256::digest(&key).into(),
            permissions,
        };
        Ok((Secret::from(key), record))
    }

    /// Whose it is: the subject of those who show it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What he may do. `{sub}` stands for the name.
    pub fn grants(&self) -> Grants {
        let mut grants = Grants::default();
        let claims = Claims::of_subject(&self.name);
        self.permissions.grant(&claims, &mut grants);
        grants
    }
}

impl FromStr for ApiKey {
    type Err = InvalidApiKey;

    fn from_str(text: &str) -> Result<Self, InvalidApiKey> {
        let mut parts = text.splitn(3, ':').map(str::trim);
        let parts = (parts.next(), parts.next(), parts.next());
        let (Some(name), Some(hash), permissions) = parts else {
            return Err(InvalidApiKey::Form);
        };
        if name.is_empty() || name.contains(char::is_control) {
            return Err(InvalidApiKey::Name);
        }
        let hash = from_hex(hash).ok_or(InvalidApiKey::Hash)?;
        let permissions = permissions.ok_or(InvalidApiKey::Form)?.parse()?;
        Ok(Self {
            name: name.to_owned(),
            hash,
            permissions,
        })
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

/// As it is read.
impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.name)?;
        self.hash
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ":{}", self.permissions)
    }
}

/// Without the hash.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, {})", self.name, self.permissions)
    }
}

/// The keys that there are. One name may have several, as while one is replaced by another.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys(Vec<ApiKey>);

impl ApiKeys {
    /// These keys, each with another hash, at most [`MAX_API_KEYS`].
    pub fn new(keys: Vec<ApiKey>) -> Result<Self, InvalidApiKey> {
        if keys.len() > MAX_API_KEYS {
            return Err(InvalidApiKey::TooMany(keys.len()));
        }
        for (at, key) in keys.iter().enumerate() {
            if keys[..at].iter().any(|other| other.hash == key.hash) {
                return Err(InvalidApiKey::Twice(key.name.clone()));
            }
        }
        Ok(Self(keys))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of those that the next ones do not have, or with other permissions, each once.
    pub fn gone(&self, next: &Self) -> Vec<String> {
        let gone = self.0.iter().filter(|key| !next.0.contains(key));
        let mut names: Vec<String> = gone.map(|key| key.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether the next ones have all of this name, and with the same permissions.
    pub fn stays(&self, next: &Self, name: &str) -> bool {
        let mut its = self.0.iter().filter(|key| key.name == name);
        its.all(|key| next.0.contains(key))
    }

    /// The one whose key this is. Takes as long for a wrong one as for a right one, wherever they differ.
    pub fn find(&self, key: &str) -> Option<&ApiKey> {
        let hash: [u8; 32] = Sha256::digest(key).into();
        let mut found = None;
        for one in &self.0 {
            if bool::from(one.hash.ct_eq(&hash)) {
                found = Some(one);
            }
        }
        found
    }
}

/// The keys of a file, one a line; empty lines, and those that begin with `#`, are left out.
pub fn read_lines(text: &str) -> Result<Vec<ApiKey>, InvalidApiKey> {
    let lines = text.lines().map(str::trim).enumerate();
    let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let read = |(at, line): (usize, &str)| {
        let wrong = |error| InvalidApiKey::Line(at + 1, Box::new(error));
        line.parse().map_err(wrong)
    };
    keys.map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn permissions(text: &str) -> Permissions {
        text.parse().unwrap()
    }

    fn generate(name: &str) -> (Secret, ApiKey) {
        ApiKey::generate(name, permissions("subscribe=a.{sub}.>;publish=b")).unwrap()
    }

    #[test]
    fn a_key_is_found_by_itself_alone() {
        let (billing, record) = generate("billing");
        let (shop, other) = generate("shop");
        let keys = ApiKeys::new(vec![record.clone(), other.clone()]).unwrap();
        assert_eq!(keys.find(billing.expose()), Some(&record));
        assert_eq!(keys.find(shop.expose()), Some(&other));
        for wrong in [
            "",
            "billing",
            &billing.expose()[1..],
            &format!("{} ", shop.expose()),
            &record.to_string(),
        ] {
            assert_eq!(keys.find(wrong), None);
        }
        assert_eq!(record.grants().subscribe, ["a.billing.>".parse().unwrap()]);
    }

    #[test]
    fn a_new_key_has_256_bits_and_its_record_reads_as_it_prints() {
        let (key, record) = generate("billing");
        assert_eq!(key.expose().len(), PREFIX.len() + 43);
        assert_ne!(key, generate("billing").0);
        assert_eq!(record.to_string().parse(), Ok(record.clone()));
        assert!(!record.to_string().contains(key.expose()));
    }

    #[test]
    fn the_hash_is_the_sha_256_of_the_key() {
        // From FIPS 180-2, appendix B.1.
        let record = "x:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD:admin";
        let keys = ApiKeys::new(vec![record.parse().unwrap()]).unwrap();
        assert_eq!(keys.find("abc").map(ApiKey::name), Some("x"));
    }

    #[test]
    fn what_is_wrong_is_said_without_quoting_it() {
        let hash = "ab".repeat(32);
        for (text, expected) in [
            (String::new(), InvalidApiKey::Form),
            ("name".to_owned(), InvalidApiKey::Form),
            (format!("name:{hash}"), InvalidApiKey::Form),
            (format!(":{hash}:admin"), InvalidApiKey::Name),
            ("name:hunter2:admin".to_owned(), InvalidApiKey::Hash),
            (format!("name:+{}:admin", &hash[1..]), InvalidApiKey::Hash),
            (
                format!("name:{hash}:"),
                InvalidApiKey::Permissions(InvalidPermissions::Nothing),
            ),
        ] {
            let error = text.parse::<ApiKey>().unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
        let record: ApiKey = format!("name:{hash}:admin").parse().unwrap();
        assert!(!format!("{record:?}").contains(&hash));
    }

    #[test]
    fn a_file_has_one_a_line_and_an_error_says_which() {
        let (_, record) = generate("billing");
        let text = format!("# keys\n\n  {record}  \r\n#{record}\n");
        assert_eq!(read_lines(&text), Ok(vec![record.clone()]));
        let error = read_lines(&format!("{text}x:y:admin")).unwrap_err();
        assert!(error.to_string().starts_with("in line 5: "), "{error}");
    }

    #[test]
    fn the_same_key_twice_and_too_many_are_refused() {
        let (_, record) = generate("billing");
        let twice = ApiKeys::new(vec![record.clone(); 2]).unwrap_err();
        assert_eq!(twice, InvalidApiKey::Twice("billing".to_owned()));
        let many = ApiKeys::new(vec![record; MAX_API_KEYS + 1]).unwrap_err();
        assert_eq!(many, InvalidApiKey::TooMany(MAX_API_KEYS + 1));
    }

    proptest! {
        #[test]
        fn a_file_is_read_as_it_was_written(
            names in prop::collection::vec("[a-zé@.-]{1,10}", 0..5), ends in "\n|\r\n", between in "(#.{0,9}|[ \t]{0,3})",
        ) {
            let records: Vec<ApiKey> = names.iter().map(|name| generate(name).1).collect();
            let lines = records.iter().map(|record| format!(" {record}\t{ends}{between}{ends}"));
            prop_assert_eq!(read_lines(&lines.collect::<String>()), Ok(records));
        }

        #[test]
        fn no_text_breaks_it_and_an_error_quotes_no_hash(
            text in prop_oneof!["\\PC{0,60}", "[a-z:#\n ]{0,60}", "x:[0-9a-fA-F]{63,65}:(admin|subscribe=[a.*>{}]{0,6}|)"],
        ) {
            match read_lines(&text) {
                Ok(keys) => {
                    let printed: Vec<_> = keys.iter().map(ToString::to_string).collect();
                    prop_assert_eq!(read_lines(&printed.join("\n")), Ok(keys));
                }
                Err(error) => {
                    let error = error.to_string();
                    let hash = text.split(':').nth(1).filter(|hash| hash.len() > 60);
                    prop_assert!(hash.is_none_or(|hash| !error.contains(hash)), "{}", error);
                }
            }
        }
    }
}
