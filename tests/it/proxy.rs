//! Reverse proxies in front of a server, each set up as most people do it.

use crate::tools::{address_of_its_own, program, within};
use std::net::SocketAddr;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Which proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// nginx with a `proxy_pass`, and these directives beside it.
    Nginx(&'static str),
    /// HAProxy, with these timeouts of clients and servers.
    Haproxy(&'static str),
    /// Caddy, with these directives in its `reverse_proxy`.
    Caddy(&'static str),
}

/// nginx's defaults: HTTP/1.0 towards the server, and `proxy_buffering on`.
pub(crate) const NGINX: Kind = Kind::Nginx("");
/// The timeouts that HAProxy's manual starts with.
pub(crate) const HAPROXY: Kind = Kind::Haproxy("50s");
/// One line, as in Caddy's own first example.
pub(crate) const CADDY: Kind = Kind::Caddy("");

/// One process, so that killing it leaves none behind.
pub(crate) const NGINX_PROCESS: &str =
    "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr notice;\n";

/// Has nginx write in the folder where it runs.
pub(crate) fn nginx_folders() -> String {
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {kind};\n"))
        .concat()
}

/// A proxy that runs, or can be started again where it was. Dropping it ends it.
pub(crate) struct Proxy {
    kind: Kind,
    address: SocketAddr,
    folder: TempDir,
    process: Option<Child>,
}

impl Proxy {
    /// One that passes on to `upstream`.
    pub(crate) async fn start(kind: Kind, upstream: SocketAddr) -> Self {
        let address = address_of_its_own();
        Self::with(kind, address, &kind.config(address, upstream)).await
    }

    /// One that listens at `address` with this configuration.
    pub(crate) async fn with(kind: Kind, address: SocketAddr, config: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("config"), config).expect("its configuration");
        let mut proxy = Self {
            kind,
            address,
            folder,
            process: None,
        };
        proxy.run().await;
        proxy
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts it (again), and waits until it listens.
    pub(crate) async fn run(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let mut process = self.command().spawn().expect("the proxy");
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let kind = self.kind;
        let mut said = String::new();
        let listens = async {
            while !said.contains(kind.says_once_it_listens()) {
                let line = lines.next_line().await.expect("text");
                said += &line.unwrap_or_else(|| panic!("{kind:?} ended: {said}"));
            }
        };
        within(&format!("{kind:?} that listens"), listens, String::new).await;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.process = Some(process);
    }

    /// Ends it with all its connections.
    pub(crate) async fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        match self.kind {
            // Its worker ends with it.
            Kind::Haproxy(_) => {
                let id = process.id().expect("it runs").to_string();
                let sent = Command::new("kill").arg(id).status().await;
                assert!(sent.expect("kill").success());
            }
            // These would wait for streams to end.
            Kind::Nginx(_) | Kind::Caddy(_) => process.start_kill().expect("it runs"),
        }
        let ended = within("end of the proxy", process.wait(), String::new);
        ended.await.expect("a status");
    }

    fn command(&self) -> Command {
        let (program_in, arguments): (_, &[&str]) = match self.kind {
            Kind::Nginx(_) => (
                "TIDINGS_TEST_NGINX",
                &["-e", "stderr", "-c", "config", "-p", "."],
            ),
            Kind::Haproxy(_) => ("TIDINGS_TEST_HAPROXY", &["-W", "-db", "-f", "config"]),
            Kind::Caddy(_) => (
                "TIDINGS_TEST_CADDY",
                &["run", "--config", "config", "--adapter", "caddyfile"],
            ),
        };
        let mut command = Command::new(program(program_in));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path()) // where Caddy keeps what it knows
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

impl Kind {
    fn config(self, address: SocketAddr, upstream: SocketAddr) -> String {
        match self {
            Self::Nginx(directives) => {
                let temporary = nginx_folders();
                format!(
                    "{NGINX_PROCESS}events {{}}\nhttp {{\naccess_log off;\n{temporary}\
                     server {{\nlisten {address};\n\
                     location / {{ proxy_pass http://{upstream}; {directives} }}\n}}\n}}\n"
                )
            }
            Self::Haproxy(timeout) => format!(
                "defaults\nmode http\ntimeout connect 5s\ntimeout client {timeout}\ntimeout server {timeout}\n\
                 frontend front\nbind {address}\ndefault_backend tidings\n\
                 backend tidings\nserver replica {upstream}\n"
            ),
            Self::Caddy(directives) => format!(
                "{{\nadmin off\n}}\nhttp://:{} {{\nbind {}\nreverse_proxy {upstream} {{\n{directives}\n}}\n}}\n",
                address.port(),
                address.ip()
            ),
        }
    }

    fn says_once_it_listens(self) -> &'static str {
        match self {
            Self::Nginx(_) => "event method",
            Self::Haproxy(_) => "Loading success",
            Self::Caddy(_) => "serving initial configuration",
        }
    }
}
