//! What is not to be shown.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The largest file that is read as a secret, keys or grants, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A text that is never in a log, a debug output or an answer. What needs it asks for it by name:
/// [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What a file holds, without the line end that editors and `echo` leave. It has to be text, not empty, and at most a
    /// MiB.
    pub fn read(path: &Path) -> Result<Self, UnreadableFile> {
        Self::of(path, read_file(path)?)
    }

    /// The same of what need not be a file that can be read again, such as a pipe: `--token-file <(…)`.
    pub fn read_once(path: &Path) -> Result<Self, UnreadableFile> {
        Self::of(path, read_any(path)?)
    }

    /// The same of a text that may be empty.
    pub(super) fn read_text(path: &Path) -> Result<Self, UnreadableFile> {
        Self::text_of(path, read_file(path)?)
    }

    fn of(path: &Path, bytes: Vec<u8>) -> Result<Self, UnreadableFile> {
        let secret = Self::text_of(path, bytes)?;
        match secret.0.is_empty() {
            true => Err(UnreadableFile::new(path, "it is empty")),
            false => Ok(secret),
        }
    }

    fn text_of(path: &Path, bytes: Vec<u8>) -> Result<Self, UnreadableFile> {
        let text = String::from_utf8(bytes).map_err(|_| {
            let reason = "it is no text; binary secrets are written as `base64:…`";
            UnreadableFile::new(path, reason)
        })?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        Ok(Self(line.to_owned()))
    }
}

/// What a file holds, at most a MiB. It is to be read again while the server runs, so it has to be a regular one: a pipe
/// would have the server wait for whoever writes to it.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, UnreadableFile> {
    let other = std::fs::metadata(path).is_ok_and(|about| !about.is_file());
    match other {
        true => Err(UnreadableFile::new(path, "it is no regular file")),
        false => read_any(path),
    }
}

fn read_any(path: &Path) -> Result<Vec<u8>, UnreadableFile> {
    let unreadable = |reason: String| UnreadableFile::new(path, reason);
    let bytes = read(path).map_err(|error| unreadable(error.to_string()))?;
    match bytes.len() as u64 > MAX_FILE_BYTES {
        true => Err(unreadable(format!("it has over {MAX_FILE_BYTES} bytes"))),
        false => Ok(bytes),
    }
}

/// As much of a file as may be, and a byte more.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} can't be read: {reason}", path.display())]
pub struct UnreadableFile {
    /// The file.
    pub path: PathBuf,
    /// Why not, without what it holds.
    pub reason: String,
}

impl UnreadableFile {
    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Takes any text: an error of the command line would show it.
impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::from("hunter2".to_owned());
        assert_eq!(
            format!("{:?} {:#?}", Some(&secret), [&secret])
                .matches("hunter2")
                .count(),
            0
        );
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_file_is_read_without_its_last_line_end_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (held, expected) in [
            ("a b ", "a b "),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
        ] {
            std::fs::write(&path, held).unwrap();
            assert_eq!(Secret::read(&path).unwrap().expose(), expected);
        }
    }

    #[test]
    fn an_error_names_the_file_and_not_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(
            Secret::read(&path)
                .unwrap_err()
                .to_string()
                .contains("key can't be read")
        );
        for empty in ["", "\n", "\r\n"] {
            std::fs::write(&path, empty).unwrap();
            let error = Secret::read(&path).unwrap_err().to_string();
            assert!(error.ends_with("key can't be read: it is empty"), "{error}");
        }
        std::fs::write(&path, b"hunter\xff").unwrap();
        let error = Secret::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("base64:") && !error.contains("hunter"),
            "{error}"
        );
        std::fs::write(&path, vec![b'a'; (1 << 20) + 1]).unwrap();
        assert!(
            Secret::read(&path)
                .unwrap_err()
                .to_string()
                .contains("over 1048576 bytes")
        );
    }
}
