//! A disk in memory that may lose what was not synced, and may fail.

use fastrand::Rng;
use parking_lot::Mutex;
use redb::StorageBackend;
use std::io;
use std::sync::Arc;

/// See there.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Disk(Arc<Mutex<Image>>);

#[derive(Debug, Default)]
struct Image {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// What was done since.
    since: Vec<Change>,
    /// How many changes are taken until it fails, and how.
    fails: Option<(usize, io::ErrorKind)>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(u64),
    Write(u64, Vec<u8>),
}

impl Change {
    fn make(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(length) => image.resize(*length as usize, 0),
            Self::Write(at, data) => {
                let end = *at as usize + data.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*at as usize..end].copy_from_slice(data);
            }
        }
    }

    /// As it may be left by a loss of power: each sector of it is written, or is not.
    fn torn(&self, random: &mut Rng, image: &mut Vec<u8>) {
        match self {
            Self::Length(_) => self.make(image),
            Self::Write(at, data) => {
                for (number, sector) in data.chunks(512).enumerate() {
                    if random.bool() {
                        Self::Write(at + 512 * number as u64, sector.to_vec()).make(image);
                    }
                }
            }
        }
    }
}

impl Disk {
    pub(super) fn of(image: Vec<u8>) -> Self {
        let image = Image {
            now: image.clone(),
            synced: image,
            ..Image::default()
        };
        Self(Arc::new(Mutex::new(image)))
    }

    pub(super) fn fail_after(&self, changes: usize, how: io::ErrorKind) {
        self.0.lock().fails = Some((changes, how));
    }

    pub(super) fn works_again(&self) {
        self.0.lock().fails = None;
    }

    /// What is on it after a loss of power.
    pub(super) fn after_power_loss(&self, random: &mut Rng) -> Vec<u8> {
        let disk = self.0.lock();
        let mut image = disk.synced.clone();
        for change in &disk.since {
            match random.u8(..4) {
                0 => {}
                1 => change.torn(random, &mut image),
                _ => change.make(&mut image),
            }
        }
        image
    }

    fn change(&self, change: Option<Change>) -> io::Result<()> {
        let mut disk = self.0.lock();
        if let Some((left, how)) = &mut disk.fails {
            if *left == 0 {
                return Err((*how).into());
            }
            *left -= 1;
        }
        match change {
            Some(change) => {
                change.make(&mut disk.now);
                disk.since.push(change);
            }
            None => {
                disk.synced = disk.now.clone();
                disk.since.clear();
            }
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock();
        let at = offset as usize;
        let found = disk.now.get(at..at + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Some(Change::Length(len)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(None)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Some(Change::Write(offset, data.to_vec())))
    }
}
