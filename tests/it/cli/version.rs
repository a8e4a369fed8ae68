//! `--version`, and how a build learns of its commit.

use crate::program::Program;
use crate::tools::program;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use tidings::version::{BUILD, COMMIT, VERSION};

/// build.rs as a program, and a folder with git checkouts to run it in.
struct Build {
    folder: TempDir,
}

/// What it tells cargo.
struct Told {
    build: String,
    watched: BTreeSet<PathBuf>,
}

impl Build {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let mut command = Command::new(rustc);
        command
            .args(["--edition", "2024", "-o"])
            .arg(folder.path().join("build"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/build.rs"));
        let output = command.output().expect("rustc");
        assert!(output.status.success(), "{output:?}");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What git says there, with the system's settings and the user's left out.
    fn git(&self, name: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program("TIDINGS_TEST_GIT"));
        command.args(["-c", "user.name=A", "-c", "user.email=a@example.com"]);
        command.args(arguments).current_dir(self.path(name));
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null");
        let output = command.output().expect("git");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim_end()
            .to_owned()
    }

    /// A checkout with one commit.
    fn checkout(&self, name: &str) {
        std::fs::create_dir(self.path(name)).expect("a folder");
        self.git(
            name,
            &["init", "--quiet", "--initial-branch", "some/branch"],
        );
        self.commit(name);
    }

    fn commit(&self, name: &str) -> String {
        self.git(
            name,
            &[
                "commit",
                "--quiet",
                "--allow-empty",
                "--message",
                "one more",
            ],
        );
        self.git(name, &["rev-parse", "--short", "HEAD"])
    }

    fn run(&self, name: &str, given: Option<&str>) -> Output {
        let mut command = Command::new(self.path("build"));
        command.current_dir(self.path(name)).env_clear();
        command.env("CARGO_PKG_VERSION", "1.2.3");
        let git = PathBuf::from(program("TIDINGS_TEST_GIT"));
        command.env("PATH", git.parent().expect("a folder"));
        command.envs(given.map(|commit| ("TIDINGS_COMMIT", commit)));
        command.output().expect("build.rs")
    }

    fn told(&self, name: &str, given: Option<&str>) -> Told {
        let output = self.run(name, given);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        let of = |key: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(key));
            lines.map(str::to_owned).collect()
        };
        let watched = of("cargo:rerun-if-changed=").into_iter();
        Told {
            build: of("cargo:rustc-env=TIDINGS_BUILD=").concat(),
            watched: watched
                .filter(|path| path != "build.rs")
                .map(|path| self.path(name).join(path))
                .collect(),
        }
    }

    /// The build there is of its last commit, before and after one more, which changes one of the files that it watches.
    fn follows(&self, name: &str) {
        let commit = self.git(name, &["rev-parse", "--short", "HEAD"]);
        let told = self.told(name, None);
        assert_eq!(told.build, format!("1.2.3 ({commit})"));
        let before: Vec<String> = told.watched.iter().map(|path| seen(path)).collect();
        let commit = self.commit(name);
        let after: Vec<String> = told.watched.iter().map(|path| seen(path)).collect();
        assert_ne!(before, after, "{:?}", told.watched);
        let told = self.told(name, None);
        assert_eq!(told.build, format!("1.2.3 ({commit})"));
    }
}

/// What there is of a file, or of all the files in a folder.
fn seen(path: &Path) -> String {
    if path.is_file() {
        return std::fs::read_to_string(path).expect("text");
    }
    let entries = std::fs::read_dir(path).expect("it is there, or cargo would build at each call");
    let parts = entries.map(|entry| entry.expect("an entry").path());
    let parts = parts.map(|path| format!("{}: {}", path.display(), seen(&path)));
    parts.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_program_says_its_version_and_its_commit() {
    let ended = Program::run(&["--version"], b"").await;
    assert_eq!(ended.code(), Some(0));
    assert_eq!(ended.out, format!("tidings {BUILD}\n"));
    let expected = match COMMIT {
        "" => VERSION.to_owned(),
        commit => format!("{VERSION} ({commit})"),
    };
    assert_eq!(BUILD, expected);
}

#[test]
fn a_build_is_of_the_commit_that_is_checked_out() {
    let build = Build::new();
    build.checkout("plain");
    build.follows("plain");
    // A file for all branches, and none for this one.
    build.git("plain", &["pack-refs", "--all"]);
    build.follows("plain");
    build.git("plain", &["checkout", "--quiet", "--detach"]);
    build.follows("plain");
    // Where `.git` is a file.
    build.git(
        "plain",
        &["worktree", "add", "--quiet", "-b", "other", "../beside"],
    );
    build.follows("beside");
    let before = build.told("plain", None);
    build.commit("plain");
    build.git("plain", &["checkout", "--quiet", "some/branch"]);
    assert_ne!(build.told("plain", None).build, before.build);
}

#[test]
fn a_build_from_no_checkout_has_the_version_alone() {
    let build = Build::new();
    std::fs::create_dir(build.path("unpacked")).expect("a folder");
    assert_eq!(build.told("unpacked", None).build, "1.2.3");
    build.checkout("of-others");
    std::fs::create_dir(build.path("of-others/unpacked")).expect("a folder");
    let told = build.told("of-others/unpacked", None);
    assert_eq!((told.build.as_str(), told.watched.len()), ("1.2.3", 0));
}

#[test]
fn the_variable_goes_before_the_checkout() {
    let build = Build::new();
    build.checkout("plain");
    assert_eq!(
        build.told("plain", Some("fedcba9")).build,
        "1.2.3 (fedcba9)"
    );
    // An argument of an image that is not given is empty.
    let commit = build.git("plain", &["rev-parse", "--short", "HEAD"]);
    assert_eq!(
        build.told("plain", Some("")).build,
        format!("1.2.3 ({commit})")
    );
    let refused = build.run("plain", Some("a\ncargo:rustc-env=A=b"));
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("which is no commit"));
}
