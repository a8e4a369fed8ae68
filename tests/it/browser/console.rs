//! The console page. What it looks like is kept in `target/tmp/screenshots`.

use super::examples::has_no_errors;
use super::{Browser, Kind, Scheme, Tab};
use crate::auth::{guarded, token};
use crate::call::post;
use crate::replica::Replica;
use serde_json::{Value, json};
use std::path::Path;

in_both_browsers!(
    it_shows_what_happens_and_watches_and_publishes,
    it_asks_for_a_token_where_there_is_authentication,
    it_works_below_a_path,
    it_shows_no_more_rows_than_fit_of_ten_thousand_feeds,
    it_is_accessible_in_both_schemes_and_on_a_phone,
);

/// How many feeds there are on a page.
const ROWS: usize = 50;
/// What is said to those who have not shown anything.
const ASKED: &str = "This takes a token or an API key";

/// Waits until a part of the page has this text in it.
async fn says(tab: &Tab, id: &str, text: &str) {
    let (id, text) = (json!(id), json!(text));
    tab.wait_for(&format!(
        "return document.getElementById({id}).textContent.includes({text})"
    ))
    .await;
}

/// Fills in fields and submits the form that has the first.
async fn submit(tab: &Tab, fields: &[(&str, &str)]) {
    let fields = json!(fields);
    tab.evaluate(&format!(
        "const fields = {fields};
         for (const [id, value] of fields) {{
           const field = document.getElementById(id);
           field.value = value;
           field.dispatchEvent(new Event('input', {{ bubbles: true }}));
         }}
         document.getElementById(fields[0][0]).form.querySelector('button').click();"
    ))
    .await;
}

async fn click(tab: &Tab, selector: &str) {
    let selector = json!(selector);
    tab.evaluate(&format!("document.querySelector({selector}).click()"))
        .await;
}

/// The texts of all that a selector finds.
async fn texts(tab: &Tab, selector: &str) -> Vec<String> {
    let selector = json!(selector);
    let script =
        format!("return [...document.querySelectorAll({selector})].map((one) => one.textContent)");
    serde_json::from_value(tab.evaluate(&script).await).expect("texts")
}

/// Watches a pattern, publishes to a feed and sees it everywhere.
async fn watches_and_publishes(tab: &Tab) {
    submit(tab, &[("pattern", "page.*"), ("last", "5")]).await;
    says(tab, "watch-state", "live").await;
    submit(
        tab,
        &[
            ("feed", "page.a"),
            ("type", "created"),
            ("data", "{\"it's\":1}"),
        ],
    )
    .await;
    says(tab, "published", "Stored as ").await;
    says(tab, "events", "page.acreated{\"it's\":1}").await;
    says(tab, "feeds", "page.a").await;
    says(tab, "heard", "1 events").await;
}

async fn it_shows_what_happens_and_watches_and_publishes(kind: Kind) {
    let replica = Replica::start(&[]).await;
    replica.publish("earlier", "x").await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&replica.url("/")).await;
    says(&tab, "state", "ready").await;
    says(&tab, "replica", "log in memory").await;
    watches_and_publishes(&tab).await;
    let commands = texts(&tab, ".curl code").await;
    let address = replica.url("");
    for command in [
        format!("curl '{address}/admin/status'"),
        format!("curl -N '{address}/feeds/page.*?last=5'"),
        format!(
            "curl -H 'Event-Type: created' --data-raw '{{\"it'\\''s\":1}}' '{address}/feeds/page.a'"
        ),
        format!("curl '{address}/admin/feeds?limit={ROWS}'"),
    ] {
        assert!(commands.contains(&command), "{command}: {commands:?}");
    }
    // A feed that is chosen is watched, with what there was before.
    click(&tab, "#feeds tbody tr:last-child button").await;
    says(&tab, "events", "earlier").await;
    // What was published from elsewhere comes by itself, and the figures follow.
    replica.publish("earlier", "\"and later\"").await;
    says(&tab, "events", "and later").await;
    says(&tab, "now", "3 so far").await;
    submit(&tab, &[("about", "page.*")]).await;
    says(&tab, "explained", "Reading is allowed.").await;
    let ends = texts(&tab, "#ends td:first-child").await;
    for told in ["gaps", "resets", "stalled"] {
        assert!(ends.iter().any(|end| end == told), "{told}: {ends:?}");
    }
    submit(&tab, &[("feed", "not a feed")]).await;
    says(&tab, "published", "Not stored: ").await;
    has_no_errors(&tab, kind).await;
    browser.end().await;
}

async fn it_asks_for_a_token_where_there_is_authentication(kind: Kind) {
    let replica = guarded(&[]).await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&replica.url("/")).await;
    says(&tab, "why", ASKED).await;
    assert_eq!(
        tab.evaluate("return document.getElementById('feeds').hidden")
            .await,
        true
    );
    submit(&tab, &[("token", "nonsense")]).await;
    says(&tab, "why", "Not taken: the credentials are no API key").await;
    // Nobody is signed in who could sign out.
    assert_eq!(texts(&tab, "#sign").await, ["Sign in"]);
    let page = json!({"subscribe": ["page.>"], "publish": ["page.>"]});
    submit(&tab, &[("token", &token(&json!({"tidings": page})))]).await;
    says(
        &tab,
        "why",
        "Not allowed: this takes the permission `admin`",
    )
    .await;
    assert_eq!(texts(&tab, "#sign").await, ["Sign out"]);
    says(&tab, "measured", "metrics").await;
    assert!(is_hidden(&tab, "measured").await);
    let mut admin = page.clone();
    admin["admin"] = true.into();
    let admin = token(&json!({"tidings": admin}));
    submit(&tab, &[("token", &admin)]).await;
    says(&tab, "state", "ready").await;
    watches_and_publishes(&tab).await;
    sees_metrics(&tab).await;
    explains_and_revokes(&tab).await;
    submit(&tab, &[("pattern", "others.*"), ("last", "5")]).await;
    says(&tab, "watch-state", "not allowed with these credentials").await;
    // It is there after a reload, in this tab alone, and nowhere on the page.
    tab.reload().await;
    says(&tab, "state", "ready").await;
    let shown = tab
        .evaluate("return location.href + document.documentElement.outerHTML")
        .await;
    assert!(!shown.as_str().expect("text").contains(&admin));
    let commands = texts(&tab, ".curl code").await;
    assert!(commands[0].contains("$TOKEN"), "{commands:?}");
    submit(&tab, &[("about", "others.a"), ("other", &admin)]).await;
    says(&tab, "answer", "\"admin\"").await;
    click(&tab, "#sign").await;
    says(&tab, "why", ASKED).await;
    let left = "return ['explained', 'answer'].map((id) => document.getElementById(id).textContent).join('') + document.getElementById('other').value";
    assert_eq!(tab.evaluate(left).await, "");
    browser.end().await;
}

async fn is_hidden(tab: &Tab, id: &str) -> bool {
    let id = json!(id);
    let script = format!("return document.getElementById({id}).hidden");
    tab.evaluate(&script).await == true
}

/// A link can't show a token: the page that it leads to is what was fetched with it.
async fn sees_metrics(tab: &Tab) {
    assert!(!is_hidden(tab, "measured").await);
    tab.evaluate("URL.createObjectURL = (blob) => ((window.made = blob), '#measured')")
        .await;
    click(tab, "#measured a").await;
    tab.wait_for("return window.made && (await window.made.text()).includes('tidings_readers')")
        .await;
}

async fn explains_and_revokes(tab: &Tab) {
    submit(tab, &[("about", "others.a")]).await;
    says(tab, "explained", "Reading is not allowed: ").await;
    let shown = json!({"sub": "bob", "tidings": {"subscribe": ["others.*"], "subscribes": []}});
    submit(tab, &[("about", "others.a"), ("other", &token(&shown))]).await;
    says(
        tab,
        "explained",
        "Reading is allowed by others.*. Publishing is not",
    )
    .await;
    says(tab, "answer", "\"subscribes\"").await;
    submit(tab, &[("subject", "bob"), ("for", "7200")]).await;
    says(
        tab,
        "revoked",
        "Ended: 0 connections of bob, on 1 replica. ",
    )
    .await;
    says(tab, "revoked", "refused for 2 h").await;
    says(tab, "subjects", "This replica refuses 1,").await;
    assert_eq!(texts(tab, "#subjects tbody td:first-child").await, ["bob"]);
    submit(tab, &[("about", "others.a"), ("other", &token(&shown))]).await;
    says(tab, "explained", "revoked").await;
    submit(tab, &[("subject", "bob"), ("for", "0")]).await;
    says(tab, "subjects", "This replica refuses nobody.").await;
    let commands = texts(tab, ".curl code").await;
    for part in ["-H \"Tidings-Explain-Token: $OTHER\"", "-X DELETE"] {
        assert!(
            commands.iter().any(|one| one.contains(part)),
            "{commands:?}"
        );
    }
}

async fn it_works_below_a_path(kind: Kind) {
    let replica = Replica::start(&["--base-path", "/in/tidings"]).await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&replica.url("/in/tidings/")).await;
    says(&tab, "state", "ready").await;
    watches_and_publishes(&tab).await;
    let commands = texts(&tab, ".curl code").await;
    let right = replica.url("/in/tidings/feeds/page.*");
    assert!(
        commands.iter().any(|one| one.contains(&right)),
        "{commands:?}"
    );
    has_no_errors(&tab, kind).await;
    let chat = browser
        .open(&replica.url("/in/tidings/examples/chat"))
        .await;
    says(&chat, "state", "live").await;
    browser.end().await;
}

async fn it_shows_no_more_rows_than_fit_of_ten_thousand_feeds(kind: Kind) {
    let replica = Replica::start(&[]).await;
    publish_to_ten_thousand(&replica).await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&replica.url("/")).await;
    says(&tab, "found", "10,000 feeds").await;
    let shown = async |first: &str| {
        let first = json!(first);
        tab.wait_for(&format!(
            "return document.querySelector('#feeds tbody button')?.textContent === {first}"
        ))
        .await;
        texts(&tab, "#feeds tbody tr").await.len()
    };
    assert_eq!(shown("many.9999").await, ROWS);
    tab.evaluate("window.row = document.querySelector('#feeds tbody tr')")
        .await;
    click(&tab, "#older").await;
    assert_eq!(shown("many.9949").await, ROWS);
    click(&tab, "#older").await;
    assert_eq!(shown("many.9899").await, ROWS);
    // Rows are used again.
    let same = "return window.row === document.querySelector('#feeds tbody tr')";
    assert_eq!(tab.evaluate(same).await, true);
    submit(&tab, &[("prefix", "many.123")]).await;
    assert_eq!(shown("many.1239").await, 11);
    submit(&tab, &[("pattern", "many.*"), ("last", "100")]).await;
    says(&tab, "heard", "100 events").await;
    publish_to_ten_thousand(&replica).await;
    says(&tab, "heard", "10,100 events").await;
    let rows = texts(&tab, "tr").await.len();
    assert!(rows < 250, "{rows} rows in all tables");
    browser.end().await;
}

async fn publish_to_ten_thousand(replica: &Replica) {
    let lines = (0..10_000).map(|n| format!("{{\"feed\":\"many.{n}\",\"data\":{n}}}\n"));
    let lines: String = lines.collect();
    let kind = [("Content-Type", "application/x-ndjson")];
    assert_eq!(post(replica, "/feeds", &kind, lines).await.status, 200);
}

async fn it_is_accessible_in_both_schemes_and_on_a_phone(kind: Kind) {
    let replica = Replica::start(&[]).await;
    for n in 0..40 {
        let data = json!({"n": n, "text": "Something that is long enough to be wrapped"});
        replica
            .publish(&format!("orders.{}", n % 9), data.to_string())
            .await;
    }
    let browser = Browser::start(kind).await;
    let tab = browser.open(&replica.url("/")).await;
    says(&tab, "state", "ready").await;
    watches_and_publishes(&tab).await;
    submit(&tab, &[("pattern", "orders.*"), ("last", "10")]).await;
    says(&tab, "heard", "10 events").await;
    submit(&tab, &[("about", "orders.eu")]).await;
    says(&tab, "explained", "Reading is allowed.").await;
    submit(&tab, &[("subject", "ann"), ("for", "60")]).await;
    says(&tab, "subjects", "This replica refuses 1,").await;
    check(&tab, kind, "console").await;
    let guarded = guarded(&[]).await;
    let tab = browser.open(&guarded.url("/")).await;
    says(&tab, "why", ASKED).await;
    check(&tab, kind, "console-signed-out").await;
    browser.end().await;
}

/// Keeps pictures of the page, finds nothing serious with it, and sees that it is no wider than the window.
async fn check(tab: &Tab, kind: Kind, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (look, scheme, size) in [
        ("light", Scheme::Light, (1280, 2400)),
        ("dark", Scheme::Dark, (1280, 2400)),
        ("phone", Scheme::Light, (360, 3600)),
        ("phone-dark", Scheme::Dark, (360, 3600)),
    ] {
        let picture = folder.join(format!("{name}-{kind:?}-{look}.png").to_lowercase());
        tab.screenshot(&picture, scheme, size).await;
        let wide = "return document.documentElement.scrollWidth > innerWidth";
        assert_eq!(tab.evaluate(wide).await, false, "{look}");
        let cut = "const { scrollWidth, clientWidth } = document.querySelector('#feeds .scroll'); return scrollWidth > clientWidth";
        assert_eq!(tab.evaluate(cut).await, false, "feeds, {look}");
        has_no_faults(tab, look).await;
    }
}

/// Finds nothing serious with a page as it is.
pub(super) async fn has_no_faults(tab: &Tab, look: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(file).expect("axe-core, which tests/run installs");
    tab.evaluate(&axe).await;
    let found = tab
        .evaluate(
            "const { violations } = await axe.run();
             return violations
               .filter(({ impact }) => impact === 'serious' || impact === 'critical')
               .map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]);",
        )
        .await;
    assert_eq!(found, Value::Array(Vec::new()), "{look}");
}
