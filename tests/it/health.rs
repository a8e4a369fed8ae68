//! Probes and metrics.

use crate::call::{get, post};
use crate::replica::Replica;
use crate::sse::Stream;
use std::collections::HashMap;

#[tokio::test]
async fn a_replica_that_serves_is_alive_and_ready() {
    let replica = Replica::start(&[]).await;
    let alive = get(&replica, "/livez", &[]).await;
    assert_eq!((alive.status, alive.text.as_str()), (200, "alive\n"));
    for path in ["/readyz", "/readyz?strict=1"] {
        let ready = get(&replica, path, &[]).await;
        assert_eq!(
            (ready.status, ready.text.as_str()),
            (200, "{\"status\":\"ready\"}\n")
        );
        assert_eq!(ready.header("content-type"), Some("application/json"));
        assert_eq!(ready.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn a_probe_may_have_parameters_that_mean_nothing_here() {
    let replica = Replica::start(&[]).await;
    assert_eq!(get(&replica, "/readyz?t=1", &[]).await.status, 200);
}

#[tokio::test]
async fn the_front_page_says_how_to_read_and_publish_by_the_name_that_the_client_used() {
    let replica = Replica::start(&[]).await;
    let page = get(&replica, "/", &[]).await;
    assert_eq!(page.status, 200);
    let read = format!("\ncurl -N '{}'\n", replica.url("/feeds/orders.*"));
    assert!(page.text.contains(&read), "{page:?}");
    let flags = ["--anonymous-subscribe", "public.>"];
    let replica = Replica::start(&flags).await;
    let page = get(&replica, "/", &[("Host", "tidings.example")]).await;
    let read = "\ncurl -N 'http://tidings.example/feeds/public.%3E'\n";
    assert!(page.text.contains(read), "{page:?}");
    assert!(!page.text.contains("curl -d"), "{page:?}");
    let page = get(&replica, "/", &[("Host", "it's")]).await;
    assert!(page.text.contains("http://<this address>/"), "{page:?}");
}

#[tokio::test]
async fn no_answer_is_to_be_taken_for_something_else_by_a_browser() {
    let replica = Replica::start(&[]).await;
    for path in ["/", "/livez", "/readyz", "/metrics", "/<script>"] {
        let answer = get(&replica, path, &[]).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let receipt = post(&replica, "/feeds/a", &[], "x").await;
    assert_eq!(receipt.header("x-content-type-options"), Some("nosniff"));
}

/// The value of each sample, and the type of each family.
fn parse(text: &str) -> (HashMap<&str, f64>, HashMap<&str, &str>) {
    let (mut samples, mut types) = (HashMap::new(), HashMap::new());
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(rest) => types.extend(rest.split_once(' ')),
            None if line.starts_with('#') => {}
            None => {
                let (name, value) = line.rsplit_once(' ').expect("a sample");
                samples.insert(name, value.parse().expect("a number"));
            }
        }
    }
    (samples, types)
}

#[tokio::test]
async fn the_metrics_say_how_full_it_is() {
    let replica = Replica::start(&["--window-events", "2"]).await;
    for n in 0..3 {
        replica.publish(&format!("a.{n}"), "x").await;
    }
    let (_stream, _) = Stream::open(&replica, "/feeds/a.*").await;
    let (_other, _) = Stream::open(&replica, "/feeds/a.*").await;
    let accept = [("accept", "application/openmetrics-text")];
    let answer = get(&replica, "/metrics", &accept).await;
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").unwrap();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    assert!(answer.text.ends_with("# EOF\n"));
    let (samples, types) = parse(&answer.text);
    for (name, value) in [
        ("window_events", 2.0),
        ("feeds", 2.0),
        ("readers", 2.0),
        ("reader_groups", 1.0),
        ("head_sequence", 3.0),
        ("floor_sequence", 1.0),
    ] {
        assert_eq!(samples[&*format!("tidings_{name}")], value, "{name}");
        assert_eq!(types[&*format!("tidings_{name}")], "gauge", "{name}");
    }
    assert!(samples["tidings_window_bytes"] > 0.0);
    for name in ["gaps", "log_resets", "log_overtaken"] {
        assert_eq!(samples[&*format!("tidings_{name}_total")], 0.0, "{name}");
        assert_eq!(types[&*format!("tidings_{name}")], "counter", "{name}");
    }
}
