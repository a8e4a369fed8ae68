//! docs/errors.md has all that a client may be told.

use super::{root, text};
use reqwest::StatusCode;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// The code below `folder`, in one text.
fn code(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        all += &match path.is_dir() {
            true => code(&path),
            false => std::fs::read_to_string(&path).expect("text"),
        };
    }
    all
}

/// The words of letters and `more` that stand behind `before`.
fn behind<'a>(text: &'a str, before: &str, more: char) -> BTreeSet<&'a str> {
    let rest = text.split(before).skip(1);
    let words = rest.filter_map(|rest| {
        rest.split(|c: char| !c.is_ascii_alphabetic() && c != more)
            .next()
    });
    words.filter(|word| !word.is_empty()).collect()
}

/// The cells in which a row of a table of docs/errors.md begins, without their backticks.
fn listed() -> BTreeSet<String> {
    let text = text("docs/errors.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" |").next());
    let names = cells.flat_map(|cell| cell.split(", "));
    names.map(|name| name.replace('`', "")).collect()
}

#[test]
fn every_status_of_the_code_is_listed() {
    let code = code(&root().join("src/http"));
    let named = behind(&code, "StatusCode::", '_');
    let known = (100..600).filter_map(|number| StatusCode::from_u16(number).ok());
    let statuses: Vec<_> = known
        .filter(|status| {
            let name = status.canonical_reason().unwrap_or_default();
            named.contains(&*name.to_uppercase().replace([' ', '-'], "_"))
        })
        .collect();
    assert!(statuses.len() > 20, "{statuses:?}");
    let listed = listed();
    for status in statuses {
        assert!(listed.contains(status.as_str()), "{status} is not listed");
    }
}

#[test]
fn every_status_and_header_of_the_description_is_listed() {
    let description = text("static/openapi.json");
    let description: Value = serde_json::from_str(&description).expect("JSON");
    let listed = listed();
    let paths = description["paths"].as_object().expect("paths").values();
    let operations = paths.flat_map(|path| path.as_object().expect("operations").values());
    for operation in operations {
        for (status, answer) in operation["responses"].as_object().expect("answers") {
            assert!(listed.contains(status), "{status} is not listed");
            let headers = answer["headers"].as_object().into_iter().flatten();
            for (header, _) in headers {
                assert!(listed.contains(header), "{header} is not listed");
            }
        }
    }
}

#[test]
fn every_notice_and_reason_is_listed() {
    let mut code = code(&root().join("src/wire")) + &text("src/wire.rs");
    let reasons = code.split("impl Closing").nth(1).expect("reasons");
    let reasons = reasons.split("\n    }\n").next().expect("reasons");
    let reasons: Vec<String> = behind(reasons, "=> \"", '-')
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert!(reasons.len() > 5, "{reasons:?}");
    code += &text("src/http/websocket/answer.rs");
    let notices = behind(&code, "hub:", '-').into_iter();
    let notices: Vec<_> = notices.map(|name| format!("hub:{name}")).collect();
    assert!(notices.len() > 5, "{notices:?}");
    let listed = listed();
    for name in reasons.iter().chain(&notices) {
        assert!(listed.contains(name), "{name} is not listed");
    }
}
