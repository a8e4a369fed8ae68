//! A NATS server of one's own, and what Linux tells about this process.

use anyhow::{Context, ensure};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long it may take to start.
const START: Duration = Duration::from_secs(30);

/// Ended when dropped.
pub(crate) struct NatsServer {
    program: PathBuf,
    address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl NatsServer {
    pub(crate) fn start(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        let child = Command::new(program)
            .args(["-a", "127.0.0.1", "-p", &address.port().to_string()])
            .arg("-js")
            .arg("-sd")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| {
                format!("{} can't be started; see --nats-server", program.display())
            })?;
        let server = Self {
            program: program.to_owned(),
            address,
            child,
            _folder: folder,
        };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(began.elapsed() < START, "the NATS server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    pub(crate) fn version(&self) -> anyhow::Result<String> {
        let output = Command::new(&self.program).arg("--version").output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address that nobody listens on.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Waits until a path is answered with 200.
pub(crate) fn wait_for_http_200(
    address: SocketAddr,
    path: &str,
    patience: Duration,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_answered_with_200(address, path).unwrap_or(false) {
        ensure!(
            began.elapsed() < patience,
            "{address}{path} was not answered with 200"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn is_answered_with_200(address: SocketAddr, path: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

/// The processor time that a process has used, in steps of 10 ms (`man 5 proc`).
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("a name in parentheses")?;
    let times = fields.split_ascii_whitespace().skip(11).take(2);
    let ticks = times.map(str::parse::<u32>).sum::<Result<u32, _>>()?;
    Ok(Duration::from_millis(10) * ticks)
}
