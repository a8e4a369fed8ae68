//! Where the store's file is, and a way to read it where it can't be written.

use super::trouble::Trouble;
use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{Builder, Database, StorageBackend};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The file's name, and the one that it has while it is made.
const FILE: &str = "log.redb";
const NEW: &str = "log.redb.new";

/// Where the file is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Folder(PathBuf),
    #[cfg(test)]
    Disk(super::tests::Disk),
}

/// Which file it is: its device, and its number there. A file that was removed is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Place {
    /// Whether there is a file yet.
    pub(super) fn is_new(&self) -> Result<bool, Trouble> {
        match self {
            Self::Folder(folder) => Ok(!folder.join(FILE).try_exists()?),
            #[cfg(test)]
            Self::Disk(disk) => Ok(disk.len()? == 0),
        }
    }

    /// Makes the file, with what `begin` puts in; it has its name only once that is on disk.
    pub(super) fn make(
        &self,
        builder: &Builder,
        begin: impl FnOnce(&Database) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        match self {
            Self::Folder(folder) => {
                let new = folder.join(NEW);
                // What is there was left by one who was killed over it.
                match std::fs::remove_file(&new) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(error.into());
                    }
                    _ => {}
                }
                begin(&builder.create(&new)?)?;
                std::fs::rename(new, folder.join(FILE))?;
                Ok(File::open(folder)?.sync_all()?)
            }
            #[cfg(test)]
            Self::Disk(disk) => begin(&builder.create_with_backend(disk.clone())?),
        }
    }

    /// Opens the file.
    pub(super) fn open(&self, builder: &Builder) -> Result<Database, Trouble> {
        match self {
            Self::Folder(folder) => Ok(builder.open(folder.join(FILE))?),
            #[cfg(test)]
            Self::Disk(disk) => Ok(builder.create_with_backend(disk.clone())?),
        }
    }

    /// Which file stands there now.
    pub(super) fn identity(&self) -> Result<Identity, Trouble> {
        match self {
            Self::Folder(folder) => {
                let file = std::fs::metadata(folder.join(FILE));
                let gone = |error| Trouble::untouched(format!("its file is gone ({error})"));
                let file = file.map_err(gone)?;
                Ok(Identity(file.dev(), file.ino()))
            }
            #[cfg(test)]
            Self::Disk(_) => Ok(Identity(0, 0)),
        }
    }

    /// Opens the file as it is, and changes nothing of it.
    pub(super) fn open_untouched(&self, builder: &Builder) -> Result<Database, Trouble> {
        let backend: Box<dyn StorageBackend> = match self {
            Self::Folder(folder) => Box::new(FileBackend::new(File::open(folder.join(FILE))?)?),
            #[cfg(test)]
            Self::Disk(disk) => Box::new(disk.clone()),
        };
        Ok(builder.create_with_backend(Untouched::new(backend)?)?)
    }
}

/// A file that is read, while what is written stays in memory: the store marks a file as being in use even to read it,
/// which a disk that fails does not take.
#[derive(Debug)]
struct Untouched {
    file: Box<dyn StorageBackend>,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    length: u64,
    writes: Vec<(u64, Vec<u8>)>,
}

impl Untouched {
    fn new(file: Box<dyn StorageBackend>) -> io::Result<Self> {
        let changes = Changes {
            length: file.len()?,
            writes: Vec::new(),
        };
        Ok(Self {
            file,
            changes: Mutex::new(changes),
        })
    }
}

impl StorageBackend for Untouched {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let held = self.file.len()?.saturating_sub(offset);
        let held = usize::try_from(held).unwrap_or(usize::MAX).min(out.len());
        let (within, beyond) = out.split_at_mut(held);
        self.file.read(offset, within)?;
        beyond.fill(0);
        for (at, data) in &self.changes.lock().writes {
            let from = (*at).max(offset);
            let to = (at + data.len() as u64).min(offset + out.len() as u64);
            if from < to {
                let place = |base: u64| (from - base) as usize..(to - base) as usize;
                out[place(offset)].copy_from_slice(&data[place(*at)]);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.changes.lock().length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes.lock();
        changes.writes.push((offset, data.to_vec()));
        Ok(())
    }
}
