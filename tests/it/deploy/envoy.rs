//! deploy/envoy.yaml: only read, as there is no Envoy to try it with.

use super::yaml;
use serde_json::Value;

/// Seconds, as in `75s`.
fn seconds(value: &Value) -> u32 {
    let text = value.as_str().expect("text").strip_suffix('s');
    text.expect("seconds").parse().expect("a number")
}

#[test]
fn streams_outlive_its_timeouts_and_fit_its_circuits() {
    let all = yaml("envoy.yaml").remove(0);
    let resources = &all["static_resources"];
    let filters = &resources["listeners"][0]["filter_chains"][0]["filters"];
    let manager = &filters[0]["typed_config"];
    assert_eq!(manager["use_remote_address"], true);
    assert_eq!(manager["upgrade_configs"][0]["upgrade_type"], "websocket");
    // A poll is silent for up to 50 s, and a WebSocket for 45 s.
    assert!(seconds(&manager["stream_idle_timeout"]) > 50);
    let hosts = &manager["route_config"]["virtual_hosts"];
    let route = &hosts[0]["routes"][1]["route"];
    assert_eq!(seconds(&route["timeout"]), 0);
    assert!(seconds(&route["idle_timeout"]) > 50);
    let cluster = &resources["clusters"][0];
    assert_eq!(cluster["name"], route["cluster"]);
    let limits = &cluster["circuit_breakers"]["thresholds"][0];
    for limit in ["max_connections", "max_requests"] {
        // --max-streams of three replicas is beyond what one Envoy holds: more than one replica's will do.
        assert!(limits[limit].as_u64().expect("a number") > 100_000);
    }
    let check = &cluster["health_checks"][0]["http_health_check"];
    assert_eq!(check["path"], "/readyz");
}
