//! The machine on which a text is followed: an address and free ports of its own, and the programs that the text names.

use crate::tools::program;
use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

/// The ports that the texts speak of.
const PORTS: [&str; 6] = ["3000", "4222", "8080", "8081", "8082", "8088"];

/// What is run in the place of the programs that a text names. They are those that the tests are set up with; and what they
/// would do otherwise can't be done here, for the reason beside each.
const STAND_INS: [(&str, &str); 10] = [
    // It would compile for a release.
    (
        "cargo",
        "[ \"$1 $2\" = 'run --release' ] || exit 1
        shift 2
        [ \"$1\" = -- ] && shift
        exec tidings \"$@\"",
    ),
    // Its port may be taken, and a NATS server takes no stream that may grow beyond its disk. It gives a sign of life only
    // after longer than anybody reads a text.
    (
        "tidings",
        "case \" $* \" in *' --nats '*) export TIDINGS_NATS_MAX_BYTES=100000000;; esac
        case \"$1\" in publish | tail) export TIDINGS_URL=http://$TIDINGS;; esac
        export TIDINGS_LISTEN=$TIDINGS TIDINGS_HEARTBEAT=3600
        exec '$PROGRAM' \"$@\"",
    ),
    // Its port may be taken.
    (
        "nats-server",
        "exec '$NATS_SERVER' -a $HOST -p $NATS_PORT \"$@\"",
    ),
    // Its folders may be another user's; and with one process none is left behind when it is killed.
    (
        "nginx",
        "sed -i -e '1i master_process off;' -e 's/^http {$/&$FOLDERS/' nginx.conf
        exec '$NGINX' -e stderr \"$@\"",
    ),
    // These would fetch what the tests have already.
    (
        "npm",
        "[ \"$1 $2\" = 'install --no-save' ] && [ -d '$MODULES'/\"$3\" ] && ln -sfn '$MODULES' node_modules",
    ),
    (
        "pip",
        "[ \"$1\" = install ] && exec '$PYTHON' -m pip show --quiet \"$2\"",
    ),
    ("python3", "exec '$PYTHON' \"$@\""),
    ("node", "exec '$NODE' \"$@\""),
    // In a terminal it shows no progress where only the answer is awaited.
    ("curl", "exec '$CURL' --silent --show-error \"$@\""),
    ("openssl", "exec '$OPENSSL' \"$@\""),
];

/// An address of the machine that nobody else uses, with a free port for each that the texts name.
pub(super) struct Place {
    host: String,
    ports: HashMap<&'static str, String>,
}

impl Place {
    pub(super) fn new() -> Self {
        let [a, b, c] = std::array::from_fn(|_| fastrand::u8(1..=254));
        let host = Ipv4Addr::new(127, a, b, c);
        let free = PORTS.map(|_| TcpListener::bind((host, 0)).expect("a free port"));
        let port = |one: &TcpListener| one.local_addr().expect("its address").port().to_string();
        Self {
            host: host.to_string(),
            ports: PORTS.into_iter().zip(free.iter().map(port)).collect(),
        }
    }

    fn address(&self, port: &str) -> String {
        format!("{}:{}", self.host, self.ports[port])
    }

    /// The text with these in the place of the addresses and ports that it names.
    pub(super) fn put_into(&self, text: &str) -> String {
        let text = text.replace("127.0.0.1", &self.host);
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let end = match first.is_ascii_digit() {
                true => rest
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(rest.len()),
                false => first.len_utf8(),
            };
            let word = &rest[..end];
            out += self.ports.get(word).map_or(word, String::as_str);
            rest = &rest[end..];
        }
        out
    }
}

/// Puts the programs into a folder.
pub(super) fn set_up(bin: &Path, place: &Place) {
    let found = |variable: &str| program(variable).into_string().expect("a plain path");
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders = folders.map(|kind| format!("{kind}_temp_path {kind};"));
    let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/node_modules");
    let words = [
        ("$TIDINGS", place.address("8080")),
        ("$PROGRAM", env!("CARGO_BIN_EXE_tidings").to_owned()),
        ("$NATS_SERVER", found("TIDINGS_TEST_NATS_2_15")),
        ("$HOST", place.host.clone()),
        ("$NATS_PORT", place.ports["4222"].clone()),
        ("$FOLDERS", folders.concat()),
        ("$NGINX", found("TIDINGS_TEST_NGINX")),
        ("$MODULES", modules.to_owned()),
        ("$PYTHON", found("TIDINGS_TEST_PYTHON")),
        ("$NODE", found("TIDINGS_TEST_NODE")),
        ("$CURL", found("TIDINGS_TEST_CURL")),
        ("$OPENSSL", found("TIDINGS_TEST_OPENSSL")),
    ];
    for (name, script) in STAND_INS {
        let script = words
            .iter()
            .fold(script.to_owned(), |script, (word, value)| {
                script.replace(word, value)
            });
        write(&bin.join(name), &format!("#!/bin/sh\n{script}\n"));
    }
}

/// Writes a script that can be run. Another process does it: a program that is open for writing can't be run, and what this
/// one opens is open for a moment in all that other tests start meanwhile.
fn write(path: &Path, script: &str) {
    let written = Command::new("/bin/sh")
        .args(["-c", "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\""])
        .args([path.as_os_str(), script.as_ref()])
        .status()
        .expect("a shell");
    assert!(written.success());
}

/// What a shell in this folder knows.
pub(super) fn environment(folder: &Path, place: &Place) -> Vec<(String, String)> {
    let folder = folder.display();
    let all = [
        ("PATH", format!("{folder}/bin:/usr/bin:/bin")),
        ("HOME", folder.to_string()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("NATS_URL", format!("nats://{}", place.address("4222"))),
    ];
    all.map(|(name, value)| (name.to_owned(), value)).to_vec()
}
