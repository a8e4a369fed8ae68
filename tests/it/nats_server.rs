//! A real nats-server for a test, on a port and in a folder of its own, killed when dropped.

use crate::network::Cable;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tidings::config::{CreateStream, NatsSettings};

/// Runs each claim against both servers.
macro_rules! on_both {
    ($($claim:ident),* $(,)?) => {
        mod on_2_9 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                super::$claim(crate::nats_server::Version::V2_9).await;
            })*
        }
        mod on_2_15 {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                super::$claim(crate::nats_server::Version::V2_15).await;
            })*
        }
    };
}

const JETSTREAM: &str = "jetstream { store_dir: $STORE }";
/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

/// Which nats-server: the oldest that is supported, and today's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V2_9,
    V2_15,
}

impl Version {
    /// The module of the tests that `on_both` makes for it.
    pub(crate) fn module(self) -> &'static str {
        match self {
            Self::V2_9 => "on_2_9",
            Self::V2_15 => "on_2_15",
        }
    }

    fn binary(self) -> PathBuf {
        let variable = match self {
            Self::V2_9 => "TIDINGS_TEST_NATS_2_9",
            Self::V2_15 => "TIDINGS_TEST_NATS_2_15",
        };
        crate::tools::program(variable).into()
    }
}

/// A server that runs, or can be started again on the same port.
pub(crate) struct NatsServer {
    version: Version,
    pub(crate) dir: tempfile::TempDir,
    config: String,
    /// The server's own name, where its settings give one.
    pub(crate) name: String,
    host: &'static str,
    /// The command that its own is given to, where it runs elsewhere.
    through: Vec<OsString>,
    port: Option<u16>,
    child: Option<Child>,
}

impl NatsServer {
    /// A server with JetStream.
    pub(crate) fn start(version: Version) -> Self {
        Self::with(version, JETSTREAM)
    }

    /// A server with these settings, in which `$STORE` and `$DIR` stand for folders of its own.
    pub(crate) fn with(version: Version, config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder for nats-server");
        Self::within(version, dir, config)
    }

    /// The same, in a folder that has files for it.
    pub(crate) fn within(version: Version, dir: tempfile::TempDir, config: &str) -> Self {
        let mut server = Self::new(version, dir, config);
        server.run();
        server
    }

    /// A server with JetStream at the other end of a cable.
    pub(crate) fn beyond(cable: &Cable, version: Version) -> Self {
        let dir = tempfile::tempdir().expect("a folder for nats-server");
        let mut server = Self::new(version, dir, JETSTREAM);
        server.host = Cable::FAR;
        server.through = cable.far_command();
        server.run();
        server
    }

    fn new(version: Version, dir: tempfile::TempDir, config: &str) -> Self {
        Self {
            version,
            dir,
            config: config.to_owned(),
            name: config
                .lines()
                .find_map(|line| line.strip_prefix("server_name: "))
                .unwrap_or_default()
                .to_owned(),
            host: "127.0.0.1",
            through: Vec::new(),
            port: None,
            child: None,
        }
    }

    /// Starts it (again), on the port that it had.
    pub(crate) fn run(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let quoted = |path: &Path| format!("{:?}", path.to_str().expect("a plain path"));
        let config = self
            .config
            .replace("$STORE", &quoted(&self.store()))
            .replace("$DIR", self.dir.path().to_str().expect("a plain path"));
        let port = self.port.map_or(-1, i32::from);
        let file = self.dir.path().join("nats.conf");
        let host = self.host;
        let text = format!("listen: \"{host}:{port}\"\n{config}\n");
        std::fs::write(&file, text).expect("the configuration is written");
        let binary = self.version.binary();
        let mut command = match &self.through[..] {
            [] => Command::new(binary),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
        };
        let mut child = command
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .expect("nats-server starts");
        let log = BufReader::new(child.stderr.take().expect("it was piped"));
        self.child = Some(child);
        let (ready, waiting) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = Vec::new();
            for line in log.lines().map_while(Result::ok) {
                let is_ready = line.contains("Server is ready");
                lines.push(line);
                if is_ready {
                    let _ = ready.send(std::mem::take(&mut lines));
                }
            }
            let _ = ready.send(lines);
        });
        let lines = waiting.recv_timeout(START).expect("nats-server is ready");
        let port = lines.iter().find_map(|line| {
            let (_, rest) = line.split_once(&format!("client connections on {host}:"))?;
            rest.trim().parse().ok()
        });
        self.port = Some(port.unwrap_or_else(|| panic!("it did not start: {lines:#?}")));
    }

    /// Other settings, from its next start on.
    pub(crate) fn configure(&mut self, config: &str) {
        config.clone_into(&mut self.config);
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        let mut child = self.child.take().expect("it runs");
        child.wait().expect("nats-server ends");
    }

    /// Ends it without a farewell.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("kill");
        child.wait().expect("nats-server ends");
    }

    /// Stops it in its tracks, and returns once none of its threads runs: a signal is only on its way when `kill`
    /// returns.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        let pid = self.child.as_ref().expect("it runs").id();
        let threads = format!("/proc/{pid}/task");
        let is_stopped = |thread: std::io::Result<std::fs::DirEntry>| {
            let path = thread.expect("a thread").path().join("stat");
            let stat = std::fs::read_to_string(path).expect("its state");
            // The name stands in brackets, and may have any character in it.
            stat.rsplit(')').next().expect("fields").starts_with(" T")
        };
        let deadline = Instant::now() + START;
        while !std::fs::read_dir(&threads)
            .expect("its threads")
            .all(is_stopped)
        {
            assert!(Instant::now() < deadline, "nats-server does not stop");
            std::thread::yield_now();
        }
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    /// Sends it a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.expect("it has been started")
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}:{}", self.host, self.port())
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// The defaults, on this server.
    pub(crate) fn settings(&self) -> NatsSettings {
        settings(&self.url())
    }

    /// A client of one's own.
    pub(crate) async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.url()).await.expect("it connects")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The defaults of the settings, on the server at `url`.
pub(crate) fn settings(url: &str) -> NatsSettings {
    NatsSettings {
        servers: vec![url.to_owned()],
        credentials: None,
        nkey: None,
        user: None,
        password: None,
        password_file: None,
        token: None,
        token_file: None,
        tls: false,
        ca: None,
        cert: None,
        key: None,
        domain: None,
        inbox_prefix: "_INBOX".to_owned(),
        prefix: "feeds".to_owned(),
        stream: "TIDINGS".to_owned(),
        create: CreateStream::Missing,
        replicas: 1,
        max_age_hours: 72,
        max_bytes: 1 << 30,
        timeout_seconds: 5,
    }
}

/// Copies a folder and all in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder is made");
    for entry in std::fs::read_dir(from).expect("a folder is read") {
        let entry = entry.expect("a folder is read");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a file has a type").is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => {
                std::fs::copy(entry.path(), to).expect("a file is copied");
            }
        }
    }
}
