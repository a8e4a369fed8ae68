//! Finds the commit that the program is built from, for `tidings --version`: that of `TIDINGS_COMMIT`, or of the git
//! checkout that this is, or none.

use std::path::{Path, PathBuf};
use std::process::Command;

/// For a build without the checkout, as in an image.
const VARIABLE: &str = "TIDINGS_COMMIT";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    let version = std::env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    let commit = given().or_else(checked_out).unwrap_or_default();
    let build = match commit.as_str() {
        "" => version,
        commit => format!("{version} ({commit})"),
    };
    println!("cargo:rustc-env={VARIABLE}={commit}");
    println!("cargo:rustc-env=TIDINGS_BUILD={build}");
}

fn given() -> Option<String> {
    let commit = std::env::var(VARIABLE).ok()?;
    let is_one = commit.chars().all(|c| c.is_ascii_alphanumeric());
    assert!(is_one, "{VARIABLE} is {commit:?}, which is no commit");
    (!commit.is_empty()).then_some(commit)
}

/// The commit of the checkout whose root this is. One that this merely lies in, as an unpacked package may, is not its own.
fn checked_out() -> Option<String> {
    if !git(&["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    watch();
    Some(commit)
}

/// Has this run again when another commit is checked out, or one is made. In a worktree the files are elsewhere.
fn watch() {
    let place = |name: &str| git(&["rev-parse", "--git-path", name]).map(PathBuf::from);
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"]);
    let head = place("HEAD");
    let packed = place("packed-refs").filter(|path| path.exists());
    // A branch that stands among the packed ones has no file: the folder changes when it gets one.
    let branch = branch.as_deref().and_then(place);
    let branch = branch.as_deref().and_then(nearest);
    for path in [head, packed, branch].into_iter().flatten() {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

/// This, or of what it is in the first that is there. What is not there would have this run at each build.
fn nearest(path: &Path) -> Option<PathBuf> {
    let found = path.ancestors().find(|path| path.exists());
    found.map(Path::to_owned)
}

/// What git says, where it is there and does what it is asked for.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim_end().to_owned())
}
