//! The client in `static/tidings.js`, on Node, against real replicas.

mod driver;
mod publishing;
mod reading;
mod tokens;
mod told;
mod websocket;

use crate::conformance::script_command;
use crate::replica::within;
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
fn it_is_below_5_and_a_half_kb_compressed_and_what_sends_below_3() {
    for (file, below) in [
        ("tidings.js", 5 * 1024 + 512),
        ("tidings-upstream.js", 3 * 1024),
    ] {
        let mut gzip = std::process::Command::new("gzip");
        let compressed = gzip.arg("-9c").arg(format!("static/{file}")).output();
        let bytes = compressed.expect("gzip").stdout.len();
        assert!((1..below).contains(&bytes), "{file}: {bytes} bytes");
    }
}

/// A page's code in `tests/clients/types.ts` against `static/tidings.d.ts`.
#[tokio::test]
async fn typescript_takes_its_types() {
    let mut compiler = script_command("TIDINGS_TEST_NODE", "node_modules/typescript/bin/tsc");
    compiler.args(["--noEmit", "--strict", "--target", "es2022"]);
    compiler.args(["--module", "nodenext", "--lib", "es2022,dom"]);
    compiler.arg("tests/clients/types.ts");
    let output = within("the compiler", compiler.output()).await.expect("it");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}
