//! A terminal in which commands are run, one after the other.

use super::shown::Ids;
use crate::tools::within;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// One terminal. Dropping it ends what runs in it.
pub(super) struct Terminal {
    /// The variables that its shell has by now.
    variables: PathBuf,
    runs: Option<Child>,
    lines: mpsc::UnboundedReceiver<(From, String)>,
    /// What was passed over, as it came on standard error.
    passed_over: Vec<String>,
    /// All that was there to see since the last command.
    seen: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Output,
    Error,
}

impl Terminal {
    pub(super) fn new(variables: PathBuf) -> Self {
        Self {
            variables,
            runs: None,
            lines: mpsc::unbounded_channel().1,
            passed_over: Vec::new(),
            seen: String::new(),
        }
    }

    /// Ends what still runs, as Ctrl-C does, and begins the next.
    async fn begin(&mut self, mut command: Command) -> Child {
        self.interrupt().await;
        let mut child = command.spawn().expect("a shell");
        let (sender, lines) = mpsc::unbounded_channel();
        let (out, err) = (child.stdout.take(), child.stderr.take());
        tokio::spawn(read(From::Output, out.expect("piped"), sender.clone()));
        tokio::spawn(read(From::Error, err.expect("piped"), sender));
        self.lines = lines;
        self.passed_over.clear();
        self.seen.clear();
        child
    }

    /// Runs commands, the last of which stays.
    pub(super) async fn leave_running(&mut self, mut shell: Command, commands: &str) {
        let variables = self.variables.display();
        shell.arg(format!("set -e; . '{variables}'; exec {commands}"));
        let child = self.begin(shell).await;
        self.runs = Some(child);
    }

    /// Runs commands to their end, which has to be a good one.
    pub(super) async fn run(&mut self, mut shell: Command, commands: &str) {
        let variables = self.variables.display();
        shell.arg(format!(
            "set -ea; . '{variables}'\n{commands}\nexport -p >'{variables}'"
        ));
        let mut child = self.begin(shell).await;
        let ended = within("end of the commands", child.wait(), || commands.to_owned());
        if !ended.await.expect("a status").success() {
            self.drain().await;
            panic!("it fails:\n{commands}\n{}", self.seen);
        }
    }

    /// Waits until it shows this, and for commands that have ended nothing else. Standard error is mixed in as it comes: its
    /// lines may stand anywhere.
    pub(super) async fn shows(&mut self, text: &str, ids: &mut Ids) {
        let mut begun = self.runs.is_none();
        let mut skips = false;
        for shown in text.lines() {
            match shown {
                "..." => {
                    skips = true;
                    continue;
                }
                "^C" => {
                    self.interrupt().await;
                    // Whatever it has said before.
                    skips = true;
                    continue;
                }
                _ => {}
            }
            let before = self.passed_over.iter();
            let before = before.enumerate().find(|(_, line)| ids.agree(shown, line));
            if let Some((place, _)) = before {
                self.passed_over.remove(place);
                continue;
            }
            loop {
                let (from, line) = self.line(shown).await;
                if ids.agree(shown, &line) {
                    (begun, skips) = (true, false);
                    break;
                }
                match from {
                    From::Error => self.passed_over.push(line),
                    From::Output => assert!(
                        !begun || skips,
                        "shown: {shown}\nthere is: {line}\n{}",
                        self.seen
                    ),
                }
            }
        }
        if self.runs.is_none() && !skips {
            let rest = self.drain().await;
            assert!(rest.is_empty(), "not shown: {rest:?}\n{}", self.seen);
        }
    }

    /// Ctrl-C.
    async fn interrupt(&mut self) {
        let Some(mut child) = self.runs.take() else {
            return;
        };
        // It may have ended by itself.
        if let Some(id) = child.id() {
            let id = id.to_string();
            let sent = Command::new("kill").args(["-s", "INT", &id]).status().await;
            sent.expect("kill");
        }
        let ended = within("end after Ctrl-C", child.wait(), String::new);
        ended.await.expect("a status");
    }

    async fn line(&mut self, awaited: &str) -> (From, String) {
        let awaited = format!("line {awaited:?}");
        let line = within(&awaited, self.lines.recv(), || self.seen.clone()).await;
        let (from, line) = line.unwrap_or_else(|| panic!("no {awaited}:\n{}", self.seen));
        self.seen += &format!("{line}\n");
        (from, line)
    }

    /// What comes to its end. An empty line, as of `curl`, shows no one.
    async fn drain(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        while let Some((from, line)) = self.lines.recv().await {
            self.seen += &format!("{line}\n");
            if from == From::Output && !line.is_empty() {
                rest.push(line);
            }
        }
        rest
    }
}

async fn read(
    from: From,
    stream: impl AsyncRead + Unpin,
    lines: mpsc::UnboundedSender<(From, String)>,
) {
    let mut stream = BufReader::new(stream).lines();
    while let Ok(Some(line)) = stream.next_line().await {
        // Whoever has begun the next command looks at this one no more.
        if lines.send((from, line)).is_err() {
            return;
        }
    }
}

/// A shell in a folder, with this environment alone. Ctrl-C ends what it runs also where these tests run in the background
/// of a script, which has all that it starts ignore it.
pub(super) fn shell(folder: &Path, environment: &[(String, String)]) -> Command {
    let mut shell = Command::new("/usr/bin/env");
    shell
        .args(["--default-signal=INT", "/bin/sh", "-c"])
        .current_dir(folder)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    shell
}
