//! The program as a child process.

use crate::replica::within;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// A NATS server takes no stream that may grow beyond its disk.
const STREAM: (&str, &str) = ("TIDINGS_NATS_MAX_BYTES", "100000000");

/// A running program, ended when dropped.
pub(crate) struct Program {
    child: Child,
    out: Option<Lines<BufReader<ChildStdout>>>,
    err: Lines<BufReader<ChildStderr>>,
}

/// What a program has left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

impl Program {
    /// Starts it, with nothing on its standard input.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// The same, with variables.
    pub(crate) fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(arguments);
        command.env_clear();
        if arguments.contains(&"--nats") {
            command.env(STREAM.0, STREAM.1);
        }
        command.envs(variables.iter().copied());
        Self::spawn(command)
    }

    /// The same, where no more than so many files may be open.
    pub(crate) fn with_open_files(files: u32, arguments: &[&str]) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]);
        command.arg(env!("CARGO_BIN_EXE_tidings")).args(arguments);
        command.env_clear();
        Self::spawn(command)
    }

    /// Another program.
    pub(crate) fn other(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(name);
        command.args(arguments);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program");
        let out = BufReader::new(child.stdout.take().expect("piped")).lines();
        let err = BufReader::new(child.stderr.take().expect("piped")).lines();
        let out = Some(out);
        Self { child, out, err }
    }

    /// Runs it to its end, with this on its standard input.
    pub(crate) async fn run(arguments: &[&str], input: &[u8]) -> Ended {
        let mut program = Self::start(arguments);
        let mut stdin = program.child.stdin.take().expect("piped");
        // One that does not read it may have ended.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        program.end().await
    }

    /// The next line of its standard output.
    pub(crate) async fn line(&mut self) -> String {
        let out = self.out.as_mut().expect("standard output is read");
        let line = within("a line of output", out.next_line()).await;
        line.expect("text").expect("one more line")
    }

    /// Where it says that it listens, for a server that was just started.
    pub(crate) async fn address(&mut self) -> SocketAddr {
        loop {
            if let Some(rest) = self.line().await.strip_prefix("listening: ") {
                let (_, rest) = rest.split_once("://").expect("a scheme");
                let address = rest.split(',').next().expect("an address");
                return address.parse().expect("an address");
            }
        }
    }

    /// The next line of its standard error; `None` at its end.
    pub(crate) async fn complaint_if_any(&mut self) -> Option<String> {
        let line = within("a line on standard error", self.err.next_line()).await;
        line.expect("text")
    }

    /// The next line of its standard error.
    pub(crate) async fn complaint(&mut self) -> String {
        self.complaint_if_any().await.expect("one more line")
    }

    /// Stops reading its standard output, as `head` does once it has enough.
    pub(crate) fn stop_reading(&mut self) {
        drop(self.out.take());
    }

    /// Its process' id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// What it takes of memory, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        kib.expect("a size").parse().expect("a number")
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Sends a signal by its name, as in `INT`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let arguments = ["-s", name, id.as_str()];
        let sent = Command::new("kill").args(arguments).status().await;
        assert!(sent.expect("kill").success());
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let (mut out, mut err) = (String::new(), String::new());
        let rest = async {
            if let Some(lines) = self.out.take() {
                lines.into_inner().read_to_string(&mut out).await?;
            }
            self.err.into_inner().read_to_string(&mut err).await?;
            self.child.wait().await
        };
        let status = within("the program to end", rest).await.expect("a status");
        Ended { status, out, err }
    }
}
