//! What the other tests here rely on.

use super::site::Site;
use super::{Browser, Kind, Scheme};
use serde_json::json;

in_both_browsers!(pages_are_driven_in_tabs_that_are_shown_or_hidden_dark_or_light);

const PAGE: &str = "<!doctype html><title>A</title><link rel=icon href=data:,>";

// One claim, since what takes time is the start of a browser.
async fn pages_are_driven_in_tabs_that_are_shown_or_hidden_dark_or_light(kind: Kind) {
    let site = Site::start(PAGE).await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&site.url()).await;
    let values = "await 1; return [document.title, innerWidth > 0, undefined]";
    assert_eq!(tab.evaluate(values).await, json!(["A", true, null]));

    tab.evaluate("console.error('logged'); console.log('no error')")
        .await;
    tab.evaluate("queueMicrotask(() => { throw 'uncaught' })")
        .await;
    tab.evaluate("document.title = 'B'").await;
    tab.reload().await;
    assert_eq!(tab.evaluate("return document.title").await, "A");
    let errors = tab.errors().await;
    let [logged, uncaught] = &errors[..] else {
        panic!("{errors:?}");
    };
    assert!(
        logged == "logged" && uncaught.contains("uncaught"),
        "{errors:?}"
    );

    let other = browser.open(&site.elsewhere()).await;
    tab.wait_for("return document.hidden").await;
    assert_eq!(other.evaluate("return document.hidden").await, false);
    let title = tab.wait_for("return document.title === 'B' && document.title");
    let change = async { tab.evaluate("document.title = 'B'").await };
    assert_eq!(tokio::join!(title, change).0, "B");
    tab.show().await;
    other.wait_for("return document.hidden").await;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.png");
    for scheme in [Scheme::Dark, Scheme::Light] {
        other.screenshot(&path, scheme, (400, 300)).await;
        let dark = "return matchMedia('(prefers-color-scheme: dark)').matches";
        assert_eq!(other.evaluate(dark).await, scheme == Scheme::Dark);
        let png = std::fs::read(&path).unwrap();
        // Its width and height (PNG, section 11.2.1).
        assert_eq!(png[16..24], [0, 0, 1, 144, 0, 0, 1, 44]);
    }
    other.close().await;
    browser.end().await;
}
