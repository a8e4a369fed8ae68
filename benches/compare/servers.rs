//! The servers: each started for one measurement, in a folder of its own, and ended with it.

use anyhow::{Context, bail};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to start or end.
const PATIENCE: Duration = Duration::from_secs(20);
const NGINX: &str = "/usr/sbin/nginx";
const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Floor,
    Tidings,
    Nchan,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Floor, Self::Tidings, Self::Nchan];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Tidings => "tidings",
            Self::Nchan => "nchan",
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        self != Self::Nchan || (Path::new(NGINX).exists() && Path::new(NCHAN).exists())
    }
}

/// A running server.
pub(crate) struct Server {
    kind: Kind,
    address: SocketAddr,
    child: Child,
    /// The process that does the work.
    worker: u32,
    _folder: TempDir,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = match kind {
            Kind::Floor => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(format!("--floor={address}"));
                command
            }
            Kind::Tidings => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
                command.arg(format!("--listen={address}"));
                command
            }
            Kind::Nchan => nchan(folder.path(), address)?,
        };
        let errors = fs::File::create(folder.path().join("errors"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .with_context(|| kind.name())?;
        let mut server = Self {
            kind,
            address,
            worker: child.id(),
            child,
            _folder: folder,
        };
        server.wait_until_ready()?;
        if kind == Kind::Nchan {
            server.worker = child_of(server.child.id())?;
        }
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if self.child.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                bail!("{} does not start", self.kind.name());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.worker
    }

    /// How `tidings bench` reaches it.
    pub(crate) fn templates(&self) -> Vec<String> {
        let address = self.address;
        match self.kind {
            Kind::Tidings => vec![format!("--url=http://{address}")],
            Kind::Floor => vec![
                format!("--subscribe-url=http://{address}/{{feed}}"),
                format!("--publish-url=http://{address}/{{feed}}"),
            ],
            Kind::Nchan => vec![
                format!("--subscribe-url=http://{address}/sub/{{feed}}"),
                format!("--publish-url=http://{address}/pub/{{feed}}"),
            ],
        }
    }
}

/// Asks it to end, by its own process id, and makes sure that it has.
impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if asked.is_err() || began.elapsed() > PATIENCE {
                // It may just have ended by itself.
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// nginx with one worker and nchan's own memory store.
fn nchan(folder: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let here = folder.display();
    let config = format!(
        "load_module {NCHAN};
daemon off;
worker_processes 1;
worker_rlimit_nofile 19000;
pid {here}/pid;
error_log {here}/error.log;
events {{ worker_connections 18900; }}
http {{
    access_log off;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    keepalive_requests 10000000;
    nchan_shared_memory_size 512M;
    server {{
        listen {address} backlog=4096;
        location ~ ^/sub/(.+)$ {{
            nchan_subscriber;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
        location ~ ^/pub/(.+)$ {{
            nchan_publisher;
            nchan_channel_id $1;
            nchan_message_buffer_length 256;
        }}
    }}
}}
"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config)?;
    let mut command = Command::new(NGINX);
    command.arg("-p").arg(folder).arg("-c").arg(file);
    Ok(command)
}

/// The one child of a process.
fn child_of(parent: u32) -> anyhow::Result<u32> {
    let began = Instant::now();
    loop {
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A process may end while it is looked at.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
            let of = fields.and_then(|fields| fields.split_ascii_whitespace().nth(1));
            if of.and_then(|of| of.parse().ok()) == Some(parent) {
                return Ok(pid);
            }
        }
        if began.elapsed() > PATIENCE {
            bail!("process {parent} has no child");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
