//! The fenced blocks of a text, and what each one asks of whoever follows it.
//!
//! | info string | what it asks |
//! | --- | --- |
//! | `sh` | run it, to a good end |
//! | `sh stays` | run it, and leave it running; a `console` of the same terminal says by what one sees that it does |
//! | `console` | see just this in the terminal; a line `...` stands for any number of lines, and `^C` is pressed |
//! | `console page=URL` | see these lines in the browser, at this URL; with `press=WORD` after pressing that button |
//! | `LANGUAGE file=PATH` | save it there |
//! | `LANGUAGE excerpt=PATH` | read it in that file of the repository |
//! | `LANGUAGE not-run=NAME` | only look at it; NAME stands in [`NOT_RUN`] |
//!
//! `terminal=NAME` goes with the first three: what still runs in it is ended with Ctrl-C before the next command.

/// Commands and code that can't be run here, and why.
pub(super) const NOT_RUN: [(&str, &str); 4] = [
    ("socket.io", "the server that one moves away from"),
    ("mercure", "the server that one moves away from"),
    ("nchan", "the server that one moves away from"),
    (
        "express",
        "the handler that one moves away from, in an application of the reader's own",
    ),
];

/// A fenced block, and the line on which it begins.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) line: usize,
    pub(super) language: String,
    pub(super) asks: Asks,
    pub(super) text: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Run { terminal: String, stays: bool },
    See { terminal: String },
    Open { url: String, press: Option<String> },
    Save { path: String },
    Read { path: String },
    LookAt { name: String },
}

/// All blocks of a Markdown text.
///
/// # Errors
/// For the first block that could be passed over unnoticed: one of no known kind, or one that no fence begins.
pub(super) fn blocks(markdown: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let number = number + 1;
        let Some(info) = line.strip_prefix("```") else {
            if line.starts_with("    ") || line.contains("```") || line.starts_with("~~~") {
                return Err(format!("line {number} is code outside of a fence: {line}"));
            }
            continue;
        };
        let (language, asks) = asks(info).map_err(|why| format!("line {number}: {why}"))?;
        let mut text = String::new();
        loop {
            match lines.next() {
                Some((_, "```")) => break,
                Some((_, line)) => text += &format!("{line}\n"),
                None => return Err(format!("line {number} begins a block without an end")),
            }
        }
        blocks.push(Block {
            line: number,
            language,
            asks,
            text,
        });
    }
    Ok(blocks)
}

fn asks(info: &str) -> Result<(String, Asks), String> {
    let mut words = info.split(' ');
    let language = words.next().unwrap_or_default().to_owned();
    let mut options: Vec<_> = words.collect();
    let mut take = |name: &str| {
        let found = options.iter().position(|option| {
            let rest = option.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })?;
        let option = options.remove(found);
        Some(option[name.len()..].trim_start_matches('=').to_owned())
    };
    let not_run = take("not-run").map(|name| Asks::LookAt { name });
    let file = take("file").map(|path| Asks::Save { path });
    let excerpt = take("excerpt").map(|path| Asks::Read { path });
    let asks = match (language.as_str(), not_run.or(file).or(excerpt)) {
        (_, Some(asks)) => asks,
        ("sh", None) => Asks::Run {
            terminal: take("terminal").unwrap_or_default(),
            stays: take("stays").is_some(),
        },
        ("console", None) => match take("page") {
            Some(url) => Asks::Open {
                url,
                press: take("press"),
            },
            None => Asks::See {
                terminal: take("terminal").unwrap_or_default(),
            },
        },
        _ => return Err(format!("nobody knows what to do with ```{info}")),
    };
    match &asks {
        Asks::LookAt { name } if !NOT_RUN.iter().any(|(known, _)| known == name) => {
            Err(format!("there is no reason for not running {name:?}"))
        }
        Asks::Save { path } | Asks::Read { path } if path.is_empty() => {
            Err(format!("there is no path in ```{info}"))
        }
        _ if !options.is_empty() => Err(format!("{options:?} says nothing in ```{info}")),
        _ => Ok((language, asks)),
    }
}

#[test]
fn no_block_is_passed_over() {
    let of = |info: &str| blocks(&format!("text\n\n```{info}\ncode\n```\n"));
    for info in [
        "sh",
        "sh terminal=a stays",
        "console",
        "js file=a.js",
        "js not-run=express",
    ] {
        let found = of(info).expect(info);
        assert_eq!(
            (found[0].line, found[0].text.as_str()),
            (3, "code\n"),
            "{info}"
        );
    }
    for info in [
        "",
        "js",
        "json",
        "sh stay",
        "sh file=",
        "console file",
        "js not-run=docker",
    ] {
        let why = of(info).expect_err(info);
        assert!(why.contains("line 3"), "{info}: {why}");
    }
    for text in [
        "    indented\n",
        "- in a list\n  ```sh\n",
        "````sh\n````\n",
        "~~~\n",
        "```sh\nendless\n",
    ] {
        blocks(text).expect_err(text);
    }
}
