//! What a disk can do to a log.

use crate::log::{AppendError, LogError};
use redb::{DatabaseError, StorageError};
use std::io;

/// What has to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The disk has to be given room.
    Full,
    /// What was read is not what was written: what it was is lost.
    Damage,
    /// The disk may work again.
    Failure,
    /// The same, and nothing was handed to the disk.
    Untouched,
}

/// Why the store can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    /// What it says itself.
    pub(super) reason: String,
}

impl Trouble {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            kind: Kind::Failure,
            reason: reason.into(),
        }
    }

    /// The file is not the store's own any more.
    pub(super) fn untouched(reason: impl Into<String>) -> Self {
        Self {
            kind: Kind::Untouched,
            reason: reason.into(),
        }
    }

    /// What was read is not what was written.
    pub(super) fn damage(what: &str) -> Self {
        Self {
            kind: Kind::Damage,
            reason: format!(
                "the log on disk is damaged: {what}; restore it from a backup, or begin a new one with another --data"
            ),
        }
    }

    /// The store has panicked, as it does over pages that are not what it wrote.
    pub(super) fn panic() -> Self {
        Self::damage("the store can't make sense of it")
    }

    /// For an append of which nothing was stored.
    pub(super) fn not_stored(&self) -> AppendError {
        match self.kind {
            Kind::Full => AppendError::Full(self.reason.clone()),
            Kind::Damage | Kind::Failure | Kind::Untouched => {
                AppendError::NotStored(self.reason.clone())
            }
        }
    }
}

impl From<Trouble> for LogError {
    fn from(trouble: Trouble) -> Self {
        Self::Unavailable(trouble.reason)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            AlreadyExists, FileTooLarge, InvalidData, NotADirectory, NotFound, PermissionDenied,
            QuotaExceeded, ReadOnlyFilesystem, StorageFull, UnexpectedEof,
        };
        let kind = match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Kind::Full,
            _ => Kind::Failure,
        };
        let reason = match error.kind() {
            StorageFull => format!("the disk is full ({error})"),
            QuotaExceeded => format!("the disk quota is used up ({error})"),
            FileTooLarge => format!("the log's file may not grow any more ({error})"),
            ReadOnlyFilesystem => format!("the disk can only be read ({error})"),
            AlreadyExists | NotADirectory => format!("it is no folder ({error})"),
            NotFound => format!("no such folder can be made or used there ({error})"),
            PermissionDenied => format!("it may not be used by this user ({error})"),
            InvalidData | UnexpectedEof => {
                format!("its file is none of this program's, or its beginning is damaged ({error})")
            }
            _ => format!("the disk has failed: {error}"),
        };
        Self { kind, reason }
    }
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => error.into(),
            StorageError::Corrupted(what) => Self::damage(&what),
            // It has failed before, and is to be opened anew.
            error => Self::new(format!("the log on disk can't be used now: {error}")),
        }
    }
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            redb::Error::Corrupted(what) => Self::damage(&what),
            error => Self::new(format!("the log on disk can't be used now: {error}")),
        }
    }
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
            DatabaseError::DatabaseAlreadyOpen => {
                Self::new("another process uses it; each needs a folder of its own")
            }
            DatabaseError::UpgradeRequired(version) => Self::new(format!(
                "its file is of version {version} of the store's own format, which this program does not read: use the tidings that wrote it, or another --data"
            )),
            error => Self::new(format!("the log on disk can't be opened: {error}")),
        }
    }
}
