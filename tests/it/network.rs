//! A network of a test's own, and a cable in it that loses packets without a word, as no refusal would.

use crate::tools::program;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Set to the name of the test for which a network was made.
const VARIABLE: &str = "TIDINGS_TEST_NETWORK";

/// Whether this runs in a network of its own. Else the test of this name, as in `module::claim`, is run in one, and
/// is done once this returns.
pub(crate) async fn is_own(name: &str) -> bool {
    if std::env::var(VARIABLE).is_ok_and(|own| own == name) {
        ip(&[], &["link", "set", "lo", "up"]);
        return true;
    }
    let test = std::env::current_exe().expect("the tests");
    // Whoever is root in a namespace of users may make networks in it.
    let ended = tokio::process::Command::new(program("TIDINGS_TEST_UNSHARE"))
        .args(["--user", "--map-root-user", "--net"])
        .arg(test)
        .args(["--exact", name, "--include-ignored", "--nocapture"])
        .env(VARIABLE, name)
        .kill_on_drop(true)
        .output()
        .await
        .expect("unshare");
    let lossy = String::from_utf8_lossy;
    let told = format!("{}{}", lossy(&ended.stdout), lossy(&ended.stderr));
    assert!(
        told.contains("1 passed") && ended.status.success(),
        "{told}"
    );
    false
}

/// A cable from this network to another, at the other end of which programs can be run. The network there ends with
/// this, and the cable with it.
pub(crate) struct Cable {
    /// Holds the network at the far end, as long as its standard input is open.
    holder: Child,
}

/// What a cable does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All are lost.
    Both,
    /// Those towards the far end.
    There,
    /// Those from the far end.
    Back,
}

impl Cable {
    pub(crate) const NEAR: &str = "10.0.0.1";
    pub(crate) const FAR: &str = "10.0.0.2";

    /// To be called in a network of one's own.
    pub(crate) fn lay() -> Self {
        let mut holder = Command::new(program("TIDINGS_TEST_UNSHARE"))
            .args(["--net", "sh", "-c", "echo ready && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        let out = holder.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        let cable = Self { holder };
        let id = cable.holder.id().to_string();
        cable.near(&[
            "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", &id,
        ]);
        for (end, address) in [
            (Self::near as fn(&Self, &[&str]), Self::NEAR),
            (Self::far, Self::FAR),
        ] {
            end(
                &cable,
                &["addr", "add", &format!("{address}/24"), "dev", "cable"],
            );
            end(&cable, &["link", "set", "cable", "up"]);
        }
        cable
    }

    /// Loses packets from now on: they are sent to a station that is not there, so that nobody answers them.
    pub(crate) fn lose(&self, loss: Loss) {
        let nobody = [
            "lladdr",
            "02:00:00:00:00:0f",
            "nud",
            "permanent",
            "dev",
            "cable",
        ];
        if loss != Loss::Back {
            self.near(&[&["neigh", "replace", Self::FAR], &nobody[..]].concat());
        }
        if loss != Loss::There {
            self.far(&[&["neigh", "replace", Self::NEAR], &nobody[..]].concat());
        }
    }

    /// Loses none any more.
    pub(crate) fn mend(&self) {
        self.near(&["neigh", "flush", "nud", "permanent", "dev", "cable"]);
        self.far(&["neigh", "flush", "nud", "permanent", "dev", "cable"]);
    }

    /// What runs a program at the far end: a program, and its first arguments.
    pub(crate) fn far_command(&self) -> Vec<OsString> {
        let network = format!("--net=/proc/{}/ns/net", self.holder.id());
        vec![program("TIDINGS_TEST_NSENTER"), network.into()]
    }

    fn near(&self, arguments: &[&str]) {
        ip(&[], arguments);
    }

    fn far(&self, arguments: &[&str]) {
        ip(&self.far_command(), arguments);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Runs `ip`, through another command if there is one.
fn ip(through: &[OsString], arguments: &[&str]) {
    let ip = [program("TIDINGS_TEST_IP")];
    let mut command = through.iter().chain(&ip);
    let ended = Command::new(command.next().expect("a program"))
        .args(command)
        .args(arguments)
        .output()
        .expect("ip runs");
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
}
