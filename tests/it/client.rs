//! The client in `static/tidings.js`, on Node, against real replicas.

mod driver;
mod publishing;
mod reading;
mod told;

use driver::Driver;
use serde_json::Value;

/// The data of events that this client was given, which are numbers.
fn numbers(events: &[Value]) -> Vec<u64> {
    events
        .iter()
        .map(|event| event["data"].as_u64().expect("a number"))
        .collect()
}

/// As is served: with its comments, compressed as well as gzip can.
#[test]
fn it_is_below_5_kb_compressed() {
    let mut gzip = std::process::Command::new("gzip");
    let compressed = gzip.args(["-9c", "static/tidings.js"]).output();
    let bytes = compressed.expect("gzip").stdout.len();
    assert!((1..5_000).contains(&bytes), "{bytes} bytes");
}
