//! deploy/compose.yaml: no engine of containers is needed to read it, nor to start what it starts.

use super::{path, read, rewritten, yaml};
use crate::auth::{api_key, bearer};
use crate::log_jetstream::cluster::free_port;
use crate::nats_server::{NatsServer, Version};
use crate::program::Program;
use crate::replica::within;
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

const SERVERS: [&str; 3] = ["nats-1", "nats-2", "nats-3"];
/// The files in secrets/, which the README of deploy/ has made.
const SECRETS: [&str; 5] = ["nats.conf", "tidings.nk", "jwt.key", "api-keys", "tls.pem"];

fn compose() -> Value {
    yaml("compose.yaml").remove(0)
}

/// The settings of a replica.
fn environment(compose: &Value) -> Vec<(String, String)> {
    let all = compose["services"]["tidings-1"]["environment"].as_object();
    let pairs = all.expect("variables").iter();
    pairs
        .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
        .collect()
}

#[test]
fn it_mounts_what_is_there_or_what_the_readme_makes() {
    let compose = compose();
    let readme = read("README.md");
    let services = compose["services"].as_object().expect("services");
    assert_eq!(services.len(), 7);
    for service in services.values() {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().expect("text").split(':').next();
            let source = source.expect("a source");
            match source.strip_prefix("./") {
                Some(file) => assert!(path(file).is_file()),
                None => assert!(compose["volumes"].get(source).is_some(), "{source}"),
            }
        }
        for secret in service["secrets"].as_array().into_iter().flatten() {
            let name = secret["source"].as_str().or(secret.as_str());
            let file = &compose["secrets"][name.expect("a name")]["file"];
            let file = file.as_str().expect("a file");
            let name = file.strip_prefix("./secrets/").expect("a secret");
            assert!(SECRETS.contains(&name), "{name}");
            assert!(readme.contains(&format!("secrets/{name}")), "{name}");
        }
    }
    let build = &compose["services"]["tidings-1"]["build"];
    let context = path(".").join(build["context"].as_str().expect("a folder"));
    let dockerfile = context.join(build["dockerfile"].as_str().expect("a file"));
    assert!(dockerfile.is_file());
}

#[test]
fn the_nats_server_takes_its_configuration_as_it_is() {
    let folder = TempDir::new().expect("a folder");
    std::fs::copy(path("compose/nats.conf"), folder.path().join("nats.conf")).expect("a copy");
    let (secrets, _) = secrets(SERVERS.map(|name| format!("{name}:6222")));
    std::fs::write(folder.path().join("secrets.conf"), secrets).expect("a file");
    let output = Command::new(crate::tools::program("TIDINGS_TEST_NATS_2_15"))
        .arg("-t")
        .arg("-c")
        .arg(folder.path().join("nats.conf"))
        .env("SERVER_NAME", "nats-1")
        .output()
        .expect("nats-server");
    assert!(output.status.success(), "{output:?}");
}

/// What nats.conf includes, as the README has it made, for nodes at these addresses; and the seed that goes with it.
fn secrets(nodes: [String; 3]) -> (String, String) {
    let user = nkeys::KeyPair::new_user();
    let password = "0123456789abcdef";
    let routes = nodes.map(|node| format!("\"nats://route:{password}@{node}\""));
    let text = format!(
        "TIDINGS_NKEY: {}\nROUTE_PASSWORD: \"{password}\"\nROUTES: [{}]\n",
        user.public_key(),
        routes.join(", ")
    );
    (text, user.seed().expect("a seed"))
}

/// Three NATS servers with the file, and the seed of the replicas' user.
fn cluster() -> (Vec<NatsServer>, String) {
    let nodes = [free_port(), free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let (secrets, seed) = secrets(nodes.clone());
    let start = |name: &str, node: &str| {
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("secrets.conf"), &secrets).expect("a file");
        let words = [
            ("$SERVER_NAME", name),
            // The test says it itself.
            ("listen: 0.0.0.0:4222\n", ""),
            ("http: 127.0.0.1:8222\n", ""),
            ("store_dir: /data", "store_dir: $STORE"),
            ("0.0.0.0:6222", node),
            ("64GB", "1GB"),
        ];
        let config = rewritten(&read("compose/nats.conf"), &words);
        NatsServer::within(Version::V2_15, folder, &config)
    };
    let named = SERVERS.iter().zip(&nodes);
    (named.map(|(name, node)| start(name, node)).collect(), seed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_with_its_settings_serve_each_other_s_events() {
    let (servers, seed) = cluster();
    let folder = TempDir::new().expect("a folder");
    let (key, record) = api_key("backend", "subscribe=>;publish=>");
    for (name, text) in [
        ("nats_nkey", seed.as_str()),
        ("jwt_key", "0123456789abcdef0123456789abcdef"),
        ("api_keys", &record),
    ] {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    let addresses: Vec<String> = servers.iter().map(NatsServer::url).collect();
    let settings = environment(&compose());
    let settings: Vec<(&str, String)> = settings
        .iter()
        .map(|(name, value)| {
            let value = match name.as_str() {
                "TIDINGS_LISTEN" => rewritten(value, &[("0.0.0.0:8080", "127.0.0.1:0")]),
                "TIDINGS_NATS" => addresses.join(","),
                _ => value.replace("/run/secrets", folder.path().to_str().expect("text")),
            };
            (name.as_str(), value)
        })
        .chain([("TIDINGS_NATS_MAX_BYTES", "100000000".to_owned())])
        .collect();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let mut replicas = Vec::new();
    for _ in 0..3 {
        let mut replica = Program::start_with(&[], &settings);
        let address = replica.address().await;
        while !replica.complaint().await.contains("following the log") {}
        replicas.push((replica, address));
    }
    let client = reqwest::Client::new();
    let url = |n: usize| format!("http://{}/feeds/a", replicas[n].1);
    let request = client.get(url(1)).header("Authorization", bearer(&key));
    let (mut stream, _) = crate::sse::Stream::begin(request).await;
    let published = client.post(url(0)).body("1");
    let refused = within("an answer", published.try_clone().expect("one").send()).await;
    assert_eq!(refused.expect("an answer").status(), 401);
    let published = published.header("Authorization", bearer(&key)).send();
    let published = within("an answer", published).await.expect("an answer");
    assert_eq!(published.status(), 201);
    assert_eq!(stream.data(1).await, ["1"]);
    for (replica, address) in &replicas {
        let health = ["health", "--url", &format!("http://{address}")];
        assert_eq!(Program::run(&health, b"").await.code(), Some(0));
        replica.signal("INT").await;
    }
}
