//! Files: who can read those that are secret, and the folder of the log.

use super::Finding;
use crate::auth::secret::read_file;
use crate::cli::Serve;
use crate::cli::config::Told;
use clap::{Args, Command};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Files that are for everyone's eyes.
const PUBLIC: [&str; 3] = ["nats-ca", "nats-cert", "tls-cert"];
/// A file of hashes, which nobody can make anything of, but change.
const HASHES: &str = "api-keys-file";
/// The bits of a mode that are everyone's, and the one with which everyone may change a file.
const EVERYONE: u32 = 0o007;
const CHANGE: u32 = 0o002;

/// Who can read and write the files that may have secrets in them.
pub(super) fn secrets(told: &[Told]) -> Vec<Finding> {
    let options = Serve::augment_args(Command::new("tidings"));
    let is_file = |name: &str| {
        let mut options = options.get_opts();
        let option = options.find(|one| one.get_long() == Some(name));
        let names = option.and_then(|option| option.get_value_names());
        names.is_some_and(|names| names.iter().any(|name| name == "FILE"))
    };
    let files = told.iter().filter(|one| {
        is_file(&one.name)
            && !PUBLIC.contains(&&*one.name)
            && (one.name != "config" || told.iter().any(Told::is_secret_in_file))
    });
    let paths = files.flat_map(|one| one.values().map(move |path| (&*one.name, Path::new(path))));
    paths.map(|(name, path)| secret(name, path)).collect()
}

fn secret(name: &str, path: &Path) -> Finding {
    let shown = path.display();
    let looked = read_file(path).map_err(|error| error.reason).and_then(|_| {
        let about = std::fs::metadata(path);
        about.map_err(|error| error.to_string())
    });
    match looked.map(|about| about.permissions()) {
        Err(reason) => Finding::fail(
            format!("{shown} can't be read (--{name}): {reason}"),
            "let the user of the server read it",
        ),
        Ok(mode) if name == HASHES && mode.mode() & CHANGE != 0 => Finding::warn(
            format!(
                "{shown} says whose keys are taken (--{name}), and every user of this machine can change it"
            ),
            format!("chmod o-w '{shown}'"),
        ),
        Ok(mode) if name != HASHES && is_open(&mode) && !is_public_key(path) => Finding::warn(
            format!(
                "{shown} may have a secret in it (--{name}), and every user of this machine can read or change it"
            ),
            format!("chmod o= '{shown}'"),
        ),
        Ok(_) => Finding::ok(format!("{shown} can be read (--{name})")),
    }
}

fn is_open(mode: &Permissions) -> bool {
    mode.mode() & EVERYONE != 0
}

/// Whether it is a key in a form that only public ones have here.
fn is_public_key(path: &Path) -> bool {
    let text = std::fs::read(path).unwrap_or_default();
    text.trim_ascii_start()
        .starts_with(b"-----BEGIN PUBLIC KEY")
}

/// Whether the log can be in a folder.
pub(super) fn data(folder: &Path) -> Finding {
    let shown = folder.display();
    // One that is not there is made by the server.
    let Some(there) = folder.ancestors().find(|one| one.exists()) else {
        return Finding::fail(
            format!("{shown} can't be made (--data)"),
            "name another folder",
        );
    };
    let there = match there.as_os_str().is_empty() {
        true => Path::new("."),
        false => there,
    };
    let probe = there.join(format!(".tidings-doctor-{}", fastrand::u64(..)));
    let written = File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe));
    if let Err(error) = written {
        return Finding::fail(
            format!("{shown} can't be written to (--data): {error}"),
            "let the user of the server write there, or name another folder",
        );
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let path = there.canonicalize().unwrap_or_else(|_| there.to_owned());
    let kind = file_system(&mounts, &path).unwrap_or("an unknown file system");
    let what = format!("{shown} can be written to, on {kind} (--data)");
    let other = "name a folder on a disk of this machine";
    match kind {
        "tmpfs" | "ramfs" => {
            Finding::warn(format!("{what}: it is gone when the machine stops"), other)
        }
        "overlay" => Finding::warn(
            format!("{what}: it is gone with its container"),
            "mount a volume there",
        ),
        "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "9p" => Finding::warn(
            format!("{what}: whether an event is on disk is up to another machine"),
            other,
        ),
        kind if kind.starts_with("fuse") => Finding::warn(
            format!("{what}: whether an event is on disk is up to another program"),
            other,
        ),
        _ => Finding::ok(what),
    }
}

/// The file system on which a path is, by `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let point = Path::new(mount.split(' ').nth(4)?);
        path.starts_with(point)
            .then(|| Some((point.components().count(), rest.split(' ').next()?)))?
    });
    // Of two at the same point the later hides the earlier.
    mounts.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount() {
        let mounts = "22 1 0:20 / / rw,relatime shared:1 - overlay overlay rw\n\
            23 22 0:21 / /data rw - ext4 /dev/sda rw\n\
            24 22 0:22 / /data/tmp rw - tmpfs tmpfs rw\n";
        for (path, kind) in [
            ("/data/log", "ext4"),
            ("/data/tmp/x", "tmpfs"),
            ("/database", "overlay"),
        ] {
            assert_eq!(file_system(mounts, Path::new(path)), Some(kind), "{path}");
        }
        assert_eq!(file_system("", Path::new("/")), None);
    }

    #[test]
    fn a_folder_that_can_be_made_is_fine_and_one_below_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_ne!(data(&folder.path().join("a/b")).verdict, Verdict::Fail);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(data(&file.join("x")).verdict, Verdict::Fail);
    }
}
