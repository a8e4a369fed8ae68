//! `kill -9` at any moment loses no acknowledged event, and brings none twice.

use super::{Server, folder};
use crate::replica::within;
use crate::seed::rng;
use crate::sse::Stream;
use fastrand::Rng;
use reqwest::{Client, StatusCode};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

const PUBLISHERS: usize = 8;

/// What was acknowledged: the data of each id.
type Ledger = Arc<Mutex<HashMap<String, String>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_kills_under_publishers_lose_nothing_and_double_nothing() {
    kill(30, rng()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn a_thousand_kills_under_publishers_lose_nothing_and_double_nothing() {
    kill(1000, rng()).await;
}

async fn kill(times: usize, mut random: Rng) {
    let folder = folder();
    let ledger = Ledger::default();
    let (address, to_address) = watch::channel(None);
    let mut publishers = JoinSet::new();
    for number in 0..PUBLISHERS {
        publishers.spawn(publish(number, to_address.clone(), ledger.clone()));
    }
    let mut reader = Reader::default();
    for _ in 0..times {
        let server = Server::start(folder.path(), &[]).await;
        address.send_replace(Some(server.address));
        reader.follow(&server, &ledger, random.usize(1..100)).await;
        address.send_replace(None);
        server.kill().await;
    }
    drop(address);
    while let Some(ended) = publishers.join_next().await {
        ended.expect("a publisher");
    }
    everything_is_there(folder.path(), &ledger).await;
}

/// Publishes one event after the other, each until it is acknowledged, as long as there will be a server.
async fn publish(number: usize, mut address: watch::Receiver<Option<SocketAddr>>, ledger: Ledger) {
    let client = Client::new();
    for count in 0.. {
        let data = format!("{number}-{count}");
        loop {
            let Ok(Some(to)) = address.wait_for(Option::is_some).await.map(|to| *to) else {
                return;
            };
            if let Some(id) = ask(&client, to, &data).await {
                let before = ledger.lock().unwrap().insert(id, data);
                assert_eq!(before, None, "an id was given twice");
                break;
            }
            // That server is gone, or is about to be.
            if address.wait_for(|now| *now != Some(to)).await.is_err() {
                return;
            }
        }
    }
}

/// The id under which the event was acknowledged; `None` where the server was gone before it answered.
async fn ask(client: &Client, address: SocketAddr, data: &str) -> Option<String> {
    let request = client.post(format!("http://{address}/feeds/a"));
    let request = request
        .header("Idempotency-Key", data)
        .body(data.to_owned());
    let response = request.send().await.ok()?;
    assert!(
        [StatusCode::OK, StatusCode::CREATED].contains(&response.status()),
        "{response:?}"
    );
    let body = response.text().await.ok()?;
    let receipt: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    Some(receipt["id"].as_str().expect("an id").to_owned())
}

/// Reads on where it was cut off.
#[derive(Default)]
struct Reader {
    id: Option<String>,
    data: Vec<String>,
}

impl Reader {
    /// Reads so many more events of a server.
    async fn follow(&mut self, server: &Server, ledger: &Ledger, events: usize) {
        let path = match &self.id {
            None => "/feeds/a?after=start".to_owned(),
            Some(id) => format!("/feeds/a?after={id}"),
        };
        let mut stream = server.read(&path).await;
        for _ in 0..events {
            let event = stream.event().await;
            assert_eq!(event.kind, "message", "{event:?}");
            if let Some(acknowledged) = ledger.lock().unwrap().get(&event.id) {
                assert_eq!(*acknowledged, event.data);
            }
            self.id = Some(event.id);
            self.data.push(event.data);
        }
    }
}

/// Everything acknowledged is there under its id, and nothing is there twice.
async fn everything_is_there(folder: &Path, ledger: &Ledger) {
    let server = Server::start(folder, &[]).await;
    server.publish("the end").await;
    let mut stream = server.read("/feeds/a?after=start").await;
    let found = within("all events", all(&mut stream)).await;
    let mut data: Vec<&String> = found.iter().map(|(_, data)| data).collect();
    let ledger = ledger.lock().unwrap();
    let by_id: HashMap<_, _> = found.iter().map(|(id, data)| (id, data)).collect();
    for (id, data) in ledger.iter() {
        assert_eq!(by_id.get(id), Some(&data), "{id} was acknowledged");
    }
    data.sort();
    assert!(data.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(ledger.len() > PUBLISHERS && found.len() <= ledger.len() + PUBLISHERS);
}

async fn all(stream: &mut Stream) -> Vec<(String, String)> {
    let mut found = Vec::new();
    loop {
        let event = stream.event().await;
        if event.data == "the end" {
            return found;
        }
        found.push((event.id, event.data));
    }
}
