//! deploy/Dockerfile: its last stage is built, and with `--long` its first too.

use super::read;
use crate::program::Program;
use crate::tools::program;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const FINAL: &str = "FROM scratch\n";

/// buildah, with a store of its own.
struct Buildah {
    folder: TempDir,
}

impl Buildah {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        Self { folder }
    }

    /// The folder from which an image is built.
    fn context(&self) -> std::path::PathBuf {
        self.folder.path().join("context")
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program("TIDINGS_TEST_BUILDAH"));
        for (option, name) in [("--root", "root"), ("--runroot", "run")] {
            command.arg(option).arg(self.folder.path().join(name));
        }
        command.args(["--storage-driver", "vfs"]);
        let output = command.args(arguments).output().expect("buildah");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim()
            .to_owned()
    }

    /// Builds the last stage around this program, and returns the image.
    fn build(&self, tidings: &Path) -> String {
        let context = self.context();
        std::fs::create_dir_all(context.join("etc/ssl/certs")).expect("a folder");
        std::fs::create_dir(context.join("data")).expect("a folder");
        std::fs::copy(tidings, context.join("tidings")).expect("a copy");
        let authorities = "etc/ssl/certs/ca-certificates.crt";
        std::fs::copy(Path::new("/").join(authorities), context.join(authorities))
            .expect("Debian's ca-certificates");
        let text = read("Dockerfile");
        let (_, last) = text.split_once(FINAL).expect("a last stage");
        let text = format!("{FINAL}{}", last.replace("--from=build ", ""));
        std::fs::write(context.join("Dockerfile"), text).expect("a file");
        let context = context.to_str().expect("text").to_owned();
        self.run(&[
            "bud",
            "--format",
            "docker",
            "--isolation",
            "chroot",
            "--quiet",
            &context,
        ])
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        // What belongs to other users can't be deleted as a folder is.
        self.run(&["rm", "--all"]);
        self.run(&["rmi", "--all", "--force"]);
    }
}

#[test]
fn its_last_stage_holds_the_program_alone_and_runs_it_as_nobody() {
    let buildah = Buildah::new();
    let stand_in = buildah.folder.path().join("stand-in");
    std::fs::write(&stand_in, "").expect("a file");
    let image = buildah.build(&stand_in);
    let told = buildah.run(&["inspect", "--type", "image", &image]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let config = &told["Docker"]["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/tidings"]));
    let health = serde_json::json!(["CMD", "/tidings", "health"]);
    assert_eq!(config["Healthcheck"]["Test"], health);
    let variables = config["Env"].as_array().expect("variables");
    assert!(
        variables
            .iter()
            .any(|one| one == "TIDINGS_LISTEN=0.0.0.0:8080")
    );
}

/// The first stage's command, with the root of that stage in a folder.
fn build_static(folder: &Path) -> std::path::PathBuf {
    let text = read("Dockerfile").replace("\\\n", " ");
    let line = text.lines().find_map(|line| line.strip_prefix("RUN "));
    let built = folder.join("tidings");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
    let command = line
        .expect("a command")
        .replace(
            "cargo build",
            &format!("cargo build --target-dir {}", target.display()),
        )
        .replace("cp \"target/", &format!("cp \"{}/", target.display()))
        .replace(" /tidings", &format!(" {}", built.display()))
        .replace(" /data", &format!(" {}", folder.join("data").display()));
    let mut shell = Command::new("sh");
    shell
        .args(["-ec", &command])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = shell.output().expect("a shell");
    assert!(output.status.success(), "{command}: {output:?}");
    built
}

#[tokio::test]
#[ignore = "builds the program anew, which takes minutes"]
async fn the_image_serves_with_nothing_but_itself() {
    let folder = TempDir::new().expect("a folder");
    let tidings = build_static(folder.path());
    let buildah = Buildah::new();
    let image = buildah.build(&tidings);
    let container = buildah.run(&["from", &image]);
    let root = buildah.run(&["mount", &container]);
    // As engines of containers do.
    std::fs::write(Path::new(&root).join("etc/hosts"), "127.0.0.1 by-name\n").expect("a file");
    let root = format!("--root={root}");
    let within = ["--user", "--map-root-user", root.as_str(), "/tidings"];
    let unshare = program("TIDINGS_TEST_UNSHARE");
    let unshare = unshare.to_str().expect("text");
    let start = |arguments: &[&str]| Program::other(unshare, &[&within[..], arguments].concat());
    let mut server = start(&["--listen", "127.0.0.1:0"]);
    let address = server.address().await;
    for host in ["127.0.0.1", "by-name"] {
        let url = format!("http://{host}:{}", address.port());
        let ended = start(&["health", "--url", &url]).end().await;
        assert_eq!(ended.code(), Some(0), "{ended:?}");
    }
    let url = format!("http://{address}");
    let published = start(&["publish", "a", "x", "--url", &url]).end().await;
    let read = [
        "tail", "a", "--after", "start", "--count", "1", "--url", &url,
    ];
    let read = start(&read).end().await;
    assert_eq!(
        (published.code(), read.code()),
        (Some(0), Some(0)),
        "{read:?}"
    );
    assert_eq!(
        read.out,
        format!("{}\ta\tmessage\tx\n", published.out.trim_end())
    );
    server.signal("INT").await;
    assert_eq!(server.end().await.code(), Some(0));
    let ended = start(&["health", "--url", &url]).end().await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
}
