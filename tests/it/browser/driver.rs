//! What the other tests here rely on, where it is not the same in every browser by itself.

use super::site::Site;
use super::{Browser, Kind, Scheme};
use serde_json::json;

in_both_browsers!(
    a_page_is_driven_and_its_errors_are_seen,
    a_page_is_waited_for_in_a_hidden_tab,
    a_screenshot_is_dark_or_light,
);

async fn a_page_is_driven_and_its_errors_are_seen(kind: Kind) {
    let site = Site::start("<!doctype html><title>A</title><link rel=icon href=data:,>").await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&site.url()).await;
    assert_eq!(
        tab.evaluate("await 1; return [document.title, innerWidth > 0, undefined]")
            .await,
        json!(["A", true, null])
    );
    tab.evaluate(
        "console.error('logged'); console.log('no error'); queueMicrotask(() => { throw 1 })",
    )
    .await;
    tab.evaluate("document.title = 'B'").await;
    tab.reload().await;
    assert_eq!(tab.evaluate("return document.title").await, "A");
    let errors = tab.errors().await;
    assert!(
        errors.len() == 2 && errors.contains(&"logged".to_owned()),
        "{errors:?}"
    );
    tab.close().await;
    browser.end().await;
}

async fn a_page_is_waited_for_in_a_hidden_tab(kind: Kind) {
    let site = Site::start("<!doctype html><title>A</title>").await;
    let browser = Browser::start(kind).await;
    let hidden = browser.open(&site.url()).await;
    let shown = browser.open(&site.elsewhere()).await;
    hidden.wait_for("return document.hidden").await;
    assert_eq!(shown.evaluate("return document.hidden").await, false);
    let (title, ()) = tokio::join!(
        hidden.wait_for("return document.title === 'B' && document.title"),
        async {
            hidden.evaluate("document.title = 'B'").await;
        }
    );
    assert_eq!(title, "B");
    hidden.show().await;
    shown.wait_for("return document.hidden").await;
    browser.end().await;
}

async fn a_screenshot_is_dark_or_light(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start("<!doctype html><title>A</title>").await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&site.url()).await;
    browser.open(&site.url()).await;
    for scheme in [Scheme::Dark, Scheme::Light] {
        let path = folder.path().join("page.png");
        tab.screenshot(&path, scheme, (400, 300)).await;
        let dark = tab.evaluate("return matchMedia('(prefers-color-scheme: dark)').matches");
        assert_eq!(dark.await, scheme == Scheme::Dark);
        let png = std::fs::read(&path).unwrap();
        // Its width and height (PNG, section 11.2.1).
        assert_eq!(png[16..24], [0, 0, 1, 144, 0, 0, 1, 44]);
    }
    browser.end().await;
}
