//! nginx, HAProxy and Caddy with their files, in front of three replicas.

use super::front::{Doors, Front};
use crate::call::get;
use crate::nats_server::{NatsServer, Version};
use crate::network::{Cable, is_own};
use crate::proxy::{CADDY, HAPROXY, Kind, NGINX};
use crate::replica::{Replica, within};
use crate::sse::{Block, Stream};
use crate::tools::program;
use futures::{SinkExt, StreamExt};
use reqwest::Version as Http;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;

/// Each claim behind each of them.
macro_rules! behind_each {
    ($($claim:ident),* $(,)?) => {
        $(mod $claim {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn nginx() {
                super::$claim(NGINX, concat!(module_path!(), "::nginx")).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn haproxy() {
                super::$claim(HAPROXY, concat!(module_path!(), "::haproxy")).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn caddy() {
                super::$claim(CADDY, concat!(module_path!(), "::caddy")).await;
            }
        })*
    };
}

behind_each!(
    streams_polls_and_websockets_come_through,
    a_stream_goes_on_elsewhere_when_its_replica_drains,
    the_server_sees_who_asks,
);

const OPEN: [&str; 4] = ["--anonymous-subscribe", ">", "--anonymous-publish", ">"];

/// Three replicas of one log, and a proxy in front of them.
async fn three(kind: Kind) -> (NatsServer, Vec<Replica>, Front) {
    let nats = NatsServer::start(Version::V2_15);
    let url = nats.url();
    let arguments = [&OPEN[..], &["--nats", &url, "--drain", "2"]].concat();
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Replica::start(&arguments).await);
    }
    let addresses = [0, 1, 2].map(|n: usize| replicas[n].address);
    let front = Front::start(kind, Doors::of_their_own(), addresses).await;
    (nats, replicas, front)
}

async fn streams_polls_and_websockets_come_through(kind: Kind, _: &str) {
    let (_nats, _replicas, front) = three(kind).await;
    let (mut stream, first) = Stream::begin(front.get("/feeds/a.*?after=start")).await;
    assert_eq!(stream.response().version(), Http::HTTP_2);
    // Each comes before the next is published: nothing is held back.
    let mut ids = vec![first.id];
    for data in ["0", "1", "2"] {
        let id = front.publish("a.b", data).await;
        let event = stream.event().await;
        assert_eq!((&event.id, event.data.as_str()), (&id, data));
        ids.push(id);
    }
    resumes(&front, &ids[1]).await;
    polls(&front, &ids[3]).await;
    websocket(&front, &ids[2]).await;
    for path in ["/readyz", "/livez", "/metrics", "/admin/x"] {
        let answer = front.get(path).send().await.expect("an answer");
        assert_eq!(answer.status(), 404, "{path}");
        assert!(answer.headers().get("tidings-refused").is_none());
    }
    assert_eq!(version_to_curl(&front).await, "2");
}

async fn resumes(front: &Front, id: &str) {
    let request = front.get("/feeds/a.*").header("Last-Event-ID", id);
    let (mut stream, _) = Stream::begin(request).await;
    assert_eq!(stream.data(2).await, ["1", "2"]);
}

async fn polls(front: &Front, id: &str) {
    let request = front
        .get(&format!("/feeds/a.*?wait=50&after={id}"))
        .header("Accept", "application/json");
    let (answer, published) = tokio::join!(request.send(), front.publish("a.c", "3"));
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 200);
    let page: Value = serde_json::from_str(&answer.text().await.expect("a page")).expect("JSON");
    assert_eq!(page["events"][0]["id"], published.as_str());
    assert_eq!(page["events"].as_array().expect("events").len(), 1);
}

async fn websocket(front: &Front, id: &str) {
    let url = front.url("/ws").replace("https", "wss");
    let opened = tokio_tungstenite::client_async(url, front.connect().await);
    let (mut socket, _) = within("a WebSocket", opened).await.expect("a WebSocket");
    let subscribe = json!({"op": "subscribe", "ref": "s", "feeds": ["a.*"], "after": id});
    let sent = socket.send(Message::text(subscribe.to_string())).await;
    sent.expect("a server");
    let mut data = Vec::new();
    while data.len() < 2 {
        let message = within("a message", socket.next()).await;
        if let Message::Text(text) = message.expect("more").expect("a message") {
            let message: Value = serde_json::from_str(&text).expect("JSON");
            assert!(message["error"].is_null(), "{message}");
            if message["type"] == "message" {
                data.push(message["data"].clone());
            }
        }
    }
    assert_eq!(data, [2, 3]);
}

/// As what curl understands of the answer when it offers HTTP/2.
async fn version_to_curl(front: &Front) -> String {
    let doors = front.doors.tls;
    let output = Command::new(program("TIDINGS_TEST_CURL"))
        .args(["--disable", "--noproxy", "*", "--silent", "--http2"])
        .args(["--output", "/dev/null", "--write-out", "%{http_version}"])
        .arg("--connect-to")
        .arg(format!("localhost:{}:{doors}", doors.port()))
        .arg("--cacert")
        .arg(front.certificates.ca())
        .args(["--header", "Accept: application/json"])
        .arg(front.url("/feeds/a.b"))
        .kill_on_drop(true)
        .output();
    let output = within("curl", output).await.expect("curl");
    String::from_utf8(output.stdout).expect("text")
}

/// Reads on and on, coming back with its last id, and returns the data up to the last.
async fn follow(front: &Front, last: &str) -> Vec<String> {
    let mut id = "0-0".to_owned();
    let mut data = Vec::new();
    loop {
        let request = front.get("/feeds/a.b").header("Last-Event-ID", &id);
        let response = request.send().await.expect("an answer");
        let mut stream = Stream::of(response);
        while let Some(block) = stream.next().await {
            assert!(
                !["hub:gap", "hub:reset"].contains(&block.kind.as_str()),
                "{block:?}"
            );
            let Block {
                kind,
                data: said,
                id: at,
                ..
            } = block;
            if !at.is_empty() {
                id = at;
            }
            if kind == "message" {
                data.push(said);
            }
            if data.last().is_some_and(|data| data == last) {
                return data;
            }
        }
    }
}

async fn a_stream_goes_on_elsewhere_when_its_replica_drains(kind: Kind, _: &str) {
    let (_nats, replicas, front) = three(kind).await;
    let publishing = async {
        let mut count = 0;
        let mut left = replicas;
        while left.len() > 1 {
            let mut leaving = left.remove(0);
            leaving.drain();
            let mut ended = std::pin::pin!(leaving.ended());
            let mut is_over = false;
            while !is_over {
                front.publish("a.b", &count.to_string()).await;
                count += 1;
                is_over = futures::poll!(&mut ended).is_ready();
            }
        }
        front.publish("a.b", "last").await;
        (count, left)
    };
    let following = follow(&front, "last");
    let ((count, _left), data) = within("all", futures::future::join(publishing, following)).await;
    let expected: Vec<String> = (0..count).map(|n: u32| n.to_string()).collect();
    assert_eq!(data[..data.len() - 1], expected);
}

async fn the_server_sees_who_asks(kind: Kind, name: &str) {
    let (_, name) = name.split_once("::").expect("a module's path");
    if !is_own(name).await {
        return;
    }
    let _cable = Cable::lay();
    let door = || {
        let free = TcpListener::bind((Cable::NEAR, 0)).expect("a free port");
        free.local_addr().expect("its address")
    };
    let trusted = ["--trusted-proxies", "127.0.0.0/8"];
    let replica = Replica::start(&[&OPEN[..], &trusted].concat()).await;
    let doors = Doors {
        tls: door(),
        clear: door(),
    };
    let front = Front::start(kind, doors, [replica.address; 3]).await;
    let path = "/explain?feed=a";
    let forged = ("X-Forwarded-For", "203.0.113.9");
    // The replica would believe a proxy that says so.
    let told = get(&replica, path, &[forged]).await.json();
    assert_eq!(told["limits"]["address"]["from"], forged.1);
    for request in [front.get(path), front.get(path).header(forged.0, forged.1)] {
        let answer = within("an answer", request.send()).await.expect("one");
        let text = answer.text().await.expect("a body");
        let told: Value = serde_json::from_str(&text).expect("JSON");
        let from: SocketAddr = doors.tls;
        assert_eq!(told["limits"]["address"]["from"], from.ip().to_string());
    }
}
