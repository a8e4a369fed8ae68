//! The files that are read again with the settings, and whether what they hold has changed.

use crate::auth::secret::read_file;
use crate::cli::config::Told;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The options that name them.
const OPTIONS: [&str; 3] = ["config", "api-keys-file", "jwt-key-file"];

/// A file, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    option: String,
    path: PathBuf,
    /// A hash of what it held; `None` where it could not be read.
    held: Option<[u8; 32]>,
}

/// The files that these settings name.
pub(super) fn look(told: &[Told]) -> Vec<File> {
    let options = told.iter().filter(|one| OPTIONS.contains(&&*one.name));
    let files = options.flat_map(|one| {
        one.values().map(|path| File {
            option: one.name.clone(),
            path: path.into(),
            held: hash(Path::new(path)),
        })
    });
    files.collect()
}

fn hash(path: &Path) -> Option<[u8; 32]> {
    Some(Sha256::digest(read_file(path).ok()?).into())
}

/// Which were read, and which of them hold something else than before.
pub(super) fn told(before: &[File], now: &[File]) -> String {
    let told = now.iter().map(|file| {
        let File { option, path, .. } = file;
        let new = if before.contains(file) { "" } else { ", new" };
        format!("{} (--{option}{new})", path.display())
    });
    told.collect::<Vec<_>>().join(", ")
}
