//! The tutorial and the how-tos, followed as a newcomer would: every command is run, every file saved, every page opened,
//! and what is shown is there. [`block`] says what a fenced block may ask.

mod block;
mod errors;
mod machine;
mod reader;
mod shown;
mod terminal;

use reader::Reader;
use std::path::Path;

/// Follows each of these texts, and fails where `docs/` has one more.
macro_rules! follow {
    ($($claim:ident: $path:literal),* $(,)?) => {
        const FOLLOWED: &[&str] = &[$($path),*];
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $claim() {
            Reader::new().follow(&text($path)).await;
        })*
    };
}

follow! {
    the_tutorial: "docs/tutorial.md",
    authenticate_a_browser: "docs/how-to/authenticate-a-browser.md",
    behind_a_proxy: "docs/how-to/behind-a-proxy.md",
    adopt_a_stream: "docs/how-to/adopt-a-stream.md",
    from_express: "docs/how-to/from-express.md",
    from_mercure: "docs/how-to/from-mercure.md",
    from_nchan: "docs/how-to/from-nchan.md",
    from_socket_io: "docs/how-to/from-socket-io.md",
}

/// The texts of the repository in Markdown, but for those of what it builds on.
fn all_texts() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            if path.is_dir()
                && !name.starts_with('.')
                && !["target", "node_modules"].contains(&&*name)
            {
                folders.push(path);
            } else if name.ends_with(".md") {
                let path = path.strip_prefix(root()).expect("below it");
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found
}

#[test]
fn each_text_that_is_to_be_followed_is() {
    let all = all_texts();
    let to_follow =
        |path: &&String| path.starts_with("docs/how-to/") || *path == "docs/tutorial.md";
    let mut to_follow: Vec<_> = all.iter().filter(to_follow).map(String::as_str).collect();
    let mut followed = FOLLOWED.to_vec();
    to_follow.sort_unstable();
    followed.sort_unstable();
    assert_eq!(to_follow, followed);
}

fn times(code: &str, words: &[&str]) -> usize {
    words.iter().map(|word| code.matches(word).count()).sum()
}

/// As many handlers of gaps, and of resets, as there are subscriptions.
fn assert_heeds_gaps_and_resets(code: &str, place: &str) {
    let subscriptions = times(
        code,
        &["new EventSource(", ".feed(", "op: \"subscribe\"", "?wait="],
    );
    let gaps = times(code, &["hub:gap", "onGap:"]);
    let resets = times(code, &["hub:reset", "onReset:"]);
    assert!(gaps.min(resets) >= subscriptions, "{place}:\n{code}");
}

#[test]
fn each_example_of_a_client_heeds_gaps_and_resets() {
    let mut clients = 0;
    for path in all_texts() {
        let text = text(&path);
        for (number, code) in text.split("```").skip(1).step_by(2).enumerate() {
            let info = code.lines().next().unwrap_or_default();
            if !info.contains("not-run=")
                && ["js", "html"].iter().any(|kind| info.starts_with(kind))
            {
                assert_heeds_gaps_and_resets(code, &format!("{path}, block {number}"));
                clients += times(code, &["hub:gap", "onGap:"]);
            }
        }
    }
    assert!(clients >= 10, "{clients}");
    for name in ["chat.js", "dashboard.js"] {
        let path = format!("static/examples/{name}");
        assert_heeds_gaps_and_resets(&text(&path), &path);
    }
}

#[test]
fn each_link_of_a_text_leads_somewhere() {
    for path in all_texts() {
        let folder = root().join(&path);
        let folder = folder.parent().expect("a folder");
        for link in text(&path).split("](").skip(1) {
            let link = link.split(')').next().expect("a link");
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") {
                continue;
            }
            let file = match file {
                "" => root().join(&path),
                file => folder.join(file),
            };
            assert!(file.exists(), "{path} links to {link}");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&file).expect("a text");
                let anchors: Vec<_> = text.lines().filter_map(anchor).collect();
                assert!(
                    anchors.iter().any(|a| a == heading),
                    "{path} links to {link}"
                );
            }
        }
    }
}

/// The name by which GitHub links to a heading.
fn anchor(line: &str) -> Option<String> {
    let title = line.trim_start_matches('#').strip_prefix(' ')?;
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    let name: String = title.to_lowercase().chars().filter(kept).collect();
    line.starts_with('#').then(|| name.replace(' ', "-"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

/// A blank line ends a table: what comes after it is text with bars in it, unless another head begins there.
#[test]
fn no_table_of_a_text_is_broken_in_two() {
    for path in all_texts() {
        let text = text(&path);
        let lines: Vec<_> = text.lines().collect();
        for (number, at) in lines.windows(3).enumerate() {
            let begins = at[0].trim().is_empty() && at[1].starts_with('|');
            let line = number + 2;
            assert!(!begins || at[2].starts_with("| ---"), "{path}, line {line}");
        }
    }
}
