//! Pages in real browsers, through `tests/browser/driver.mjs`.

/// Runs each claim in both browsers.
macro_rules! in_both_browsers {
    ($($claim:ident),* $(,)?) => {
        mod in_chromium {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(crate::browser::Kind::Chromium).await;
            })*
        }
        mod in_firefox {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(crate::browser::Kind::Firefox).await;
            })*
        }
    };
}

mod client;
mod console;
mod driver;
mod examples;
mod native;
mod server;
mod site;
mod subscriber;

use crate::tools::{program, within};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Which browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Chromium,
    Firefox,
}

/// How a page is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Dark,
    Light,
}

/// A browser with a fresh profile. Dropping it ends it.
pub(crate) struct Browser {
    driver: Arc<Driver>,
    child: Child,
    writing: JoinHandle<()>,
}

/// A tab of a browser.
pub(crate) struct Tab {
    driver: Arc<Driver>,
    number: u64,
}

/// What commands are given to.
struct Driver {
    kind: Kind,
    commands: mpsc::UnboundedSender<Value>,
    /// Who waits for the answer to which command; no one does any more once the driver has ended.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Value>>>>,
    next: AtomicU64,
    stderr: Mutex<String>,
}

impl Browser {
    /// Starts one.
    pub(crate) async fn start(kind: Kind) -> Self {
        let mut child = kind.command().spawn().expect("node");
        let (commands, lines) = mpsc::unbounded_channel();
        let driver = Arc::new(Driver {
            kind,
            commands,
            waiting: Mutex::new(Some(HashMap::new())),
            next: AtomicU64::new(1),
            stderr: Mutex::default(),
        });
        let started = driver.awaits(0);
        let (stdin, stdout, stderr) = (
            child.stdin.take().expect("piped"),
            child.stdout.take().expect("piped"),
            child.stderr.take().expect("piped"),
        );
        let writing = tokio::spawn(write(lines, stdin));
        tokio::spawn(driver.clone().read(stdout));
        tokio::spawn(driver.clone().collect(stderr));
        let browser = Self {
            driver,
            child,
            writing,
        };
        browser.driver.answer("start", started).await;
        browser
    }

    /// Opens a page in a new tab, which hides the others. It is there once all of it is loaded.
    pub(crate) async fn open(&self, url: &str) -> Tab {
        let tab = Tab {
            driver: self.driver.clone(),
            number: self.driver.next.fetch_add(1, Ordering::Relaxed),
        };
        tab.open(url).await;
        tab
    }

    /// Ends it, and waits until it is gone with its profile.
    pub(crate) async fn end(mut self) {
        self.writing.abort();
        let ended = within("end of the browser", self.child.wait(), || {
            self.driver.said()
        });
        assert!(ended.await.expect("a status").success());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // With it goes the standard input of the driver, which ends it.
        self.writing.abort();
    }
}

impl Tab {
    /// Leaves the page for another.
    pub(crate) async fn open(&self, url: &str) {
        self.order("open", json!({ "url": url })).await;
    }

    /// What an async function with this body returns in the page.
    ///
    /// # Panics
    /// Where it throws.
    pub(crate) async fn evaluate(&self, body: &str) -> Value {
        self.order("evaluate", json!({ "body": body })).await
    }

    /// The same, once that is true in JavaScript's sense.
    pub(crate) async fn wait_for(&self, body: &str) -> Value {
        self.order("wait", json!({ "body": body })).await
    }

    /// Loads the page again.
    pub(crate) async fn reload(&self) {
        self.order("reload", json!({})).await;
    }

    /// Brings it to the front, which hides the others.
    pub(crate) async fn show(&self) {
        self.order("show", json!({})).await;
    }

    /// Keeps in a PNG file what is seen in a window of this size, having brought it to the front.
    pub(crate) async fn screenshot(
        &self,
        path: &Path,
        scheme: Scheme,
        (width, height): (u32, u32),
    ) {
        let scheme = match scheme {
            Scheme::Dark => "dark",
            Scheme::Light => "light",
        };
        let path = path.to_str().expect("text");
        let arguments = json!({ "path": path, "scheme": scheme, "width": width, "height": height });
        self.order("screenshot", arguments).await;
    }

    /// What its pages have logged as errors or not caught so far. What a browser itself logs there differs.
    pub(crate) async fn errors(&self) -> Vec<String> {
        let errors = self.order("errors", json!({})).await;
        serde_json::from_value(errors).expect("texts")
    }

    /// Closes it.
    pub(crate) async fn close(self) {
        self.order("close", json!({})).await;
    }

    async fn order(&self, what: &str, mut command: Value) -> Value {
        let id = self.driver.next.fetch_add(1, Ordering::Relaxed);
        let answer = self.driver.awaits(id);
        let awaited = format!("{what} {command}");
        command["id"] = id.into();
        command["do"] = what.into();
        command["tab"] = self.number.into();
        // Where no one takes it, no one answers it either.
        let _ = self.driver.commands.send(command);
        self.driver.answer(&awaited, answer).await
    }
}

impl Driver {
    fn awaits(&self, id: u64) -> oneshot::Receiver<Value> {
        let (sender, receiver) = oneshot::channel();
        if let Some(waiting) = &mut *self.waiting.lock() {
            waiting.insert(id, sender);
        }
        receiver
    }

    async fn answer(&self, awaited: &str, answer: oneshot::Receiver<Value>) -> Value {
        let awaited = format!("{awaited} in {:?}", self.kind);
        let mut answer = within(&awaited, answer, || self.said())
            .await
            .unwrap_or_else(|_| panic!("the driver ended before {awaited}; {}", self.said()));
        match answer.get("error") {
            Some(error) => panic!("{awaited}: {error}; {}", self.said()),
            None => answer["value"].take(),
        }
    }

    fn said(&self) -> String {
        format!("it said:\n{}", self.stderr.lock())
    }

    async fn read(self: Arc<Self>, stdout: ChildStdout) {
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let answer: Value = serde_json::from_str(&line).expect("JSON from the driver");
            let id = answer["id"].as_u64().expect("an id");
            let waiting = self.waiting.lock().as_mut().and_then(|w| w.remove(&id));
            // A test that has failed does not wait any more.
            let _ = waiting.map(|waiting| waiting.send(answer));
        }
        *self.waiting.lock() = None;
    }

    async fn collect(self: Arc<Self>, stderr: ChildStderr) {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            *self.stderr.lock() += &format!("{line}\n");
        }
    }
}

async fn write(mut commands: mpsc::UnboundedReceiver<Value>, mut stdin: ChildStdin) {
    while let Some(command) = commands.recv().await {
        if stdin
            .write_all(format!("{command}\n").as_bytes())
            .await
            .is_err()
        {
            return;
        }
    }
}

impl Kind {
    fn command(self) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/driver.mjs");
        let (name, browser) = match self {
            Self::Chromium => ("chromium", "TIDINGS_TEST_CHROMIUM"),
            Self::Firefox => ("firefox", "TIDINGS_TEST_FIREFOX"),
        };
        let mut command = Command::new(program("TIDINGS_TEST_NODE"));
        command
            .arg(script)
            .arg(name)
            .arg(program(browser))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}
