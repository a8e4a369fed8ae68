//! Where the store's file is, and a way to read it where it can't be written.

use super::trouble::Trouble;
use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{Builder, Database, StorageBackend};
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// The file's name.
const FILE: &str = "log.redb";

/// Where the file is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Folder(PathBuf),
    #[cfg(test)]
    Disk(super::tests::Disk),
}

impl Place {
    /// Opens the file, or makes it.
    pub(super) fn open(&self, builder: &Builder) -> Result<Database, Trouble> {
        match self {
            Self::Folder(folder) => {
                let database = builder.create(folder.join(FILE))?;
                // The file's name is to last as well.
                File::open(folder)?.sync_all()?;
                Ok(database)
            }
            #[cfg(test)]
            Self::Disk(disk) => Ok(builder.create_with_backend(disk.clone())?),
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
