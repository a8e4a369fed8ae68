//! An event's type and key: text that is written into a stream's fields.

use std::fmt;
use std::str::FromStr;

/// The longest event type, in bytes of UTF-8.
pub const MAX_TYPE_BYTES: usize = 255;
/// The longest event key, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;

/// The type of an event, `message` by default: what a browser's `addEventListener` is given.
///
/// It has no CR, LF or NUL, is neither `error` nor `open` (which browsers use themselves), and does not
/// begin with `hub:` (which is how the hub speaks).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventType(Option<Box<str>>);

impl EventType {
    /// The type as text.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("message")
    }

    /// Whether it is `message`, which a stream leaves out.
    pub fn is_default(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |text| text.len())
    }
}

impl FromStr for EventType {
    type Err = InvalidMeta;

    fn from_str(text: &str) -> Result<Self, InvalidMeta> {
        check_text(text, MAX_TYPE_BYTES)?;
        match text {
            "" | "message" => Ok(Self(None)),
            "error" | "open" => Err(InvalidMeta::BrowserType(text.into())),
            text if text.starts_with("hub:") => Err(InvalidMeta::HubType),
            text => Ok(Self(Some(text.into()))),
        }
    }
}

/// A publisher's own key for an event: text without CR, LF or NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Box<str>);

impl Key {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = InvalidMeta;

    fn from_str(text: &str) -> Result<Self, InvalidMeta> {
        check_text(text, MAX_KEY_BYTES)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no event type or key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMeta {
    /// CR, LF or NUL, with which a publisher could forge a field of a stream.
    #[error("it has a CR, LF or NUL, which no type or key may have")]
    LineEnd,
    /// A type that browsers dispatch themselves.
    #[error("the type `{0}` is one that browsers dispatch themselves; choose another")]
    BrowserType(String),
    /// A type that begins with `hub:`.
    #[error("types that begin with `hub:` are the hub's own; choose another")]
    HubType,
    /// Over [`MAX_TYPE_BYTES`] or [`MAX_KEY_BYTES`].
    #[error("it has {length} bytes; at most {max} are allowed")]
    TooLong {
        /// Its length.
        length: usize,
        /// The longest allowed.
        max: usize,
    },
}

fn check_text(text: &str, max: usize) -> Result<(), InvalidMeta> {
    if text.len() > max {
        let length = text.len();
        return Err(InvalidMeta::TooLong { length, max });
    }
    match text.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        true => Err(InvalidMeta::LineEnd),
        false => Ok(()),
    }
}
