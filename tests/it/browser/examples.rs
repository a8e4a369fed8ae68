//! The examples' pages. What they look like is kept in `target/tmp/screenshots`.

use super::console::has_no_faults;
use super::{Browser, Kind, Scheme, Tab};
use crate::auth::{guarded, token};
use crate::call::post;
use crate::replica::Replica;
use serde_json::json;
use std::path::Path;

in_both_browsers!(
    what_is_said_in_the_chat_is_heard_by_all_and_who_is_here_is_shown,
    the_chat_has_a_bound_for_a_crowd,
    the_chat_takes_a_token_where_there_is_authentication,
    the_dashboard_shows_each_feed_as_it_changes,
);

const PHONE: (u32, u32) = (390, 844);
const DESK: (u32, u32) = (1280, 800);

async fn keep(tab: &Tab, kind: Kind, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&folder).expect("a folder");
    let shots = [
        ("light", Scheme::Light, DESK),
        ("dark", Scheme::Dark, DESK),
        ("phone", Scheme::Light, PHONE),
    ];
    for (look, scheme, size) in shots {
        let file = folder.join(format!("{name}-{kind:?}-{look}.png").to_lowercase());
        tab.screenshot(&file, scheme, size).await;
        has_no_faults(tab, look).await;
    }
}

/// Firefox counts streams among them that a page has closed itself.
pub(super) async fn has_no_errors(tab: &Tab, kind: Kind) {
    if kind == Kind::Chromium {
        assert_eq!(tab.errors().await, Vec::<String>::new());
    }
}

/// Writes a message in the chat, as who sits before it would.
async fn say(tab: &Tab, name: &str, text: &str) {
    let (name, text) = (json!(name), json!(text));
    tab.evaluate(&format!(
        "document.getElementById('name').value = {name};
         document.getElementById('text').value = {text};
         document.querySelector('#form button').click();"
    ))
    .await;
}

/// Waits until a list shows just these lines.
async fn shows(tab: &Tab, list: &str, lines: &[&str]) {
    let lines = json!(lines);
    tab.wait_for(&format!(
        "const shown = [...document.querySelectorAll('#{list} li')].map((line) => line.textContent);
         return JSON.stringify(shown) === JSON.stringify({lines});"
    ))
    .await;
}

async fn what_is_said_in_the_chat_is_heard_by_all_and_who_is_here_is_shown(kind: Kind) {
    let replica = Replica::start(&[]).await;
    let browser = Browser::start(kind).await;
    let ada = browser.open(&replica.url("/examples/chat")).await;
    let bob = browser.open(&replica.url("/examples/chat")).await;
    say(&ada, "Ada", "Hello").await;
    shows(&bob, "said", &["AdaHello"]).await;
    say(&bob, "Bob", "<b>Hi</b> & welcome").await;
    for tab in [&ada, &bob] {
        shows(tab, "said", &["AdaHello", "Bob<b>Hi</b> & welcome"]).await;
        shows(tab, "here", &["Ada", "Bob"]).await;
    }
    // Who comes later, or reloads, sees what was said.
    let late = browser.open(&replica.url("/examples/chat")).await;
    shows(&late, "said", &["AdaHello", "Bob<b>Hi</b> & welcome"]).await;
    keep(&late, kind, "chat").await;
    bob.close().await;
    shows(&ada, "here", &["Ada"]).await;
    for tab in [&ada, &late] {
        has_no_errors(tab, kind).await;
    }
    browser.end().await;
}

async fn the_chat_has_a_bound_for_a_crowd(kind: Kind) {
    let replica = Replica::start(&[]).await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&replica.url("/examples/chat")).await;
    tab.wait_for("return document.getElementById('state').textContent === 'live'")
        .await;
    let lines = (0..200).map(|n| {
        let data = json!({"name": format!("Guest {n}"), "text": "Hello"});
        let [here, said] = ["presence", "lobby"]
            .map(|feed| json!({"feed": format!("chat.{feed}"), "data": data}).to_string());
        format!("{said}\n{here}\n")
    });
    let lines: String = lines.collect();
    let headers = [("Content-Type", "application/x-ndjson")];
    assert_eq!(post(&replica, "/feeds", &headers, lines).await.status, 200);
    tab.wait_for("return document.getElementById('here').textContent.includes('Guest 199')")
        .await;
    let names = "return document.querySelectorAll('#here li').length";
    assert_eq!(tab.evaluate(names).await, 100);
    // What was said scrolls, by the keyboard too.
    keep(&tab, kind, "chat-crowd").await;
    has_no_errors(&tab, kind).await;
    browser.end().await;
}

async fn the_chat_takes_a_token_where_there_is_authentication(kind: Kind) {
    let replica = guarded(&[]).await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&replica.url("/examples/chat")).await;
    tab.wait_for("return !document.getElementById('sign-in').hidden")
        .await;
    let chat = json!({"subscribe": ["chat.*"], "publish": ["chat.*"]});
    let shown = json!(token(&json!({"tidings": chat})));
    tab.evaluate(&format!("sessionStorage.setItem('tidings-token', {shown})"))
        .await;
    tab.reload().await;
    tab.wait_for("return document.getElementById('state').textContent === 'live'")
        .await;
    say(&tab, "Ada", "Hello").await;
    shows(&tab, "said", &["AdaHello"]).await;
    let hidden = "return document.getElementById('sign-in').hidden";
    assert_eq!(tab.evaluate(hidden).await, true);
    browser.end().await;
}

async fn the_dashboard_shows_each_feed_as_it_changes(kind: Kind) {
    let replica = Replica::start(&[]).await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&replica.url("/examples/dashboard")).await;
    tab.wait_for("return document.getElementById('command').textContent.includes('dashboard.sh')")
        .await;
    for n in 0..30 {
        for (feed, value) in [("load", n % 7), ("memory.free", 100 - n), ("tasks", n * n)] {
            let data = json!({ "value": value, "unit": "" }).to_string();
            replica.publish(&format!("metrics.box.{feed}"), data).await;
        }
    }
    tab.wait_for(
        "const shown = [...document.querySelectorAll('#tiles section')].map((tile) =>
           [tile.querySelector('h2').textContent, parseFloat(tile.querySelector('.value').textContent.replace(/[^0-9]/g, ''))]);
         return JSON.stringify(shown) === '[[\"metrics.box.load\",1],[\"metrics.box.memory.free\",71],[\"metrics.box.tasks\",841]]'",
    )
    .await;
    keep(&tab, kind, "dashboard").await;
    has_no_errors(&tab, kind).await;
    browser.end().await;
}
