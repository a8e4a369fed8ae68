//! Somebody who follows a text from its first line to its last, on a machine of his own as far as that goes: a folder, an
//! address and free ports.

use super::block::{Asks, Block, blocks};
use super::machine::{Place, environment, set_up};
use super::shown::Ids;
use super::terminal::{Terminal, shell};
use crate::browser::{Browser, Kind, Tab};
use crate::nats_server::copy_folder;
use crate::tools::program;
use futures::FutureExt;
use serde_json::json;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::Command;

pub(super) struct Reader {
    folder: TempDir,
    place: Place,
    environment: Vec<(String, String)>,
    terminals: HashMap<String, Terminal>,
    ids: Ids,
    browser: Option<Browser>,
    tabs: HashMap<String, Tab>,
}

impl Reader {
    pub(super) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let place = Place::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["static", "deploy"] {
            copy_folder(&root.join(part), &folder.path().join(part));
        }
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).expect("a folder");
        set_up(&bin, &place);
        let environment = environment(folder.path(), &place);
        Self {
            folder,
            place,
            environment,
            terminals: HashMap::new(),
            ids: Ids::default(),
            browser: None,
            tabs: HashMap::new(),
        }
    }

    /// Does all that a text asks.
    pub(super) async fn follow(&mut self, markdown: &str) {
        let blocks = blocks(markdown).expect("blocks that say what to do");
        let mut unseen: Option<String> = None;
        for block in &blocks {
            // A program that stays is there once it says so.
            match (&block.asks, unseen.take()) {
                (Asks::Run { .. }, Some(name)) => {
                    panic!("line {}: what does terminal {name:?} show?", block.line)
                }
                (Asks::See { terminal }, Some(name)) if *terminal == name => {}
                (_, name) => unseen = name,
            }
            if let Asks::Run {
                terminal,
                stays: true,
            } = &block.asks
            {
                unseen = Some(terminal.clone());
            }
            let heeded = AssertUnwindSafe(self.heed(block)).catch_unwind().await;
            assert!(heeded.is_ok(), "that was at line {}", block.line);
        }
    }

    async fn heed(&mut self, block: &Block) {
        let text = self.place.put_into(&block.text);
        match &block.asks {
            Asks::Run { terminal, stays } => {
                let text = self.ids.put_into(&text);
                let shell = shell(self.folder.path(), &self.environment);
                let terminal = self.terminal(terminal);
                match stays {
                    true => terminal.leave_running(shell, &text).await,
                    false => terminal.run(shell, &text).await,
                }
            }
            Asks::See { terminal } => {
                let mut ids = std::mem::take(&mut self.ids);
                self.terminal(terminal).shows(&text, &mut ids).await;
                self.ids = ids;
            }
            Asks::Open { url, press } => self.look_at(url, press.as_deref(), &text).await,
            Asks::Save { path } => {
                let path = self.folder.path().join(path);
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                std::fs::write(path, text).expect("a file");
            }
            Asks::Read { path } => is_in(path, &block.text),
            Asks::LookAt { .. } => is_javascript(block).await,
        }
    }

    fn terminal(&mut self, name: &str) -> &mut Terminal {
        let variables = self
            .folder
            .path()
            .join("bin")
            .join(format!(".terminal-{name}"));
        self.terminals.entry(name.to_owned()).or_insert_with(|| {
            std::fs::write(&variables, "").expect("a file");
            Terminal::new(variables)
        })
    }

    /// Waits until the page shows these lines, in their order.
    async fn look_at(&mut self, url: &str, press: Option<&str>, text: &str) {
        let url = self.place.put_into(url);
        if self.browser.is_none() {
            self.browser = Some(Browser::start(Kind::Chromium).await);
        }
        if !self.tabs.contains_key(&url) {
            let browser = self.browser.as_ref().expect("it was started");
            self.tabs.insert(url.clone(), browser.open(&url).await);
        }
        let tab = &self.tabs[&url];
        if let Some(press) = press {
            let press = json!(press);
            tab.wait_for(&format!(
                "const all = [...document.querySelectorAll('button')];
                 const button = all.find((button) => button.checkVisibility() && button.textContent === {press});
                 button?.click();
                 return button;"
            ))
            .await;
        }
        let lines: Vec<_> = text.lines().map(words_of).collect();
        let lines = json!(lines);
        tab.wait_for(&format!(
            "const text = document.body.innerText.replace(/\\s+/g, ' ');
             let at = 0;
             return {lines}.every((line) => {{
                 at = text.indexOf(line, at) + line.length;
                 return at >= line.length;
             }});"
        ))
        .await;
    }
}

fn words_of(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines that a file of the repository has, one after the other, however far they are indented.
fn is_in(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let file = std::fs::read_to_string(file).expect(path);
    let trimmed = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    assert!(trimmed(&file).contains(&trimmed(text)), "{path}:\n{text}");
}

/// What is not run is at least well-formed, where it is JavaScript.
async fn is_javascript(block: &Block) {
    if block.language != "js" {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("code.mjs");
    std::fs::write(&file, &block.text).expect("a file");
    let mut node = Command::new(program("TIDINGS_TEST_NODE"));
    let checked = node.arg("--check").arg(&file).stdin(Stdio::null()).output();
    let checked = checked.await.expect("node");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "line {}: {said}", block.line);
}
