//! A cluster of three: leaders that go, and a majority that is gone.

use super::*;
use crate::nats_server::Version;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

on_both!(
    events_survive_the_leader_and_reach_the_follower_once,
    without_a_majority_it_is_told_that_there_is_no_leader,
);

/// A port that nobody else is given: below those that the system hands out by itself.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + u16::try_from(std::process::id() % 200).expect("it is small") * 100;
    loop {
        let port = base + NEXT.fetch_add(1, Relaxed) % 100;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Three servers that know each other.
pub(crate) fn cluster(version: Version) -> Vec<NatsServer> {
    let ports = [free_port(), free_port(), free_port()];
    let name = format!("c{}", ports[0]);
    let routes = ports
        .map(|port| format!("nats://127.0.0.1:{port}"))
        .join(", ");
    let server = |port: u16| {
        let config = format!(
            "server_name: n{port}
            jetstream {{ store_dir: $STORE }}
            cluster {{ name: {name}, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}"
        );
        NatsServer::with(version, &config)
    };
    ports.map(server).into()
}

fn replicated(servers: &[NatsServer]) -> NatsSettings {
    let mut settings = servers[0].settings();
    settings.servers = servers.iter().map(NatsServer::url).collect();
    settings.replicas = 3;
    settings.timeout_seconds = 2;
    settings
}

async fn events_survive_the_leader_and_reach_the_follower_once(version: Version) {
    let mut servers = cluster(version);
    let (log, _) = log_of(replicated(&servers));
    reopened(&log).await;
    fill(&log, "a", 50).await;
    let mut follow = log.follow(0).await.unwrap();
    let mut events = next_events(&mut follow, 50).await;
    for _ in 0..2 {
        let leader = leader(&servers, 0).await;
        servers[leader].stop();
        let mut stored = 0;
        soon(async {
            while stored < 50 {
                let appended = log.append(on("a", &format!("after {stored}"))).await;
                stored += usize::from(appended.is_ok());
                tokio::task::yield_now().await; // one that is refused at once has not
            }
        })
        .await;
        let head = reopened(&log).await.last.sequence();
        soon(async {
            loop {
                let after = events.last().unwrap().position.sequence();
                if after >= head {
                    break;
                }
                while let Ok(next) = follow.next().await {
                    assert_eq!(next.lost_before, None);
                    events.extend(next.events);
                    if events.last().unwrap().position.sequence() >= head {
                        break;
                    }
                }
                reopened(&log).await;
                let after = events.last().unwrap().position.sequence();
                if let Ok(anew) = log.follow(after).await {
                    follow = anew;
                }
            }
        })
        .await;
        servers[leader].run();
    }
    let expected: Vec<u64> = (1..=events.len() as u64).collect();
    assert_eq!(sequences(&events), expected);
}

async fn without_a_majority_it_is_told_that_there_is_no_leader(version: Version) {
    let mut servers = cluster(version);
    let (log, _) = log_of(replicated(&servers));
    reopened(&log).await;
    let leader = leader(&servers, 0).await;
    let survivor = servers.remove((leader + 1) % 3);
    // At once and without a farewell, so that no other takes the lead meanwhile.
    for server in &servers {
        server.signal("KILL");
    }
    let mut settings = replicated(&servers);
    settings.servers = vec![survivor.url()];
    let text = unavailable(log_of(settings).0.open().await);
    assert!(text.contains("no leader"), "{text}");
}

/// Which of the servers leads the stream, as soon as one does: the word of the one at `asked`.
pub(crate) async fn leader(servers: &[NatsServer], asked: usize) -> usize {
    let client = servers[asked].client().await;
    soon(async {
        loop {
            let asked = client.request("$JS.API.STREAM.INFO.TIDINGS", "".into());
            let Ok(answer) = asked.await else {
                continue;
            };
            let info: Value = serde_json::from_slice(&answer.payload).expect("JSON");
            let name = info["cluster"]["leader"].as_str().unwrap_or_default();
            if let Some(leader) = servers.iter().position(|one| one.name == name) {
                return leader;
            }
        }
    })
    .await
}
